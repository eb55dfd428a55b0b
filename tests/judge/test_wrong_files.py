"""Wrong files get one clear error each, leave nothing behind, and don't stop the other models."""

import os

import pytest
import torch

from builder.wrong_files import MARKER
from program import KINDS, RESULTS, STEMS, export, file_name, write_config
from references import FIXTURES, REFUSED, fixture

GRU_FILES = [file_name(STEMS["gru"], kind) for kind in KINDS]


@pytest.mark.parametrize("record", REFUSED, ids=lambda record: record["file"].removeprefix("checkpoints/"))
def test_wrong_file_is_refused(tmp_path, record):
    checkpoint = FIXTURES / record["file"]
    _, good = fixture("variants/gru.pt")
    arguments = ["--model", f"wrong={checkpoint}", "--gru", good, "--no-verify"]
    if record["config"]:
        arguments += ["--config", write_config(tmp_path, {"wrong": record["config"]})]
    run = export(tmp_path, *arguments).expect(1)
    error = run.model("wrong")["error"]
    assert checkpoint.name in error
    assert checkpoint.name in run.stderr
    for word in record["mentions"]:
        assert word in error, f"{word!r} is not in: {error}"
        assert word in run.stderr
    assert "unexpected" not in error, "an exception of the program's own"
    assert len(error) < 4000, "one clear error"
    assert "error" not in run.model("gru"), "the other model is exported all the same"
    assert run.files == sorted([*GRU_FILES, RESULTS]), "no partial files"
    assert not (tmp_path / MARKER).exists(), "code of the checkpoint ran"


def test_each_wrong_file_has_an_error_of_its_own(tmp_path):
    """All at once: no error is another's, and the exit status tells that something failed."""
    names = [f"w{index}" for index in range(len(REFUSED))]
    arguments = [
        argument
        for name, record in zip(names, REFUSED, strict=True)
        if not record["config"]
        for argument in ("--model", f"{name}={FIXTURES / record['file']}")
    ]
    run = export(tmp_path, *arguments).expect(1)
    errors = {key: value["error"] for key, value in run.results.items() if key in names}
    assert len(set(errors.values())) == len(errors) == sum(not record["config"] for record in REFUSED)
    assert run.files == [RESULTS]


def test_a_folder_is_no_checkpoint(tmp_path):
    (tmp_path / "folder.pt").mkdir(parents=True)
    run = export(tmp_path, "--gru", "folder.pt").expect(1)
    assert "folder.pt" in run.stderr
    assert run.files == [RESULTS]


def test_a_pipe_is_no_checkpoint(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    assert "pipe.pt" in export(tmp_path, "--gru", "pipe.pt").expect(1).stderr


def test_nan_in_a_used_weight_is_named(tmp_path):
    """What the output can be compared with is not a number, so verification can't pass; the warning says why."""
    _, good = fixture("variants/gru.pt")
    state = torch.load(good)
    state["gru2.weight_hh_l0"][0, 0] = float("nan")
    torch.save(state, tmp_path / "nan.pt")
    run = export(tmp_path, "--gru", "nan.pt").expect(1)
    assert "gru2.weight_hh_l0" in run.stderr
    assert any("gru2.weight_hh_l0" in warning for warning in run.model("gru")["warnings"])


def test_an_old_export_survives_a_failed_one(tmp_path):
    """Files of an earlier run are not half overwritten by one that fails."""
    _, good = fixture("variants/gru.pt")
    before = export(tmp_path, "--gru", good).expect(0)
    content = before.content
    _, wrong = fixture("unfit/gru_key_missing.pt")
    after = export(tmp_path, "--gru", wrong).expect(1)
    assert after.content == content
