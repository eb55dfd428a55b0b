"""The runtimes that judge exported files, behind one call.

`run(x, shapes)` gives the outputs by name; `shapes` are those expected, by name, which only some runtimes need.
"""

import numpy as np
import onnxruntime
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.interpreter import Interpreter

SIGNATURE = "serving_default"


class OnnxRuntime:
    """ONNX Runtime on the CPU, one thread, with or without its own graph rewrites."""

    def __init__(self, path, optimise=True):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(self, x, shapes):
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, {"input": x}), strict=True))


class LiteRtInterpreter:
    """LiteRT's interpreter with its default delegate (XNNPACK), through the file's signature, which resizes inputs."""

    def __init__(self, path):
        self.runner = Interpreter(model_path=str(path), num_threads=1).get_signature_runner(SIGNATURE)

    def run(self, x, shapes):
        return self.runner(input=x)


class LiteRtCompiledModel:
    """LiteRT's CompiledModel on the CPU; buffers are kept until the input's shape changes."""

    def __init__(self, path):
        self.model = CompiledModel.from_file(str(path))
        self.shape = None

    def run(self, x, shapes):
        if x.shape != self.shape:
            self.shape = x.shape
            self.model.resize_input_tensor_by_name(SIGNATURE, "input", x.shape)
            self.given = self.model.create_input_buffer_by_name(SIGNATURE, "input")
            self.buffers = {name: self.model.create_output_buffer_by_name(SIGNATURE, name) for name in shapes}
        self.given.write(x)
        self.model.run_by_name(SIGNATURE, {"input": self.given}, self.buffers)
        return {
            name: self.buffers[name].read(int(np.prod(shape)), np.float32).reshape(shape)
            for name, shape in shapes.items()
        }


def relative_error(found, reference):
    """max |found - reference| over the spread (max - min) of the reference."""
    assert found.shape == reference.shape, f"shape {found.shape}, expected {reference.shape}"
    assert np.isfinite(found).all(), "not finite"
    return float(np.abs(found - reference).max() / (reference.max() - reference.min()))


def run_lite(path, **inputs):
    """The outputs of a TFLite file by name."""
    return Interpreter(str(path)).get_signature_runner()(**inputs)


def run_onnx(path, **inputs):
    """The outputs of an ONNX file by name."""
    session = onnxruntime.InferenceSession(path)
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs), strict=True))


def assert_files_agree(folder, inputs, expected, rtol, atol):
    """That net_fp32.tflite and net.onnx give the tensors of a program, one or several, in shape and in numbers."""
    tensors = expected if isinstance(expected, (tuple, list)) else [expected]
    for found in (run_lite(folder / "net_fp32.tflite", **inputs), run_onnx(folder / "net.onnx", **inputs)):
        for i, tensor in enumerate(tensors):
            output = found["output" if i == 0 else f"output_{i}"]
            assert output.shape == tensor.shape
            np.testing.assert_allclose(output, tensor.detach().numpy(), rtol=rtol, atol=atol)
