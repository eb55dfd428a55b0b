"""Integers in ONNX files keep all digits and wrap around in LiteRT, ONNX Runtime and TensorFlow as ONNX has it: constants
beyond 2^53, which float64 does not tell apart, products beyond 2^64, and the smallest integers, which have no absolute
value.
"""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.helper import make_node as node

from onnx_cases import need_program, run_cases, save_case


def u32(*values):
    return np.array(values, np.uint32)


def u64(*values):
    return np.array(values, np.uint64)


def i32(*values):
    return np.array(values, np.int32)


def i64(*values):
    return np.array(values, np.int64)


def half(value):
    return np.array(value, np.float16)


def added_to(nodes, dtype, constants, result):
    """A case whose constants are computed and added to zeros."""
    zeros = np.zeros(result.shape, dtype)
    return [*nodes, node("Add", ["c", "x"], ["y"])], {"x": zeros}, constants, result


LARGE, LARGEST = 2**53 + 1, 2**64 - 1
LEAST = -(2**31)
LEAST_LONG, MOST_LONG = -(2**63), 2**63 - 1
PADS = {"pads": i64(1, 0)}
# Nodes, inputs, constants, and the result.
CASES = {
    "product-u32": added_to([node("Mul", ["a", "b"], ["c"])], np.uint32,
                            {"a": u32(2654435761), "b": u32(2246822519)}, u32(4232723271)),
    "product-i32": added_to([node("Mul", ["a", "b"], ["c"])], np.int32,
                            {"a": i32(2**31 - 1), "b": i32(2**31 - 2)}, i32(LEAST + 2)),
    "product-i64": added_to([node("Mul", ["a", "a"], ["c"])], np.int64,
                            {"a": i64(2**40 + 1)}, i64(2**41 + 1)),
    "power-i32": added_to([node("Pow", ["a", "b"], ["c"])], np.int32, {"a": i32(3), "b": i32(39)}, i32(3**39 % 2**32 - 2**32)),
    "cast-i8-u64": ([node("Cast", ["a"], ["c"], to=onnx.TensorProto.UINT64), node("Where", ["x", "c", "c"], ["y"])],
                    {"x": np.array([True])}, {"a": np.array([-100], np.int8)}, u64(2**64 - 100)),
    "cast-end-i32": ([node("Cast", ["a"], ["c"], to=onnx.TensorProto.INT32), node("Add", ["x", "c"], ["y"])],
                     {"x": i32(5)}, {"a": i64(MOST_LONG)}, i32(4)),
    "hash-u32": ([node("BitwiseXor", ["x", "a"], ["c"]), node("Mul", ["c", "b"], ["y"])],
                 {"x": u32(1, 200, 2**31)}, {"a": u32(2166136261), "b": u32(16777619)},
                 (u32(1, 200, 2**31) ^ u32(2166136261)) * u32(16777619)),
    "scatter-max-u64": ([node("ScatterElements", ["x", "i", "u"], ["y"], reduction="max")],
                        {"x": u64(5, 2**63 + 1, 7)}, {"i": i64(1), "u": u64(3)}, u64(5, 2**63 + 1, 7)),
    "scatter-min-u64": ([node("ScatterND", ["x", "i", "u"], ["y"], reduction="min")],
                        {"x": u64(5, 2**63 + 1, 7)}, {"i": i64([1]), "u": u64(3)}, u64(5, 3, 7)),
    "pad-i64": ([node("Pad", ["x", "pads", "v"], ["y"])], {"x": i64(5)}, {**PADS, "v": np.array(LARGE, np.int64)},
                i64(LARGE, 5)),
    "pad-u64": ([node("Pad", ["x", "pads", "v"], ["y"])], {"x": u64(5)}, {**PADS, "v": np.array(LARGEST, np.uint64)},
                u64(LARGEST, 5)),
    "clip-i64": ([node("Clip", ["x", "", "v"], ["y"])], {"x": i64(5, 2**60)}, {"v": np.array(LARGE, np.int64)},
                 i64(5, LARGE)),
    "full-i64": added_to([node("ConstantOfShape", ["s"], ["c"], value=numpy_helper.from_array(i64(LARGE)))], np.int64,
                         {"s": i64(2)}, i64(LARGE, LARGE)),
    "full-u64": added_to([node("ConstantOfShape", ["s"], ["c"], value=numpy_helper.from_array(u64(LARGEST)))],
                         np.uint64, {"s": i64(2)}, u64(LARGEST, LARGEST)),
    "range-i64": added_to([node("Range", ["a", "b", "d"], ["c"])], np.int64,
                          {"a": np.array(LARGE), "b": np.array(LARGE + 6), "d": np.array(2)},
                          i64(LARGE, LARGE + 2, LARGE + 4)),
    "rest-i32": ([node("Mod", ["x", "b"], ["y"], fmod=1)], {"x": i32(LEAST, LEAST, 2, -7, 7), "b": i32(3, 2**31 - 1, LEAST, 3, -3)},
                 {}, i32(-2, -1, 2, -1, 1)),
    "quotient-i64": ([node("Div", ["x", "b"], ["y"])],
                     {"x": i64(2, MOST_LONG, LEAST_LONG, -7, 7), "b": i64(LEAST_LONG, LEAST_LONG, MOST_LONG, 2, -2)},
                     {}, i64(0, 0, -1, -3, -3)),
    "one-hot-u64": ([node("OneHot", ["x", "d", "v"], ["y"])], {"x": u64(1, LARGEST)},
                    {"d": i64(3), "v": i64(0, 1)}, i64([0, 1, 0], [0, 0, 0])),
    "halves-i32": ([node("DequantizeLinear", ["x", "s"], ["y"])], {"x": i32(1000000, 70000, -2000000)},
                   {"s": half(0.001)}, (np.array([1000000, 70000, -2000000], np.float32) * np.float32(half(0.001))).astype(np.float16)),
    "halves-u16": ([node("DequantizeLinear", ["x", "s", "z"], ["y"])], {"x": np.array([65535, 21845], np.uint16)},
                   {"s": half(0.3), "z": np.array(21845, np.uint16)},
                   (np.array([43690, 0], np.float32) * np.float32(half(0.3))).astype(np.float16)),
    "dynamic-zeros": ([node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])], {"x": np.zeros(3, np.float32)}, {},
                      np.zeros(3, np.uint8)),
    "gemm-i32": ([node("Gemm", ["x", "b", "c"], ["y"], alpha=2.0, beta=3.0)], {"x": i32([1, -2])},
                 {"b": i32([3], [5]), "c": i32([10])}, i32([16])),
}  # fmt: skip


def value_info(name, array):
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def write_case(folder, nodes, inputs, constants, result):
    graph = helper.make_graph(
        nodes, "net", [value_info(name, array) for name, array in inputs.items()], [value_info("y", result)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    save_case(folder, model, inputs.values(), [result])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What became of each case in each runtime."""
    need_program()
    folder = tmp_path_factory.mktemp("integers")
    for name, case in CASES.items():
        write_case(folder / name, *case)
    rows, _ = run_cases(folder, "tflite", "onnx", "tensorflow")
    return {row[0]: {"tflite": row[2], "onnx": row[4], "tensorflow": row[5]} for row in rows}


@pytest.mark.parametrize("name", CASES)
def test_are_exact(outcomes, name):
    assert outcomes[name] == {"tflite": "ok", "onnx": "ok", "tensorflow": "ok"}
