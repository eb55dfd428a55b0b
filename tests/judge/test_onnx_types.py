"""ONNX's operators on every integer and float type that they take: the right numbers in LiteRT, ONNX Runtime and
TensorFlow, or an error before anything is written.

Each operator below is called once for each element type that its newest schema allows, by small files in the layout of
ONNX's node tests, which `taper_onnx_cases` (tests/tools) reads and runs in all three runtimes. What is expected is what
ONNX Runtime, or ONNX's reference evaluation, computes of the file itself. tests/onnx_nodes/types.txt lists the
combinations that end as an error; with TAPER_UPDATE_ONNX_NODES=1 it is written anew.
"""

import dataclasses
import os
import re

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnx_cases import need_program, run_cases, save_case
from program import ROOT

TABLE = ROOT / "tests/onnx_nodes/types.txt"
COLUMNS = ("evaluated", "tflite", "onnx", "tensorflow")
NUMPY = {
    "bool": np.bool_, "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64, "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16, "float": np.float32, "double": np.float64, "int4": ml_dtypes.int4,
    "uint4": ml_dtypes.uint4, "float8e4m3fn": ml_dtypes.float8_e4m3fn, "float8e5m2": ml_dtypes.float8_e5m2,
}  # fmt: skip
ELEMENT = {name: getattr(TensorProto, name.upper()) for name in NUMPY}


def drawn(dtype, shape, kind, seed):
    """Numbers of a type. `any`: up to its extremes (of 64 bits up to 2^50, the reference's exact ones); `small`: -9 to 9;
    `positive`: 1 to 9; `shift`: 0 to 7; `cast`: reals above 0, and any integers; `distinct`: unlike ones; `large`: of 64 bits, beyond what float64 tells apart."""
    rng = np.random.default_rng(seed)
    count = int(np.prod(shape))
    scalar = NUMPY[dtype]
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype == "double" or np.dtype(scalar).kind == "f" or "float" in dtype:
        low, high = (0.5, 4) if kind in ("positive", "cast") else (-4, 4)
        return rng.uniform(low, high, shape).astype(scalar)
    info = ml_dtypes.iinfo(scalar)
    low, high = max(int(info.min), -(2**50)), min(int(info.max), 2**50)
    if kind == "large":
        values = [int(info.max), int(info.min), int(info.max) - 1, int(info.max) // 2 + 1, 2**53 + 1, 1, 0, 2**62 + 3]
        return np.array(rng.permutation(np.array(values, object))[np.arange(count) % 8].tolist(), scalar).reshape(shape)
    if kind == "positive":
        low, high = 1, min(high, 9)
    elif kind == "shift":
        low, high = 0, 7
    elif kind == "small":
        low, high = max(low, -9 if high > 9 else -3), min(high, 9)
    values = rng.integers(low, high, count, endpoint=True, dtype=np.int64)
    if kind == "distinct":
        values = rng.choice(np.arange(max(low, -40), min(high, 40) + 1), count, replace=False)
    if kind in ("any", "cast"):
        values[: min(2, count)] = [low, high][: min(2, count)]
    return values.astype(scalar).reshape(shape)


@dataclasses.dataclass
class Operand:
    """An operand of the type that varies (`kind` tells its numbers), or one that stays as it is."""

    shape: tuple = ()
    kind: str = "any"
    fixed: object = None  # a constant
    given: bool = False  # of the fixed: an input all the same


@dataclasses.dataclass
class Call:
    """A node of an operator."""

    op: str
    operands: list
    attrs: dict = dataclasses.field(default_factory=dict)
    constraint: str = "T"  # that of the type which varies
    results: int = 1
    name: str = ""
    opset: int = 25
    only: tuple = ()  # of its types these alone
    of_dtype: object = None  # attributes that follow from the type

    def dtypes(self):
        schema = onnx.defs.get_schema(self.op, self.opset, "")
        found = next(each for each in schema.type_constraints if each.type_param_str == self.constraint)
        names = [text[7:-1] for text in found.allowed_type_strs if text.startswith("tensor(")]
        return sorted(name for name in names if name in NUMPY and (not self.only or name in self.only))


def vary(*shape, kind="any"):
    return Operand(shape, kind)


def fixed(numbers, dtype=np.int64, given=False):
    return Operand(fixed=np.array(numbers, dtype), given=given)


INTEGERS64 = ("int64", "uint64")
WHOLE = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
A, B = vary(2, 3), vary(3)
SMALL, DIVISOR = vary(2, 3, kind="small"), vary(3, kind="positive")
CALLS = [
    *[Call(op, [A, vary(2, 3)]) for op in ("Add", "Sub", "Max", "Min", "Equal", "Greater", "Less",
                                           "GreaterOrEqual", "LessOrEqual", "BitwiseAnd", "BitwiseOr", "BitwiseXor")],
    *[Call(op, [vary(2, 4, kind="large"), vary(4, kind="large")], name=f"{op}_large", only=INTEGERS64)
      for op in ("Add", "Sub", "Mul", "Max", "Min", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual",
                 "BitwiseAnd", "BitwiseOr", "BitwiseXor")],
    *[Call(op, [vary(2, 4, kind="large")], name=f"{op}_large", only=INTEGERS64)
      for op in ("Abs", "Sign", "BitwiseNot", "Transpose", "NonZero")],
    Call("Add", [A, B], name="Add_broadcast"),
    Call("Mul", [SMALL, B]),
    Call("Div", [A, DIVISOR]),
    Call("Mod", [A, DIVISOR], only=WHOLE),
    Call("Mod", [A, DIVISOR], {"fmod": 1}, name="Mod_fmod"),
    *[Call(op, [vary(2, 4, kind="large"), vary(4, kind="positive")], attrs, name=f"{op}_large{len(attrs)}",
           only=INTEGERS64) for op, attrs in (("Div", {}), ("Mod", {}), ("Mod", {"fmod": 1}))],
    Call("Div", [vary(2, 4, kind="large"), fixed([3, 2**62, 2**63, 2**64 - 1], np.uint64)], name="Div_by_large",
         only=("uint64",)),
    Call("Mod", [vary(2, 4, kind="large"), fixed([3, 2**62, 2**63, 2**64 - 1], np.uint64)], name="Mod_by_large",
         only=("uint64",)),
    Call("Pow", [vary(2, 3, kind="small"), fixed([2, 3, 1], np.float32)]),
    Call("Pow", [fixed([[2, 3, 1], [1.5, 2, 3]], np.float32, True), vary(3, kind="positive")], constraint="T1",
         name="Pow_exponent"),
    Call("Pow", [vary(3, kind="positive"), vary(3, kind="positive")], name="Pow_both"),
    *[Call("BitShift", [vary(2, 3), vary(3, kind="shift")], {"direction": way}, name=f"BitShift_{way}")
      for way in ("LEFT", "RIGHT")],
    *[Call("BitShift", [vary(2, 4, kind="large"), vary(4, kind="positive")], {"direction": way},
           name=f"BitShift_{way}_large", only=("uint64",)) for way in ("LEFT", "RIGHT")],
    *[Call(op, [A]) for op in ("Abs", "Neg", "Sign", "BitwiseNot", "Relu", "NonZero", "Shape", "Size")],
    Call("Identity", [A], constraint="V"),
    Call("Identity", [vary(2, 4, kind="large")], constraint="V", name="Identity_large", only=INTEGERS64),
    Call("IsNaN", [A], constraint="T1"),
    Call("IsInf", [A], constraint="T1"),
    *[Call(op, [A]) for op in ("Exp", "Sqrt", "Erf", "Sigmoid", "Tanh", "Softmax", "Floor", "Round", "LeakyRelu")],
    Call("Clip", [A, vary(kind="small"), vary(kind="positive")]),
    Call("Clip", [A, fixed(2, object)], name="Clip_low"),
    Call("Where", [fixed([True, False, True], np.bool_, True), A, B]),
    *[Call("Cast", [vary(2, 3, kind="cast")], {"to": ELEMENT[to]}, "T1", name=f"Cast_{to}")
      for to in ("float", "int64", "int32", "uint8", "int8", "bool", "uint16", "uint32", "uint64", "int16", "float16",
                 "bfloat16", "double")],
    *[Call("Cast", [vary(2, 4, kind="large")], {"to": ELEMENT[to]}, "T1", name=f"Cast_{to}_large", only=INTEGERS64)
      for to in ("float", "int64", "int32", "uint8", "bool", "uint32", "uint64", "double")],
    Call("CastLike", [fixed([[1, 0, 2], [3, 2, 1]], np.float32, True), vary(1)], constraint="T2"),
    Call("CumSum", [vary(2, 3, kind="small"), fixed(1)]),
    Call("CumSum", [vary(2, 3, kind="small"), fixed(0)], {"exclusive": 1, "reverse": 1}, name="CumSum_reverse"),
    *[Call(op, [vary(2, 3, 4, kind="distinct")], {"axis": 1}) for op in ("ArgMax", "ArgMin")],
    *[Call(op, [vary(2, 4, kind="large")], {"axis": 1}, name=f"{op}_large", only=INTEGERS64)
      for op in ("ArgMax", "ArgMin")],
    Call("TopK", [vary(2, 5, kind="distinct"), fixed([3])], results=2),
    Call("TopK", [vary(2, 5, kind="distinct"), fixed([3])], {"largest": 0}, results=2, name="TopK_least"),
    *[Call(op, [vary(2, 3, 4, kind="small"), fixed([1])], {"keepdims": keep}, name=f"{op}_{keep}")
      for op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd") for keep in (0, 1)],
    *[Call(op, [vary(2, 4, kind="large"), fixed([1])], name=f"{op}_large", only=INTEGERS64)
      for op in ("ReduceMax", "ReduceMin")],  # ONNX Runtime adds int64 as float64
    *[Call(op, [vary(2, 3, 4, kind="positive"), fixed([1])])
      for op in ("ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")],
    Call("MatMul", [vary(2, 3, kind="small"), vary(3, 4, kind="small")]),
    Call("MatMul", [vary(2, 2, 3, kind="small"), vary(2, 3, 4, kind="small")], name="MatMul_batch"),
    Call("Gemm", [vary(2, 3, kind="positive"), vary(4, 3, kind="positive"), vary(4, kind="positive")], {"transB": 1}),
    Call("Einsum", [vary(2, 3, kind="small"), vary(3, 4, kind="small")], {"equation": "ij,jk->ki"}),
    Call("PRelu", [vary(2, 3, kind="small"), vary(3, kind="positive")]),
    Call("Shrink", [vary(2, 3, kind="small")], {"lambd": 2.0, "bias": 1.0}),
    Call("MaxPool", [vary(1, 2, 4, 4)], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    Call("MaxPool", [vary(1, 2, 4, 4)], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, name="MaxPool_padded"),
    # What only moves elements.
    Call("Concat", [A, vary(2, 2)], {"axis": 1}),
    Call("Concat", [vary(2, 4, kind="large"), vary(1, 4, kind="large")], {"axis": 0}, name="Concat_large",
         only=INTEGERS64),
    Call("Split", [vary(2, 6)], {"axis": 1, "num_outputs": 3}, results=3),
    Call("Split", [vary(2, 6), fixed([1, 5])], {"axis": 1}, results=2, name="Split_sizes"),
    Call("Gather", [vary(3, 4), fixed([[2, 0], [-1, 1]])], {"axis": 0}),
    Call("Gather", [vary(3, 4), fixed([2, 0], np.int32, True)], {"axis": 1}, name="Gather_given"),
    Call("Gather", [fixed([[1, 2], [3, 4]], np.float32, True), fixed([1, 0], np.int32, True)], constraint="Tind",
         name="Gather_by", only=("int32", "int64")),
    Call("Gather", [vary(3, 4, kind="large"), fixed([2, 0])], {"axis": 0}, name="Gather_large", only=INTEGERS64),
    Call("GatherElements", [vary(3, 4), fixed([[0, 1, 2, -1]])], {"axis": 0}),
    Call("GatherND", [vary(3, 4), fixed([[0, 1], [2, -1]])]),
    Call("ScatterElements", [vary(3, 4), fixed([[0, 1, 2, 0]]), vary(1, 4)], {"axis": 0}),
    *[Call("ScatterElements", [vary(3, 4, kind="positive"), fixed([[0, 1, 2, 0]]), vary(1, 4, kind="positive")],
           {"axis": 0, "reduction": how}, name=f"ScatterElements_{how}") for how in ("add", "mul", "max", "min")],
    Call("ScatterND", [vary(3, 4), fixed([[0], [2]]), vary(2, 4)]),
    *[Call("ScatterND", [vary(3, 4, kind="positive"), fixed([[0], [2]]), vary(2, 4, kind="positive")], {"reduction": how},
           name=f"ScatterND_{how}") for how in ("add", "mul", "max", "min")],
    Call("Expand", [vary(3, 1), fixed([2, 3, 4])]),
    Call("Tile", [A, fixed([2, 1])]),
    Call("Reshape", [A, fixed([3, -1])]),
    Call("Flatten", [vary(2, 3, 2)]),
    Call("Squeeze", [vary(2, 1, 3), fixed([1])]),
    Call("Unsqueeze", [A, fixed([1])]),
    Call("Transpose", [vary(2, 3, 4)], {"perm": [2, 0, 1]}),
    Call("Slice", [vary(4, 5), fixed([1]), fixed([4]), fixed([1]), fixed([2])]),
    Call("Slice", [vary(4, 5), fixed([-1]), fixed([-9]), fixed([0]), fixed([-2])], name="Slice_back"),
    Call("Pad", [A, fixed([1, 0, 0, 2])]),
    Call("Pad", [A, fixed([1, 0, 0, 2]), vary()], name="Pad_value"),
    *[Call("Pad", [vary(3, 3), fixed([1, 0, 1, 2])], {"mode": mode}, name=f"Pad_{mode}")
      for mode in ("reflect", "edge", "wrap")],
    Call("Trilu", [vary(3, 4)], {"upper": 0}),
    Call("Trilu", [vary(3, 4), fixed(1)], {"upper": 1}, name="Trilu_upper"),
    Call("DepthToSpace", [vary(1, 4, 2, 2)], {"blocksize": 2}),
    Call("SpaceToDepth", [vary(1, 2, 4, 4)], {"blocksize": 2}),
    Call("ReverseSequence", [vary(4, 2), fixed([3, 1])], {"time_axis": 0, "batch_axis": 1}),
    Call("Compress", [vary(3, 2), fixed([True, False, True], np.bool_, True)], {"axis": 0}),
    Call("Unique", [vary(6, kind="small")], results=4),
    Call("OneHot", [fixed([0, 2, 1], np.int64, True), fixed(4), vary(2, kind="small")], constraint="T3"),
    Call("OneHot", [vary(3, kind="positive"), fixed(10), fixed([0, 1], np.float32)], constraint="T1", name="OneHot_of",
         only=WHOLE),
    Call("EyeLike", [vary(3, 4)], {"k": 1}, "T1"),
    Call("ConstantOfShape", [fixed([2, 3])], constraint="T2", name="ConstantOfShape",
         of_dtype=lambda dtype: {"value": numpy_helper.from_array(np.ones(1, NUMPY[dtype]))}),
    Call("Range", [vary(kind="positive"), fixed(7, object), fixed(2, object)], only=("int16", "int32", "int64")),
    Call("CenterCropPad", [vary(3, 4), fixed([4, 2])]),
    Call("TensorScatter", [vary(2, 4, 3), vary(2, 2, 3), fixed([1, 2])], {"axis": 1}),
    Call("Resize", [vary(1, 1, 2, 2, kind="small"), fixed([], np.float32), fixed([1, 1, 2, 2], np.float32)], {"mode": "nearest"},
         "T1"),
    Call("GridSample", [vary(1, 1, 3, 3), fixed(np.linspace(-1, 1, 8).reshape(1, 2, 2, 2), np.float32)],
         {"mode": "nearest"}, "T1"),
    Call("Col2Im", [vary(1, 4, 4, kind="small"), fixed([3, 3]), fixed([2, 2])]),
    Call("ConvInteger", [vary(1, 2, 4, 4), vary(3, 2, 2, 2)], constraint="T1", only=("uint8",)),
    Call("MatMulInteger", [vary(2, 3), vary(3, 4)], constraint="T1", only=("uint8", "int8")),
    Call("QuantizeLinear", [SMALL, fixed(0.25, np.float32), fixed(3, np.uint8)], constraint="T1",
         only=("float", "int32")),
    Call("DequantizeLinear", [vary(2, 3), fixed(0.25, np.float32)], constraint="T1",
         only=("int8", "uint8", "int16", "uint16", "int32")),
]


def numbers_of(call, dtype):
    """The contents of the operands."""
    arrays = []
    for i, operand in enumerate(call.operands):
        if operand.fixed is None:
            arrays.append(drawn(dtype, operand.shape, operand.kind, seed=i + 1))
        else:
            arrays.append(operand.fixed.astype(NUMPY[dtype]) if operand.fixed.dtype == object else operand.fixed)
    return arrays


def model_of(call, dtype, arrays):
    """The file, whose inputs are the operands that are no constants."""
    names = [f"x{i}" for i in range(len(arrays))]
    tensors = [numpy_helper.from_array(array, name) for name, array in zip(names, arrays, strict=True)]
    is_input = [operand.fixed is None or operand.given for operand in call.operands]
    inputs = [helper.make_tensor_value_info(each.name, each.data_type, each.dims)
              for each, given in zip(tensors, is_input, strict=True) if given]  # fmt: skip
    initializers = [each for each, given in zip(tensors, is_input, strict=True) if not given]
    attrs = {**call.attrs, **(call.of_dtype(dtype) if call.of_dtype else {})}
    results = [f"y{i}" for i in range(call.results)]
    node = helper.make_node(call.op, names, results, **attrs)
    graph = helper.make_graph([node], "net", inputs, [onnx.ValueInfoProto(name=name) for name in results], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", call.opset)], ir_version=13)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def feeds_of(model, arrays):
    given = {each.name for each in model.graph.input}
    return {f"x{i}": array for i, array in enumerate(arrays) if f"x{i}" in given}


def in_onnxruntime(model, arrays):
    """The results, or nothing where it has no kernel."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        return session.run(None, feeds_of(model, arrays))
    except Exception:  # noqa: BLE001  (its exceptions have no common class)
        return None


def wider_types(dtype, arrays):
    """Types that hold all of these numbers of a type, for which ONNX Runtime may have a kernel."""
    if "float" in dtype or dtype == "double":
        return ["float"]
    if dtype == "bool":
        return ["uint8", "int64"]
    few = all(np.abs(array.astype(np.float64)).max(initial=0) < 2**24 for array in arrays)
    return ["int64", "double", "float"] if few else ["int64", "double"]


def in_wider_type(call, dtype, arrays):
    """The results of the same call on a wider type, where they are the same numbers; nothing if there is none."""
    if any(operand.kind == "large" for operand in call.operands):
        return None
    for wide in wider_types(dtype, arrays):
        wider = [array if operand.fixed is not None and operand.fixed.dtype != object else array.astype(NUMPY[wide])
                 for array, operand in zip(arrays, call.operands, strict=True)]  # fmt: skip
        try:
            results = in_onnxruntime(model_of(call, wide, wider), wider)
        except onnx.shape_inference.InferenceError:
            continue
        if results is not None:
            return results
    return None


def expected_of(call, dtype, model, arrays):
    """What the file gives in ONNX Runtime, where it has kernels for it, or has them for a wider type that gives the same;
    else in ONNX's reference evaluation."""
    plain = "bfloat" not in dtype and "int4" not in dtype and "float8" not in dtype
    results = in_onnxruntime(model, arrays) if plain else None
    if results is None:
        results = in_wider_type(call, dtype, arrays)
    if results is None:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, feeds_of(model, arrays))
    types = [helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type) for each in model.graph.output]
    with np.errstate(all="ignore"):
        return [np.asarray(array).astype(wanted) for array, wanted in zip(results, types, strict=True)]


def write_cases(folder):
    """Writes a folder per call and type."""
    for call in CALLS:
        for dtype in call.dtypes():
            arrays = numbers_of(call, dtype)
            model = model_of(call, dtype, arrays)
            expected = expected_of(call, dtype, model, arrays)
            save_case(folder / f"{call.name or call.op}-{dtype}", model, feeds_of(model, arrays).values(), expected)


# ---------------------------------------------------------------------------------------------------------------- tests


def kind_of(reason):
    """A reason without what differs from case to case."""
    reason = re.sub(r"\(\d+ times?, in [^)]*\)", "", reason).split("; in ")[0]
    return re.sub(r"\s+;", ";", reason).strip()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What became of each case in each column, by its name."""
    need_program()
    folder = tmp_path_factory.mktemp("types")
    write_cases(folder)
    rows, _ = run_cases(folder, "tflite", "onnx", "tensorflow", timeout=900)
    found = {name: dict(zip(COLUMNS, (evaluated, tflite, onnx_file, tensorflow), strict=True))
             for name, evaluated, tflite, _, onnx_file, tensorflow in rows}  # fmt: skip
    if os.environ.get("TAPER_UPDATE_ONNX_NODES"):
        write_table(found)
    return found


def errors_of(found):
    """The errors before anything was written: by case and format, the kind."""
    return {(name, column): kind_of(columns[column])
            for name, columns in found.items() for column in COLUMNS[1:]
            if columns[column].startswith((f"{column}: ", "read: "))}  # fmt: skip


def write_table(found):
    errors = errors_of(found)
    lines = [
        "# ONNX's operators on each of their element types: the combinations that end as an error, and with which.",
        "# Written by tests/judge/test_onnx_types.py with TAPER_UPDATE_ONNX_NODES=1.",
        f"# {len(found)} combinations in 3 formats, {len(errors)} errors; all else gives the right numbers.",
    ]
    lines += ["\t".join([name, column, error]) for (name, column), error in sorted(errors.items())]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_table():
    lines = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {(name, column): error for name, column, error in lines}


@pytest.mark.parametrize("column", COLUMNS)
def test_every_file_gives_the_right_numbers(outcomes, column):
    """No runtime refuses a file or gives other numbers. The reference knows no more digits than float64 has."""
    wrong = {name: columns[column] for name, columns in outcomes.items()
             if columns[column] != "ok" and not columns[column].startswith((f"{column}: ", "read: "))
             and not (column == "evaluated" and ("large" in name or "digits beyond" in columns[column]))}  # fmt: skip
    assert not wrong


def test_what_ends_as_an_error_stands_in_the_table(outcomes):
    assert errors_of(outcomes) == read_table()


def test_errors_name_the_type(outcomes):
    for (name, _), error in errors_of(outcomes).items():
        dtype = name.rsplit("-", 1)[1]
        assert dtype in error, f"{name}: {error}"
