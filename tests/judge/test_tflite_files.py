"""TFLite files are built as promised: dynamic shapes, one signature, and the form that runtimes run best."""

import functools

import pytest
from ai_edge_litert.interpreter import Interpreter

from program import export
from references import source_arguments
from tflite_file import ALIGNMENT, TfliteFile

KINDS = ["fp32", "fp16"]


parsed = functools.cache(TfliteFile)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def file(exports, case_name, kind):
    return parsed(exports.file(case_name, kind))


def test_identifier_version_and_description(file):
    assert file.identifier == b"TFL3"
    assert file.model.version == 3
    assert file.model.description
    assert not file.model.buffers[0].data


def test_signature_has_the_outside_names(exports, case_name, file):
    case = exports.case(case_name)
    key, inputs, outputs = file.signature()
    assert key == "serving_default"
    assert list(inputs) == ["input"]
    assert list(outputs) == list(case.at(case.shapes[0])[1])


def test_batch_and_length_are_dynamic(exports, case_name, file):
    case = exports.case(case_name)
    length = 48 if case.arguments else 300
    _, inputs, outputs = file.signature()
    assert list(inputs["input"].shape) == [1, length, case.features]
    assert list(inputs["input"].shapeSignature) == [-1, -1, case.features]
    leading = [-1, -1] if case.key.endswith("Ctc") else [-1]
    for name, tensor in outputs.items():
        assert list(tensor.shapeSignature) == [*leading, case.at(case.shapes[0])[1][name].shape[-1]]


def test_strict_resize_changes_only_dynamic_dimensions(exports, case_name, kind):
    features = exports.case(case_name).features
    interpreter = Interpreter(model_path=str(exports.file(case_name, kind)), num_threads=1)
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, [2, 29, features], strict=True)
    interpreter.allocate_tensors()
    with pytest.raises(RuntimeError, match="ResizeInputTensorStrict"):
        interpreter.resize_tensor_input(index, [2, 29, features + 1], strict=True)


def test_metadata_names_the_least_runtime(file):
    version = file.metadata()["min_runtime_version"]
    assert len(version) == 16
    major, minor = version.rstrip(b"\0").decode().split(".")[:2]
    assert (1, 14) <= (int(major), int(minor)) <= (2, 30)


def test_buffers_are_aligned(file):
    assert file.buffer_offsets()
    assert all(offset % ALIGNMENT == 0 for offset in file.buffer_offsets())


def test_weights_have_the_type_of_the_file(exports, case_name, file, kind):
    stored = file.weight_elements()
    if kind == "fp32":
        assert set(stored) == {"fp32"}
    elif exports.case(case_name).heads == "gloss":  # the default sizes
        assert stored["fp16"] > 0.9 * sum(stored.values())


def test_old_readers_find_the_operator_codes(file):
    for code in file.model.operatorCodes:
        assert code.deprecatedBuiltinCode == min(code.builtinCode, 127)


def test_nothing_needs_more_than_the_builtins(file):
    assert not set(file.all_builtins()) & {"CUSTOM", "CALL_ONCE", "VAR_HANDLE", "BROADCAST_ARGS", "RESHAPE"}


def test_shapes_are_asked_for_once_at_most_in_the_main_graph(file):
    """LiteRT answers SHAPE when memory is planned, but no tensor may get a computed shape, and no loop may ask again."""
    main, *regions = file.model.subgraphs
    assert file.builtins(main).count("SHAPE") <= 4  # the table's length, and the number of steps of each loop
    assert not any("SHAPE" in file.builtins(region) for region in regions)


def test_loops_are_as_few_as_is_fast(exports, case_name, file):
    """A stack whose last state alone counts steps all layers in one loop. Layers that give every frame are a loop of
    chunks around a loop of steps each, one for each direction: joined they were measured to be slower."""
    module = exports.case(case_name).module
    loops = file.all_builtins().count("WHILE")
    if "GRU" not in type(module).__name__:
        assert loops == 0
    elif "Ctc" in type(module).__name__:
        assert loops == (8 if module.bidirectional else 4)
    else:
        assert loops == (6 if module.bidirectional else 1)


def test_operators_do_not_grow_with_the_length(exports, tmp_path, kind):
    for name in ("transformer", "gru", "transformer_ctc", "gru_ctc"):
        case = exports.case(name)
        arguments = [*source_arguments(case.key, case.checkpoint), "--no-verify"]
        counts = set()
        for length in (10, 40):
            run = export(tmp_path / f"{name}{length}", *arguments, "--sequence-length", length).expect(0)
            counts.add(len(TfliteFile(run.path(case.key, kind)).all_builtins()))
        assert len(counts) == 1, name


def test_sizes_are_those_of_the_weights(exports, case_name, kind):
    case = exports.case(case_name)
    weights = sum(parameter.numel() for parameter in case.module.parameters())
    table = 301 * case.module.pos_encoder.pe.shape[2] if hasattr(case.module, "pos_encoder") else 0
    bytes_each = 4 if kind == "fp32" else 2
    assert exports.file(case_name, kind).stat().st_size < 1.05 * (weights * bytes_each + table * 4) + 50_000
