"""ONNX files are sound by ONNX's own checker and look outside as promised."""

import numpy as np
import onnx
import pytest

from references import shapes_of
from runtimes import OnnxRuntime


@pytest.fixture
def model(exports, case_name):
    return onnx.load(exports.file(case_name, "onnx"))


def dimensions(value):
    """A graph input's or output's dimensions: names where symbolic, else numbers."""
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_passes_the_checker(exports, case_name):
    onnx.checker.check_model(str(exports.file(case_name, "onnx")), full_check=True)


def test_versions(model):
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 17}
    assert model.ir_version == 8
    assert "taper" in model.producer_name


def test_inputs_and_outputs(exports, case_name, model):
    case = exports.case(case_name)
    _, expected = case.at(case.shapes[0])
    per_frame = case.key.endswith("Ctc")
    assert [value.name for value in model.graph.input] == ["input"], "weights are no inputs"
    assert dimensions(model.graph.input[0]) == ["batch_size", "sequence_length", case.features]
    assert [value.name for value in model.graph.output] == list(expected)
    for value in model.graph.output:
        leading = ["batch_size", "sequence_length"] if per_frame else ["batch_size"]
        assert dimensions(value) == [*leading, expected[value.name].shape[-1]]
    values = [*model.graph.input, *model.graph.output]
    assert {value.type.tensor_type.elem_type for value in values} == {onnx.TensorProto.FLOAT}


def test_recurrence_is_the_gru_operator(exports, case_name, model):
    if "GRU" not in type(exports.case(case_name).module).__name__:
        assert not any(node.op_type in ("GRU", "Loop", "Scan") for node in model.graph.node)
        return
    grus = [node for node in model.graph.node if node.op_type == "GRU"]
    assert len(grus) == (4 if exports.case(case_name).module.bidirectional else 2)  # one for each direction
    for node in grus:
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        assert attributes["linear_before_reset"] == 1


def test_shapes_are_not_computed_from_weights(exports, case_name, model):
    """Weights are initializers, once each, and the file holds little else."""
    case = exports.case(case_name)
    weights = sum(parameter.numel() for parameter in case.module.parameters())
    stored = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    tables = 0 if not hasattr(case.module, "pos_encoder") else 301 * case.module.pos_encoder.pe.shape[2]
    assert stored <= weights + tables + 4096


def test_another_optimisation_level_agrees(exports, case_name):
    """Without ONNX Runtime's own rewrites the numbers are the same, so no rewrite hides a slip."""
    case = exports.case(case_name)
    x, expected = case.at(case.shapes[1])
    path = exports.file(case_name, "onnx")
    plain = OnnxRuntime(path, optimise=False).run(x, shapes_of(expected))
    usual = OnnxRuntime(path).run(x, shapes_of(expected))
    for name in expected:
        np.testing.assert_allclose(plain[name], usual[name], rtol=1e-4, atol=1e-4)
