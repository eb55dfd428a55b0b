"""Measures exported files in LiteRT against PyTorch eager and ONNX Runtime; see bench/latency."""

import gc
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime
import torch
from ai_edge_litert.interpreter import Interpreter
from common import ROOT, Bar, arguments_of, machine, make_models, median, print_bars, print_table, warn_if_busy

sys.path.insert(0, str(ROOT / "tests/fixtures"))
from models import MediaPipeGRU, SignTransformer  # noqa: E402

FRAMES = 300
NOISE = 1.03  # "no slower" allows what two measurements of the same thing differ by
MODELS = {"transformer": ("sign_transformer", SignTransformer), "gru": ("mediapipe_gru", MediaPipeGRU)}
CHECKPOINTS = {"transformer": "Transformer.pt", "gru": "GRU.pt"}

# Peak memory that loading a file and its first run add to a process that has the runtime loaded.
FIRST_RUN = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) * 1024

x = np.random.default_rng(0).standard_normal((1, 300, 178)).astype(np.float32)
before = status("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts anew
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
interpreter.invoke()
print(status("VmHWM") - before)
"""


def litert(path, threads, x):
    """A call of a TFLite file on `x`, which returns the first output."""
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]["index"]
    output = interpreter.get_output_details()[0]["index"]

    def call():
        interpreter.set_tensor(given, x)
        interpreter.invoke()
        return interpreter.get_tensor(output)

    return call


def onnx_runtime(path, threads, x):
    """The same for an ONNX file in ONNX Runtime, whose threads don't spin between calls and disturb nobody."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(["output"], {"input": x})[0]


def eager(model, threads, x):
    """The same for PyTorch."""
    tensor = torch.from_numpy(x)

    def call():
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.inference_mode():
            return model(tensor)[0].numpy()

    return call


def contenders(folder, key, threads, x):
    """Calls by name; all compute the same network on `x`."""
    stem, _ = MODELS[key]
    return {
        "PyTorch eager": eager(load_model(folder, key), threads, x),
        "ONNX Runtime": onnx_runtime(folder / "dynamic" / f"{stem}.onnx", threads, x),
        "LiteRT fp32": litert(folder / "dynamic" / f"{stem}_fp32.tflite", threads, x),
        "LiteRT fp16": litert(folder / "dynamic" / f"{stem}_fp16.tflite", threads, x),
        "LiteRT fp32 --static": litert(folder / "static" / f"{stem}_fp32.tflite", threads, x),
        "LiteRT fp16 --static": litert(folder / "static" / f"{stem}_fp16.tflite", threads, x),
    }


def load_model(folder, key):
    """The PyTorch module with the weights that were exported."""
    model = MODELS[key][1]().eval()
    model.load_state_dict(torch.load(folder / CHECKPOINTS[key]))
    return model


def check_agreement(calls, reference):
    """A fast wrong answer is no answer."""
    spread = float(reference.max() - reference.min())
    for (_, name), call in calls.items():
        error = float(np.abs(call() - reference).max()) / spread
        if not error < 2e-2:
            sys.exit(f"{name} is off by {error:.1e} of the spread of PyTorch's output")


def race(calls, rounds, seconds_each=0.15):
    """Milliseconds per call, by name: the median over rounds that take turns, of the median within a round."""
    for call in calls.values():
        call()
        call()
    times = {name: [] for name in calls}
    names = list(calls)
    for round_number in range(rounds):
        shift = round_number % len(names)  # nobody always follows the same neighbour
        for name in names[shift:] + names[:shift]:
            time.sleep(0.02)  # threads of the previous one come to rest
            calls[name]()
            laps = []
            end = time.perf_counter() + seconds_each
            while len(laps) < 3 or time.perf_counter() < end:
                start = time.perf_counter()
                calls[name]()
                laps.append(time.perf_counter() - start)
            times[name].append(median(laps))
    return {name: 1e3 * median(each) for name, each in times.items()}


def first_run_memory(path):
    """Bytes; the median of three processes."""
    command = [sys.executable, "-c", FIRST_RUN, str(path)]
    return median(int(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(3))


def export(program, folder):
    """Writes dynamic and static files of both models."""
    for name, flags in (("dynamic", []), ("static", ["--static"])):
        command = [program, "--no-verify", "--quiet", "--output-dir", name, "--sequence-length", str(FRAMES), *flags]
        subprocess.run(command, cwd=folder, check=True)


def bars_of(one, two, memory):
    """What the files promise; `one` and `two` are milliseconds by model and contender, on one and two threads."""
    transformer, gru = one["transformer"], one["gru"]
    bars = [
        Bar("transformer against ONNX Runtime", transformer["LiteRT fp32"] / transformer["ONNX Runtime"], 1.1),
        Bar("GRU against ONNX Runtime", gru["LiteRT fp32"] / gru["ONNX Runtime"], 1.3),
        Bar("GRU faster than PyTorch eager by", gru["PyTorch eager"] / gru["LiteRT fp32"], 1.8, at_least=True),
    ]
    for key in MODELS:
        for kind in ("LiteRT fp32", "LiteRT fp16"):
            bars.append(Bar(f"{key}, {kind}: two threads against one", two[key][kind] / one[key][kind], NOISE))
            static = one[key][f"{kind} --static"]
            bars.append(Bar(f"{key}, {kind}: dynamic against static", one[key][kind] / static, 1.05))
        bars.append(Bar(f"{key}: fp16 against fp32", one[key]["LiteRT fp16"] / one[key]["LiteRT fp32"], NOISE))
    for kind, count in memory.items():
        bars.append(Bar(f"GRU, {kind}: memory of loading and first run", count / 1e6, 20, unit="MB"))
    return bars


def main():
    arguments = arguments_of("bench/latency", 9)

    warn_if_busy()
    x = np.random.default_rng(0).standard_normal((1, FRAMES, 178)).astype(np.float32)
    milliseconds = {1: {}, 2: {}}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_models(folder)
        export(arguments.program.resolve(), folder)
        for key in MODELS:
            calls = {
                (threads, name): call
                for threads in milliseconds
                for name, call in contenders(folder, key, threads, x).items()
            }
            check_agreement(calls, calls[1, "PyTorch eager"]())
            for (threads, name), time_each in race(calls, arguments.rounds).items():
                milliseconds[threads].setdefault(key, {})[name] = time_each
            del calls
            gc.collect()
        memory = {
            kind: first_run_memory(folder / "dynamic" / f"mediapipe_gru_{kind}.tflite") for kind in ("fp32", "fp16")
        }

    print(f"Default sizes, input [1, {FRAMES}, 178], medians of {arguments.rounds} rounds taken in turns")
    print(f"{machine()}\n")
    for key in MODELS:
        one, two = milliseconds[1][key], milliseconds[2][key]
        rows = [(key, "1 thread", "to ONNX Runtime", "2 threads", "to ONNX Runtime")]
        for name in one:
            rows.append((name, f"{one[name]:.2f} ms", f"{one[name] / one['ONNX Runtime']:.2f}",
                         f"{two[name]:.2f} ms", f"{two[name] / two['ONNX Runtime']:.2f}"))  # fmt: skip
        print_table(rows)
    good = print_bars(bars_of(milliseconds[1], milliseconds[2], memory))
    return 0 if good or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
