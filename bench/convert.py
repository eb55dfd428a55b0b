"""Measures `taper convert` against copying what it writes, and against the number of layers; see bench/convert."""

import pathlib
import subprocess
import sys
import tempfile

from common import ROOT, Bar, arguments_of, machine, measure, median, print_bars, print_table, warn_if_busy

PROGRAMS = ("mobilenet", "bert")
LAYERS = (10, 100, 1000, 10000)
OUT = "out"

# A chain of linear layers with an activation each, as ONNX, which is quick to write at any length.
MAKE_CHAIN = """
import sys, numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper
layers, path = int(sys.argv[1]), sys.argv[2]
weights = np.random.default_rng(0).standard_normal((layers, 16, 16)).astype(np.float32) / 4
nodes = []
for i in range(layers):
    nodes.append(helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"y{i}"]))
    nodes.append(helper.make_node("Relu", [f"y{i}"], [f"x{i + 1}"]))
value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 16])
initializers = [numpy_helper.from_array(weights[i], f"w{i}") for i in range(layers)]
graph = helper.make_graph(nodes, "chain", [value("x0")], [value(f"x{layers}")], initializers)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
"""


def command(program, source):
    """Converts `source` to both TFLite files."""
    return [program, "convert", source, "-o", OUT, "--to", "tflite", "--no-verify", "--quiet"]


def copy_seconds(folder):
    """What it takes to write the same bytes and to wait for the disk, as the program does."""
    files = sorted((folder / OUT).glob("*.tflite"))
    copies = [f"conv=fsync if={file} of={folder / 'copy'}{i}".split() for i, file in enumerate(files)]
    return sum(measure(["dd", "bs=1M", *copy], folder).seconds for copy in copies)


def chain_of(folder, layers):
    """The file of a chain."""
    return folder / f"chain{layers}.onnx"


def write_chain(folder, layers):
    """Writes a chain of that many layers."""
    subprocess.run([sys.executable, "-c", MAKE_CHAIN, str(layers), str(chain_of(folder, layers))], check=True)


def main():
    arguments = arguments_of("bench/convert", 5)

    warn_if_busy()
    print(f"To TFLite fp32 and fp16 without verification, medians of {arguments.rounds} rounds\n{machine()}\n")
    bars = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([sys.executable, str(ROOT / "bench/make_programs.py"), name], check=True)
        write_chain(folder, LAYERS[0])
        least = measure(command(arguments.program, chain_of(folder, LAYERS[0])), folder).memory
        rows = [("", "weights", "time", "copy", "peak memory")]
        for program in PROGRAMS:
            source = folder / f"{program}.pt2"
            weights = source.stat().st_size
            costs, copies = [], []
            for _ in range(arguments.rounds):
                costs.append(measure(command(arguments.program, source), folder))
                copies.append(copy_seconds(folder))
            seconds = median(cost.seconds for cost in costs)
            memory = median(cost.memory for cost in costs)
            copied = median(copies)
            rows.append((program, f"{weights / 1e6:.0f} MB", f"{seconds * 1e3:.0f} ms", f"{copied * 1e3:.0f} ms",
                         f"{memory / 1e6:.0f} MB"))  # fmt: skip
            bars.append(Bar(f"{program}: time of 3 x copying + 50 ms", seconds / (3 * copied + 0.050), 1))
            bars.append(Bar(f"{program}: memory beyond that of ten small layers, of its weights",
                            (memory - least) / weights, 1.5))  # fmt: skip
        print_table(rows)

        rows = [("layers", "time", "per layer")]
        each = {}
        for layers in LAYERS:
            source = chain_of(folder, layers)
            write_chain(folder, layers)
            each[layers] = median(
                measure(command(arguments.program, source), folder).seconds for _ in range(arguments.rounds)
            )
            rows.append((str(layers), f"{each[layers] * 1e3:.0f} ms", f"{each[layers] / layers * 1e6:.0f} us"))
        print_table(rows)
        # Constant costs count for little beyond 1,000 layers.
        bars.append(Bar("10,000 layers: of ten times 1,000", each[10000] / (10 * each[1000]), 1.3))
    good = print_bars(bars)
    return 0 if good or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
