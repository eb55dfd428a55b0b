"""How `taper` is used: layouts, sizes that nobody told, where output goes, what is left when it ends early."""

import json
import os
import resource
import signal
import subprocess
import time
import zipfile

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper

from program import RESULTS, TAPER, TIME_LIMIT, plain_environment
from runtimes import relative_error, run_lite, run_onnx


def run(folder, *arguments, **how):
    return subprocess.run([TAPER, *map(str, arguments)], cwd=folder, env=plain_environment(), timeout=TIME_LIMIT,
                          capture_output="stdout" not in how, text=True, check=False, **how)  # fmt: skip


def done(folder, *arguments):
    finished = run(folder, *arguments)
    assert finished.returncode == 0, finished.stderr
    return finished


def results(folder, key="net"):
    return json.loads((folder / RESULTS).read_text(encoding="utf-8"))[key]


class Segmenter(torch.nn.Module):
    """An image and a mask of bools in; scores and labels out."""

    def __init__(self):
        super().__init__()
        self.scores = torch.nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, image, mask):
        scores = self.scores(image.float() / 255) * mask
        return scores, scores.argmax(1, keepdim=True), scores > 0


def pooled():
    layers = [torch.nn.Conv2d(3, 8, 5, stride=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(8, 5)).eval()


def last(array):
    return np.ascontiguousarray(np.moveaxis(np.asarray(array), 1, -1))


class TestLayout:
    def test_turns_images_masks_and_labels_of_any_dtype(self, tmp_path):
        network = Segmenter().eval()
        image = torch.randint(0, 256, (1, 3, 6, 5), dtype=torch.uint8)
        mask = torch.rand(1, 1, 6, 5) > 0.4
        torch.export.save(torch.export.export(network, (image, mask)), tmp_path / "net.pt2")
        done(tmp_path, "convert", "net.pt2", "--io-layout", "nhwc")
        found = results(tmp_path)
        assert [each["shape"] for each in found["input_types"]] == ["[1, 6, 5, 3]", "[1, 6, 5, 1]"]
        assert [each["shape"] for each in found["output_types"]] == ["[1, 6, 5, 4]", "[1, 6, 5, 1]", "[1, 6, 5, 4]"]
        assert found["input_shape"] == [1, 6, 5, 3]
        note = json.dumps(found["notes"])
        for turned in ("'image' is [1, 6, 5, 3]", "'mask' is [1, 6, 5, 1]", "'output_1' is [1, 6, 5, 1]"):
            assert turned in note
        inputs = {"image": last(image), "mask": last(mask)}
        wanted = [last(each.detach()) for each in network(image, mask)]
        for outputs in (run_lite(tmp_path / "net_fp32.tflite", **inputs), run_onnx(tmp_path / "net.onnx", **inputs)):
            assert relative_error(outputs["output"], wanted[0]) < 1e-5
            assert np.array_equal(outputs["output_1"], wanted[1])
            assert np.array_equal(outputs["output_2"], wanted[2])

    def test_takes_samples_in_either_order(self, tmp_path):
        torch.export.save(torch.export.export(pooled(), (torch.randn(1, 3, 32, 30),)), tmp_path / "net.pt2")
        for shape in ((1, 3, 32, 30), (1, 32, 30, 3)):
            np.save(tmp_path / "x.npy", np.random.default_rng(1).standard_normal(shape).astype(np.float32))
            arguments = ["convert", "net.pt2", "--to", "tflite", "--verify-input", "x.npy"]
            done(tmp_path, *arguments, "--io-layout", "nhwc")
            source = run(tmp_path, *arguments)
            assert source.returncode == (0 if shape[1] == 3 else 1)
        assert "next: give arrays that the program takes: input float32 [1, 3, 32, 30]" in source.stderr


class TestUntoldSizes:
    @pytest.fixture
    def traced(self, tmp_path):
        torch.jit.save(torch.jit.trace(pooled(), torch.randn(1, 3, 32, 32)), tmp_path / "net.pt")
        return tmp_path

    def test_are_some_that_the_network_runs_at(self, traced):
        finished = done(traced, "convert", "net.pt", "--input-shape", "input=B,3,H,W")
        assert "alone" not in finished.stderr
        assert results(traced)["input_shape"] == [1, 3, 8, 8]
        interpreter = Interpreter(str(traced / "net_fp32.tflite"))
        interpreter.allocate_tensors()
        assert interpreter.get_input_details()[0]["shape"].tolist() == [1, 3, 8, 8]
        x = torch.randn(2, 3, 21, 40)
        outputs = run_lite(traced / "net_fp32.tflite", input=x.numpy())
        wanted = torch.jit.load(traced / "net.pt")(x).detach().numpy()
        assert relative_error(next(iter(outputs.values())), wanted) < 1e-5

    @pytest.mark.parametrize("flags", [("--static",), ("--quantize", "int8", "--calibration", "random")])
    def test_suit_what_needs_sizes(self, traced, flags):
        done(traced, "convert", "net.pt", "--input-shape", "input=B,3,H,W", "--to", "tflite", *flags)

    def test_are_those_that_an_onnx_file_had(self, tmp_path):
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 24, 20])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[5, 5])
        graph = helper.make_graph([node], "net", [x], [y])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
                  tmp_path / "net.onnx")  # fmt: skip
        done(tmp_path, "convert", "net.onnx", "--name", "out", "--to", "tflite", "--dynamic", "x:2", "--dynamic", "x:3")
        assert results(tmp_path, "out")["input_shape"] == [1, 3, 24, 20]


class TestOutput:
    @pytest.fixture
    def program(self, tmp_path):
        torch.export.save(torch.export.export(pooled(), (torch.randn(1, 3, 32, 32),)), tmp_path / "net.pt2")
        return tmp_path

    @pytest.mark.parametrize("command", [("inspect", "net.pt2"), ("scan", "net.pt2"), ("ops",), ("ops", "--json")])
    def test_that_finds_no_room_is_told(self, program, command):
        with open("/dev/full", "w", encoding="utf-8") as full:
            finished = run(program, *command, stdout=full, stderr=subprocess.PIPE)
        assert finished.returncode == 1
        assert "cannot write to standard output: No space left on device" in finished.stderr

    def test_that_goes_nowhere_is_told(self, program):
        command = f"{TAPER} inspect net.pt2 >&-"
        finished = subprocess.run(["sh", "-c", command], cwd=program, capture_output=True, text=True, check=False)
        assert finished.returncode == 1
        assert "cannot write to standard output" in finished.stderr

    def test_beyond_the_limit_of_files_leaves_nothing(self, program):
        limit = (1500, 1500)
        finished = run(program, "convert", "net.pt2", "-o", "out", "--no-verify",
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))  # fmt: skip
        assert finished.returncode == 1
        assert "File too large" in finished.stderr
        assert "ulimit -f" in finished.stderr
        assert not [name for name in os.listdir(program / "out") if name != RESULTS]

    def test_of_an_earlier_run_is_no_report_on_files_that_are_not_verified(self, program):
        done(program, "convert", "net.pt2", "-o", "out", "--to", "tflite")
        assert (program / "out" / RESULTS).exists()
        wide = torch.export.export(torch.nn.Linear(900, 900).eval(), (torch.randn(1, 900),))
        torch.export.save(wide, program / "wide.pt2")
        before = (program / "out" / "net_fp32.tflite").stat().st_ino
        with subprocess.Popen([TAPER, "convert", "wide.pt2", "-o", "out", "--name", "net"], cwd=program,
                              env=plain_environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              text=True) as process:  # fmt: skip
            end = time.monotonic() + TIME_LIMIT
            while time.monotonic() < end and (program / "out" / "net_fp32.tflite").stat().st_ino == before:
                time.sleep(0.002)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=TIME_LIMIT)
        if process.returncode == 0:
            pytest.skip("it was done before it could be stopped")
        assert process.returncode == 128 + signal.SIGINT
        assert "stopped by Interrupt" in told
        assert not (program / "out" / RESULTS).exists()


class TestInspect:
    def test_heeds_what_is_said_of_inputs_of_onnx(self, tmp_path):
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
        graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "net", [x], [y])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
                  tmp_path / "net.onnx")  # fmt: skip
        assert "x  float32 [2, 4]" in done(tmp_path, "inspect", "net.onnx", "--input-shape", "x=2,4").stdout
        unknown = run(tmp_path, "inspect", "net.onnx", "--input-shape", "bar=2,4")
        assert unknown.returncode == 1
        assert "has no input 'bar'" in unknown.stderr

    def test_shows_what_is_known_of_a_script_without_shapes(self, tmp_path):
        torch.jit.save(torch.jit.script(pooled()), tmp_path / "net.pt")
        shown = done(tmp_path, "inspect", "net.pt").stdout
        count = sum(weight.numel() for weight in pooled().parameters())
        assert "input  Tensor of any shape" in shown
        assert f"({count})" in shown
        assert "--input-shape input=" in shown

    def test_counts_no_statistics_and_all_of_int4(self, tmp_path):
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3), torch.nn.BatchNorm2d(64), torch.nn.Flatten(),
                                      torch.nn.Linear(64 * 36, 32)).eval()  # fmt: skip
        torch.export.save(torch.export.export(network, (torch.randn(1, 3, 8, 8),)), tmp_path / "net.pt2")
        count = sum(weight.numel() for weight in network.parameters())
        assert f"({count})" in done(tmp_path, "inspect", "net.pt2").stdout
        done(tmp_path, "convert", "net.pt2", "--to", "tflite", "--quantize", "w4")
        told = json.loads(done(tmp_path, "inspect", "--json", "net_w4.tflite").stdout)
        assert told["parameters"] > 64 * 36 * 32


class TestMessages:
    def test_a_range_of_an_unknown_name_suggests_the_near_one(self, tmp_path):
        torch.export.save(torch.export.export(pooled(), (torch.randn(1, 3, 32, 32),)), tmp_path / "net.pt2")
        finished = run(tmp_path, "convert", "net.pt2", "--to", "tflite", "--quantize", "int8", "--calibration", "random",
                       "--range", "inptu=0,1")  # fmt: skip
        assert finished.returncode == 1
        assert "did you mean 'input'?" in finished.stderr

    def test_a_truncated_file_has_a_next_step(self, tmp_path):
        torch.save(pooled().state_dict(), tmp_path / "sd.pt")
        np.save(tmp_path / "x.npy", np.zeros((40, 40), np.float32))
        for name in ("sd.pt", "x.npy"):
            whole = (tmp_path / name).read_bytes()
            (tmp_path / name).write_bytes(whole[: len(whole) // 2])
            finished = run(tmp_path, "inspect", name)
            assert finished.returncode == 1
            assert "next: " in finished.stderr

    def test_samples_of_another_shape_name_what_is_taken(self, tmp_path):
        torch.export.save(torch.export.export(pooled(), (torch.randn(1, 3, 32, 32),)), tmp_path / "net.pt2")
        np.save(tmp_path / "x.npy", np.zeros((4, 5), np.float32))
        finished = run(tmp_path, "convert", "net.pt2", "--quantize", "int8", "--to", "tflite", "--calibration", "x.npy")
        assert finished.returncode == 1
        assert "next: give arrays that the program takes: input float32 [1, 3, 32, 32]" in finished.stderr

    def test_an_archive_without_its_program_says_how_to_save_it(self, tmp_path):
        torch.export.save(torch.export.export(pooled(), (torch.randn(1, 3, 32, 32),)), tmp_path / "net.pt2")
        with zipfile.ZipFile(tmp_path / "net.pt2") as whole, zipfile.ZipFile(tmp_path / "part.pt2", "w") as part:
            for name in whole.namelist():
                if "/models/" not in name:
                    part.writestr(name, whole.read(name))
        finished = run(tmp_path, "convert", "part.pt2")
        assert finished.returncode == 1
        assert "next: save it again: torch.export.save" in finished.stderr
