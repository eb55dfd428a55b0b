"""ONNX files of one input x and one output y, made of nodes and named numbers, and what their runs are compared with."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def initializer(name, numbers):
    """float32 where the numbers are, else int64."""
    array = np.asarray(numbers)
    return numpy_helper.from_array(array if array.dtype == np.float32 else array.astype(np.int64), name)


def save_small(path, shape, nodes, numbers, opset):
    """Writes the file; returns a session of ONNX Runtime that runs it as it is."""
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", FLOAT, shape)],
                              [helper.make_tensor_value_info("y", FLOAT, None)],
                              [initializer(name, each) for name, each in numbers.items()])  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return onnxruntime.InferenceSession(str(path))


def drawn(sizes, zeros=False):
    x = np.random.default_rng(3).standard_normal(sizes).astype(np.float32)
    return x * 0 if zeros else x
