"""Exported files compute what PyTorch computes, in every runtime, at every batch and length."""

import numpy as np
import pytest

from builder.wrong_files import MARKER
from program import export, write_config
from references import ACCEPTED, FIXTURES, MANIFEST, expected_outputs, shapes_of
from runtimes import LiteRtCompiledModel, LiteRtInterpreter, OnnxRuntime, relative_error

BOUNDS = {"onnx": 1e-4, "fp32": 1e-4, "fp16": 2e-2}
RUNTIMES = {
    "onnx in ONNX Runtime": ("onnx", OnnxRuntime),
    "fp32 in Interpreter": ("fp32", LiteRtInterpreter),
    "fp32 in CompiledModel": ("fp32", LiteRtCompiledModel),
    "fp16 in Interpreter": ("fp16", LiteRtInterpreter),
    "fp16 in CompiledModel": ("fp16", LiteRtCompiledModel),
}


@pytest.mark.parametrize("where", RUNTIMES)
def test_agrees_with_pytorch(exports, case_name, where):
    kind, runtime = RUNTIMES[where]
    model, case = runtime(exports.file(case_name, kind)), exports.case(case_name)
    errors = {}
    for shape in case.shapes:
        x, expected = case.at(shape)
        for turn in ("first", "second"):
            found = model.run(x, shapes_of(expected))
            assert set(found) == set(expected), "outputs"
            for name, values in expected.items():
                errors[name, shape, turn] = relative_error(found[name], values)
    assert max(errors.values()) < BOUNDS[kind], errors


@pytest.mark.parametrize("where", ["onnx in ONNX Runtime", "fp32 in Interpreter", "fp32 in CompiledModel"])
def test_a_run_leaves_nothing_behind(exports, case_name, where):
    kind, runtime = RUNTIMES[where]
    model, case = runtime(exports.file(case_name, kind)), exports.case(case_name)
    long, short = (case.at(shape) for shape in case.shapes[:2])
    before, _, after = (model.run(x, shapes_of(expected))["output"] for x, expected in (short, long, short))
    assert np.array_equal(before, after)


FORMS = [record for record in ACCEPTED if "/variants/" not in record["file"]]


@pytest.mark.parametrize("record", FORMS, ids=lambda record: record["file"].removeprefix("checkpoints/"))
def test_form_is_read(tmp_path, record):
    arguments = ["--model", f"form={FIXTURES / record['file']}", "--quantize", "fp32", *record["arguments"]]
    if record["config"]:
        arguments += ["--config", write_config(tmp_path, {"form": record["config"]})]
    run = export(tmp_path, *arguments).expect(0)
    results = run.model("form")
    assert results["family"] == MANIFEST["models"][record["model"]]["family"]
    told = " ".join(results["warnings"] + results["assumed"])
    assert all(word in told for word in record["warns"]), f"warnings: {told}"
    assert not (tmp_path / MARKER).exists(), "a pickle's call was made"
    for model in (LiteRtInterpreter(run.path("form", "fp32")), OnnxRuntime(run.path("form", "onnx"))):
        for x, expected in expected_outputs(record):
            found = model.run(x, shapes_of(expected))
            assert list(found) == ["output"], "the category head is left out unless asked for"
            assert relative_error(found["output"], expected["output"]) < BOUNDS["fp32"], x.shape
