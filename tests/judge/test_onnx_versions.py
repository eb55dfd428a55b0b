"""ONNX's operators in each of their versions from opset 7 to 25: each is read, or is on the list of those that are not.

Calls of operators, in the forms that their versions have (attributes that became operands, other defaults), are read in
the oldest opset that has the version, evaluated and run as TFLite by `taper_onnx_cases`, and compared with ONNX Runtime.
"""

import collections

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from onnx_cases import need_program, run_cases, save_case
from program import ROOT
from test_onnx_types import CALLS, Call, feeds_of, fixed, in_onnxruntime, model_of, numbers_of, vary

LIST = ROOT / "tests/onnx_nodes/versions.txt"
FIRST, LAST = 7, 25
# Forms that newer versions have no more, each with an opset that has it.
OLD = [
    (9, Call("Clip", [vary(2, 3)], {"min": -1.0, "max": 1.5})),
    (9, Call("Clip", [vary(2, 3)], {"max": 0.5})),
    (11, Call("Squeeze", [vary(2, 1, 3)], {"axes": [1]})),
    (9, Call("Squeeze", [vary(2, 1, 3)])),
    (11, Call("Unsqueeze", [vary(2, 3)], {"axes": [0, -1]})),
    (9, Call("Unsqueeze", [vary(2, 3)], {"axes": [0, 2]})),
    (9, Call("Split", [vary(2, 6)], {"axis": 1, "split": [1, 5]}, results=2)),
    (9, Call("Split", [vary(2, 6)], {"axis": 1}, results=3)),
    (13, Call("Split", [vary(2, 6)], {"axis": 1}, results=2)),
    (9, Call("Pad", [vary(2, 3)], {"pads": [0, 1, 1, 0], "value": 2.0})),
    (9, Call("Pad", [vary(3, 3)], {"pads": [0, 1, 1, 0], "mode": "reflect"})),
    (9, Call("Slice", [vary(4, 5)], {"starts": [1, -3], "ends": [3, 100], "axes": [0, 1]})),
    (9, Call("Slice", [vary(4, 5)], {"starts": [1], "ends": [-1]})),
    (9, Call("TopK", [vary(2, 5, kind="distinct")], {"k": 3}, results=2)),
    (10, Call("TopK", [vary(2, 5, kind="distinct"), fixed([2])], {"axis": 0}, results=2)),
    (7, Call("Upsample", [vary(1, 1, 2, 3)], {"scales": [1.0, 1.0, 2.0, 3.0]})),
    (9, Call("Upsample", [vary(1, 1, 2, 3), fixed([1, 1, 2, 2], np.float32)], {"mode": "linear"})),
    (10, Call("Resize", [vary(1, 1, 2, 3), fixed([1, 1, 2, 3], np.float32)])),
    (10, Call("Resize", [vary(1, 1, 2, 3), fixed([1, 1, 2, 2], np.float32)], {"mode": "linear"})),
    *[(11, Call(op, [vary(2, 3, 4, kind="positive")], {"axes": [1], "keepdims": keep}))
      for keep in (0, 1) for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1",
                                    "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")],
    (9, Call("ReduceSum", [vary(2, 3)])),
    (7, Call("Dropout", [vary(2, 3)], {"ratio": 0.5})),
    (10, Call("Dropout", [vary(2, 3)], {"ratio": 0.5})),
    (12, Call("Dropout", [vary(2, 3), fixed(0.5, np.float32)])),
    *[(opset, Call("BatchNormalization", [vary(2, 3, 4), *[fixed([1, 2, 0.5], np.float32)] * 3,
                                          fixed([1, 0.5, 2], np.float32)])) for opset in (7, 9, 14, 15)],
    *[(opset, Call(op, [vary(2, 3, 4)])) for op in ("Softmax", "LogSoftmax", "Hardmax") for opset in (7, 11, 13)],
    *[(opset, Call(op, [vary(2, 3, 4)], {"axis": 2})) for op in ("Softmax", "LogSoftmax") for opset in (7, 11)],
    (7, Call("Gemm", [vary(2, 3), vary(3, 4), vary(4)], {"alpha": 0.5, "beta": 2.0})),
    (9, Call("Scatter", [vary(3, 4), fixed([[0, 1, 2, 0]]), vary(1, 4)], {"axis": 0})),
    (16, Call("GridSample", [vary(1, 1, 3, 3), fixed(np.linspace(-1, 1, 8).reshape(1, 2, 2, 2), np.float32)],
              {"mode": "bilinear"}, "T1")),
    *[(opset, Call("RoiAlign", [vary(1, 2, 6, 6), fixed([[0, 0, 4, 4], [1, 1.5, 5, 4.5]], np.float32), fixed([0, 0])],
                   {"output_height": 2, "output_width": 2, "sampling_ratio": 2, "mode": mode}, "T1"))
      for opset in (10, 16) for mode in ("avg", "max")],
    (9, Call("OneHot", [fixed([0, 2, 1], np.int64, True), fixed(4), vary(2, kind="small")], {"axis": 0}, "T3")),
    *[(opset, Call("MaxPool", [vary(1, 2, 5, 5)], {"kernel_shape": [2, 2], "strides": [2, 2]})) for opset in (7, 8)],
    *[(opset, Call("AveragePool", [vary(1, 2, 5, 5)], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1],
                                                       "count_include_pad": include}))
      for opset in (7, 10, 19) for include in (0, 1)],
    (10, Call("AveragePool", [vary(1, 2, 5, 5)], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1})),
    (7, Call("InstanceNormalization", [vary(2, 3, 4), fixed([1, 2, 3], np.float32), fixed([0, 1, 2], np.float32)])),
    (7, Call("LRN", [vary(1, 4, 3, 3)], {"size": 3})),
    (7, Call("PRelu", [vary(2, 3), vary(3)])),
    (7, Call("Sum", [vary(2, 3), vary(3)])),
    (7, Call("Max", [vary(2, 3), vary(2, 3)])),
    (7, Call("Mean", [vary(2, 3), vary(2, 3)])),
    (7, Call("Flatten", [vary(2, 3, 2)], {"axis": 2})),
    (7, Call("Tile", [vary(2, 3), fixed([1, 2])])),
    (7, Call("LpNormalization", [vary(2, 3)], {"p": 1})),
    (9, Call("MeanVarianceNormalization", [vary(2, 3, 2, 2)])),
    (9, Call("Shrink", [vary(2, 3)], {"lambd": 1.0})),
    (10, Call("ThresholdedRelu", [vary(2, 3)], {"alpha": 0.5})),
    (7, Call("Elu", [vary(2, 3)], {"alpha": 0.5})),
    (7, Call("HardSigmoid", [vary(2, 3)], {"alpha": 0.3})),
    (7, Call("Pow", [vary(2, 3, kind="positive"), vary(3)])),
    (10, Call("QuantizeLinear", [vary(2, 3), fixed(0.25, np.float32), fixed(3, np.uint8)], constraint="T1")),
    (13, Call("QuantizeLinear", [vary(2, 3), fixed([0.25, 0.5, 1], np.float32), fixed([3, 1, 0], np.uint8)],
              {"axis": 1}, "T1")),
    (10, Call("DequantizeLinear", [fixed([[1, 2], [3, 255]], np.uint8, True), fixed(0.25, np.float32)],
              constraint="T", name="DequantizeLinear")),
]  # fmt: skip


def versions():
    """Of each operator of ONNX's own set, the versions that opsets 7 to 25 use."""
    history = collections.defaultdict(set)
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.since_version <= LAST:
            history[schema.name].add(schema.since_version)
    used = {}
    for name, since in history.items():
        ordered = sorted(since)
        ends = [*[each - 1 for each in ordered[1:]], LAST]
        used[name] = [begin for begin, end in zip(ordered, ends, strict=True) if end >= FIRST]
    return used


def rows_of_the_reader():
    """The versions from which on the reader has a row, by operator: the table of docs/onnx.md, which a unit test keeps."""
    rows = {}
    for line in (ROOT / "docs/onnx.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 3 and cells[2].replace(", ", "").isdigit():
            rows[cells[1]] = [int(version) for version in cells[2].split(", ")]
    return rows


def test_every_version_is_read_or_listed():
    rows = rows_of_the_reader()
    missing = {f"{name} {since}" for name, all_since in versions().items() for since in all_since
               if not any(row <= max(since, FIRST) for row in rows.get(name, []))}  # fmt: skip
    listed = [line.split("\t") for line in LIST.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert missing == {name for name, _ in listed}
    assert all(why for _, why in listed)


def cases():
    """Calls by the names of their cases, each in an opset: of all versions, as far as these take them."""
    found = {f"{call.op}-old{i}-{opset}": (call, opset) for i, (opset, call) in enumerate(OLD)}
    used = versions()
    for call in CALLS:
        if call.only or any(operand.kind == "large" for operand in call.operands):
            continue
        for since in used[call.op]:
            found[f"{call.name or call.op}-{max(since, FIRST)}"] = (call, max(since, FIRST))
    return found


def in_opset(call, opset):
    """The file in an opset and the contents of its operands; nothing where that has no such call."""
    schema = onnx.defs.get_schema(call.op, opset, "")
    allowed = {text for each in schema.type_constraints if each.type_param_str == call.constraint
               for text in each.allowed_type_strs}  # fmt: skip
    dtype = "float" if f"tensor({'float'})" in allowed or not allowed else "int32"
    arrays = numbers_of(call, dtype)
    older = Call(call.op, call.operands, call.attrs, call.constraint, call.results, opset=opset, of_dtype=call.of_dtype)
    try:
        model = model_of(older, dtype, arrays)
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return None
    return model, arrays


def write_case(folder, model, arrays):
    results = in_onnxruntime(model, arrays)
    if results is None:
        results = ReferenceEvaluator(model).run(None, feeds_of(model, arrays))
    save_case(folder, model, feeds_of(model, arrays).values(), results)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """A line per case."""
    need_program()
    folder = tmp_path_factory.mktemp("versions")
    for name, (call, opset) in cases().items():
        if made := in_opset(call, opset):
            write_case(folder / name, *made)
    return run_cases(folder, "tflite")[0]


def test_forms_of_all_versions_give_the_same_numbers(outcomes):
    assert len(outcomes) > 300
    assert {name for name, *_ in outcomes} >= {f"{call.op}-old{i}-{opset}" for i, (opset, call) in enumerate(OLD)}
    assert not [row for row in outcomes if row[1:3] != ["ok", "ok"]]
