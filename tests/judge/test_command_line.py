"""The command: its flags, what it prints, where it writes, and its exit status."""

import hashlib
import json
import shutil

import numpy as np
import onnx
import pytest
import torch

from builder.base_models import frames, reference
from program import KINDS, RESULTS, STEMS, export, file_name, write_config
from references import (
    expected_outputs,
    fixture,
    lengthened,
    variant_case,
)
from runtimes import LiteRtInterpreter, OnnxRuntime, relative_error
from tflite_file import TfliteFile

TRANSFORMER_CONFIG = {"transformer": {"num_heads": 4, "pooling": "mean", "norm_eps": 1e-6}}
ALL_FILES = sorted([RESULTS, *(file_name(stem, kind) for stem in STEMS.values() for kind in KINDS)])


def size_of(path):
    """The bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


@pytest.fixture
def checkpoints(tmp_path):
    """A folder with Transformer.pt, which tells its head count, and GRU.pt."""
    shutil.copy(fixture("modules/transformer.pt")[1], tmp_path / "Transformer.pt")
    shutil.copy(fixture("variants/gru.pt")[1], tmp_path / "GRU.pt")
    return tmp_path


class TestFindingCheckpoints:
    def test_finds_the_default_names(self, checkpoints):
        run = export(checkpoints).expect(0)
        assert run.files == ALL_FILES
        assert set(run.results) >= {"transformer", "gru", "taper_version"}

    def test_takes_paths(self, checkpoints):
        (checkpoints / "elsewhere").mkdir()
        for name in ("Transformer.pt", "GRU.pt"):
            shutil.move(checkpoints / name, checkpoints / "elsewhere" / name)
        arguments = ("--transformer", "elsewhere/Transformer.pt", "--gru", checkpoints / "elsewhere/GRU.pt")
        assert export(checkpoints, *arguments).expect(0).files == ALL_FILES

    def test_skips_a_missing_file_with_a_warning(self, checkpoints):
        run = export(checkpoints, "--gru", "nonexistent.pt").expect(0)
        assert "nonexistent.pt" in run.stderr
        assert run.files == [name for name in ALL_FILES if "gru" not in name]
        assert "error" not in run.results.get("gru", {})

    def test_exports_the_only_default_file(self, checkpoints):
        (checkpoints / "Transformer.pt").unlink()
        run = export(checkpoints).expect(0)
        assert run.files == [name for name in ALL_FILES if "transformer" not in name]

    def test_fails_when_nothing_is_found(self, tmp_path):
        run = export(tmp_path).expect(1)
        assert "Transformer.pt" in run.stderr
        assert "GRU.pt" in run.stderr

    def test_fails_when_no_given_file_is_found(self, tmp_path):
        assert "absent.pt" in export(tmp_path, "--gru", "absent.pt").expect(1).stderr

    def test_exports_further_models_under_their_names(self, checkpoints):
        more = ("--model", "wave=GRU.pt", "--model", "nod-2=Transformer.pt")
        run = export(checkpoints, *more).expect(0)
        names = [file_name(stem, kind) for stem in ("wave", "nod-2") for kind in KINDS]
        assert run.files == sorted([*ALL_FILES, *names])
        assert run.model("wave")["model_name"] == "wave"
        assert run.model("nod-2")["family"] == "SignTransformer"

    def test_same_input_gives_the_same_files(self, checkpoints):
        first = export(checkpoints, "--output-dir", "a", output_dir="a").expect(0)
        second = export(checkpoints, "--output-dir", "b", output_dir="b").expect(0)
        assert set(first.content) == set(second.content)
        for name, data in first.content.items():
            assert second.content[name] == data, name


class TestResults:
    @pytest.fixture(scope="class")
    def run(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("results")
        shutil.copy(fixture("modules/transformer.pt")[1], folder / "Transformer.pt")
        shutil.copy(fixture("variants/gru.pt")[1], folder / "GRU.pt")
        return export(folder).expect(0)

    @pytest.mark.parametrize("key", STEMS)
    def test_fields_by_name(self, run, key):
        results = run.model(key)
        assert results["model_name"] == STEMS[key]
        assert results["input_shape"] == [1, 300, 12]
        kinds = {"onnx", "tensorflow", "tflite_fp16", "tflite_fp32"}
        assert set(results["files"]) == set(results["sizes"]) == kinds
        for kind, path in results["files"].items():
            assert size_of(run.output_dir.parent / path) == results["bytes"][kind]
            assert results["sizes"][kind].split()[-1] in ("B", "KB", "KiB", "MB", "MiB")
        assert "error" not in results

    @pytest.mark.parametrize("key", STEMS)
    def test_verification(self, run, key):
        verification = run.model(key)["verification"]
        assert 0.999999 < verification["fp32_cosine_similarity"] <= 1.0000001
        assert 0.9999 < verification["fp16_cosine_similarity"] <= 1.0000001
        assert 0.999999 < verification["saved_model_cosine_similarity"] <= 1.0000001
        assert set(verification["files"]) == {"tensorflow", "tflite_fp16", "tflite_fp32"}
        for kind, bound in (("fp32", 1e-4), ("fp16", 2e-2)):
            judged = verification["files"][f"tflite_{kind}"]
            assert judged["runtime"] == "LiteRT"
            assert judged["runtime_version"]
            assert 0 < judged["relative_error"] < bound
            assert judged["max_error"] > 0
            shapes = [tuple(run["input_shape"]) for run in judged["runs"]]
            assert shapes[0] == (1, 300, 12)
            assert any(batch != 1 and length != 300 for batch, length, _ in shapes), "a second batch and length"

    @pytest.mark.parametrize("key", STEMS)
    def test_origin(self, run, key):
        results = run.model(key)
        source = run.output_dir.parent / results["source"]
        assert results["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
        assert results["family"] == {"transformer": "SignTransformer", "gru": "MediaPipeGRU"}[key]
        assert results["hyper_parameters"]
        assert isinstance(results["warnings"], list)
        assert isinstance(results["assumed"], list)

    @pytest.mark.parametrize("key", STEMS)
    def test_costs(self, run, key):
        results = run.model(key)
        assert results["seconds"]
        assert all(0 <= seconds < 60 for seconds in results["seconds"].values())
        assert 1 << 20 < results["peak_memory_bytes"] < 1 << 30


class TestScreen:
    def test_summary_names_files_and_similarity(self, checkpoints):
        run = export(checkpoints).expect(0)
        for name in set(ALL_FILES) - {RESULTS}:
            assert name in run.stdout
        assert "cosine" in run.stdout.lower()
        assert "\x1b" not in run.said, "colours in a pipe"
        assert "\r" not in run.said

    def test_log_lines_of_the_runtime_stay_off(self, checkpoints):
        run = export(checkpoints).expect(0)
        for noise in ("INFO:", "XNNPACK", "accelerator", "VERBOSE", "Warning:"):
            assert noise not in run.said

    def test_json_is_all_there_is_on_stdout(self, checkpoints):
        run = export(checkpoints, "--json").expect(0)
        assert json.loads(run.stdout) == run.results

    def test_json_of_a_failure(self, checkpoints):
        shutil.copy(fixture("not_a_checkpoint/text.pt")[1], checkpoints / "GRU.pt")
        run = export(checkpoints, "--json").expect(1)
        assert "GRU.pt" in json.loads(run.stdout)["gru"]["error"]

    def test_quiet_prints_nothing_on_stdout(self, checkpoints):
        run = export(checkpoints, "--quiet").expect(0)
        assert run.said == ""

    def test_quiet_still_reports_errors(self, checkpoints):
        shutil.copy(fixture("not_a_checkpoint/text.pt")[1], checkpoints / "GRU.pt")
        run = export(checkpoints, "--quiet").expect(1)
        assert run.stdout == ""
        assert "GRU.pt" in run.stderr

    def test_verbose_says_more(self, checkpoints):
        plain, verbose = export(checkpoints).expect(0), export(checkpoints, "-v").expect(0)
        assert len(verbose.stdout) > len(plain.stdout)

    def test_version_is_that_of_the_results(self, checkpoints):
        version = export(checkpoints).expect(0).results["taper_version"]
        assert version in export(checkpoints, "--version").expect(0).stdout

    def test_help_teaches_by_example(self, tmp_path):
        shown = export(tmp_path, "--help").expect(0).stdout
        flags = (
            "transformer gru model config output-dir sequence-length heads static to quantize "
            "verify-input no-verify json"
        )
        for flag in flags.split():
            assert f"--{flag}" in shown
        assert shown.count("export_models ") >= 3

    def test_assumed_values_are_warned_of(self, tmp_path):
        _, checkpoint = fixture("variants/transformer_default_heads.pt")
        run = export(tmp_path, "--transformer", checkpoint).expect(0)
        for word in ("heads", "8", "pooling", "mean"):
            assert word in run.stderr


class TestWrongUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["--no-such-flag"],
            ["surplus.pt"],
            ["--sequence-length", "many"],
            ["--sequence-length"],
            ["--sequence-length", "3.5"],
            ["--heads", "three"],
            ["--quantize", "fp8"],
            ["--to", "keras"],
            ["--to", ""],
            ["--to", "savedmodel", "--quantize", "fp16"],
            ["--model", "no_path"],
            ["--model", "../up=GRU.pt"],
            ["--model", "x=GRU.pt", "--model", "x=GRU.pt"],
            ["--gru", "GRU.pt", "--gru", "GRU.pt"],
            ["--output-dir", ""],
        ],
        ids=" ".join,
    )
    def test_exits_with_2_and_writes_nothing(self, checkpoints, arguments):
        run = export(checkpoints, *arguments).expect(2)
        assert run.stdout == ""
        assert "error" in run.stderr.lower()
        assert run.files == []

    def test_suggests_the_flag_that_was_meant(self, checkpoints):
        assert "--sequence-length" in export(checkpoints, "--sequence-lenght", "200").expect(2).stderr


class TestSequenceLength:
    @pytest.mark.parametrize("length", ["0", "-5", "999999999999999", "99999999999999999999999"])
    def test_refuses_absurd_lengths(self, checkpoints, length):
        run = export(checkpoints, "--sequence-length", length)
        assert run.status in (1, 2)
        assert "sequence" in run.stderr
        assert not set(run.files) - {RESULTS}

    @pytest.mark.parametrize("length", [1, 2, 500])
    def test_sets_the_default_shape(self, checkpoints, length):
        run = export(checkpoints, "--sequence-length", length).expect(0)
        for key in STEMS:
            assert run.model(key)["input_shape"] == [1, length, 12]
            file = TfliteFile(run.path(key, "fp32"))
            assert list(file.signature()[1]["input"].shape) == [1, length, 12]
            x = frames((1, length), 12, seed=5)
            assert LiteRtInterpreter(run.path(key, "fp32")).run(x, None)["output"].shape == (1, 7)

    def test_continues_a_sinusoid(self, tmp_path):
        record, checkpoint = fixture("variants/transformer.pt")
        config = write_config(tmp_path, TRANSFORMER_CONFIG)
        arguments = ("--transformer", checkpoint, "--config", config, "--sequence-length", 500)
        run = export(tmp_path, *arguments).expect(0)
        module = lengthened(variant_case(record).module, 500)
        for length in (500, 499, 3):
            x = frames((1, length), 12, seed=length)
            expected = reference(module, x)["output"]
            for model in (
                LiteRtInterpreter(run.path("transformer", "fp32")),
                OnnxRuntime(run.path("transformer", "onnx")),
            ):
                assert relative_error(model.run(x, {"output": expected.shape})["output"], expected) < 1e-4

    def test_refuses_to_continue_a_learned_table(self, tmp_path):
        _, checkpoint = fixture("variants/transformer_learned_positions.pt")
        config = write_config(tmp_path, TRANSFORMER_CONFIG)
        for arguments in ([], ["--sequence-length", 49]):
            run = export(tmp_path, "--transformer", checkpoint, "--config", config, *arguments).expect(1)
            for word in ("pos_encoder.pe", "48", str(arguments[1] if arguments else 300)):
                assert word in run.stderr
            assert run.files == [RESULTS]

    def test_counts_the_class_token(self, tmp_path):
        """With pooling `cls` a table of 48 rows serves 47 frames."""
        state = torch.load(fixture("variants/transformer_cls.pt")[1])
        state["pos_encoder.pe"] = state["pos_encoder.pe"] + 1
        torch.save(state, tmp_path / "cls.pt")
        config = write_config(tmp_path, {"transformer": {"num_heads": 4, "pooling": "cls", "norm_eps": 1e-6}})
        arguments = ("--transformer", "cls.pt", "--config", config, "--sequence-length")
        export(tmp_path, *arguments, 47).expect(0)
        assert "pos_encoder.pe" in export(tmp_path, *arguments, 48).expect(1).stderr


class TestConfig:
    def test_values_win_over_the_checkpoint(self, tmp_path):
        record, checkpoint = fixture("hyper_parameters/config_wins_over_checkpoint.pt")
        told = write_config(tmp_path, {"transformer": record["config"]})
        for arguments, agrees in ((["--config", told], True), ([], False)):
            run = export(tmp_path, "--transformer", checkpoint, *arguments).expect(0)
            model = LiteRtInterpreter(run.path("transformer", "fp32"))
            x, expected = next(expected_outputs(record))
            error = relative_error(model.run(x, None)["output"], expected["output"])
            assert (error < 1e-4) == agrees

    def test_may_name_the_family(self, checkpoints):
        config = write_config(checkpoints, {"transformer": "SignTransformer", "gru": {"family": "MediaPipeGRU"}})
        export(checkpoints, "--config", config).expect(0)

    def test_another_family_is_refused(self, checkpoints):
        config = write_config(checkpoints, {"gru": "SignTransformer"})
        run = export(checkpoints, "--config", config).expect(1)
        assert "SignTransformer" in run.stderr
        assert "MediaPipeGRU" in run.stderr

    @pytest.mark.parametrize(
        "content",
        [
            {"gru": {"no_such_value": 3}},
            {"gru": "NoSuchFamily"},
            {"transformer": {"num_heads": "four"}},
            {"transformer": {"num_heads": 0}},
            {"transformer": {"pooling": "median"}},
            {"transformr": {"num_heads": 4}},
            [1, 2],
        ],
        ids=json.dumps,
    )
    def test_slips_are_errors(self, checkpoints, content):
        run = export(checkpoints, "--config", write_config(checkpoints, content))
        assert run.status in (1, 2)
        assert "config.json" in run.stderr
        assert not set(run.files) - {RESULTS}

    def test_a_file_that_is_no_json_is_named(self, checkpoints):
        (checkpoints / "bad.json").write_text("{num_heads: 4")
        run = export(checkpoints, "--config", "bad.json")
        assert run.status in (1, 2)
        assert "bad.json" in run.stderr

    def test_a_missing_file_is_named(self, checkpoints):
        run = export(checkpoints, "--config", "absent.json")
        assert run.status in (1, 2)
        assert "absent.json" in run.stderr


class TestOutput:
    def test_output_dir_is_made(self, checkpoints):
        run = export(checkpoints, "--output-dir", "a/b/c", output_dir="a/b/c").expect(0)
        assert run.files == ALL_FILES
        assert not (checkpoints / "exports").exists()

    def test_output_dir_that_cannot_be_made_is_named(self, checkpoints):
        (checkpoints / "occupied").write_text("a file")
        run = export(checkpoints, "--output-dir", "occupied/exports").expect(1)
        assert "occupied" in run.stderr
        assert (checkpoints / "occupied").read_text() == "a file"

    @pytest.mark.parametrize("kinds", ["fp32", "fp16", "fp32,fp16"])
    def test_quantize_chooses_the_tflite_files(self, checkpoints, kinds):
        run = export(checkpoints, "--quantize", kinds).expect(0)
        wanted = [file_name(stem, kind) for stem in STEMS.values() for kind in ("onnx", "tf", *kinds.split(","))]
        assert run.files == sorted([*wanted, RESULTS])
        assert set(run.model("gru")["files"]) >= {f"tflite_{kind}" for kind in kinds.split(",")}

    @pytest.mark.parametrize(
        ("targets", "kinds"),
        [
            ("onnx", ["onnx"]),
            ("savedmodel", ["tf"]),
            ("tflite", ["fp32", "fp16"]),
            ("savedmodel,onnx", ["onnx", "tf"]),
            ("tflite,savedmodel,onnx", KINDS),
        ],
    )
    def test_to_chooses_the_targets(self, checkpoints, targets, kinds):
        run = export(checkpoints, "--to", targets).expect(0)
        assert run.files == sorted([RESULTS, *(file_name(stem, kind) for stem in STEMS.values() for kind in kinds)])
        for key in STEMS:
            assert len(run.model(key)["files"]) == len(kinds)
            figures = run.model(key)["verification"]
            assert ("saved_model_cosine_similarity" in figures) == ("tf" in kinds)
            assert ("fp32_cosine_similarity" in figures) == ("fp32" in kinds)

    def test_heads_all_adds_the_category(self, checkpoints):
        for heads, outputs in (("gloss", ["output"]), ("all", ["output", "category"])):
            run = export(checkpoints, "--heads", heads).expect(0)
            for key in STEMS:
                assert list(TfliteFile(run.path(key, "fp32")).signature()[2]) == outputs
                assert [value.name for value in onnx.load(run.path(key, "onnx")).graph.output] == outputs

    def test_heads_all_without_a_category_head(self, tmp_path):
        _, checkpoint = fixture("variants/gru_ctc_without_category.pt")
        run = export(tmp_path, "--model", f"ctc={checkpoint}", "--heads", "all").expect(0)
        assert list(TfliteFile(run.path("ctc", "fp32")).signature()[2]) == ["output"]

    def test_static_freezes_batch_and_length(self, checkpoints):
        run = export(checkpoints, "--static", "--sequence-length", 30).expect(0)
        for key, name in (("transformer", "variants/transformer.pt"), ("gru", "variants/gru.pt")):
            x, expected = next(expected_outputs(fixture(name)[0]))
            assert x.shape == (1, 30, 12)
            for kind, bound in (("fp32", 1e-4), ("fp16", 2e-2)):
                file = TfliteFile(run.path(key, kind))
                tensor = file.signature()[1]["input"]
                assert list(tensor.shape) == [1, 30, 12]
                assert tensor.shapeSignature is None or -1 not in tensor.shapeSignature
                found = LiteRtInterpreter(run.path(key, kind)).run(x, None)["output"]
                assert relative_error(found, expected["output"]) < bound
            found = OnnxRuntime(run.path(key, "onnx")).run(x, None)["output"]
            assert relative_error(found, expected["output"]) < 1e-4


class TestVerification:
    def test_no_verify_leaves_figures_out(self, checkpoints):
        run = export(checkpoints, "--no-verify").expect(0)
        assert run.files == ALL_FILES
        assert run.model("gru")["verification"].get("fp32_cosine_similarity") is None
        assert run.model("gru")["verification"].get("saved_model_cosine_similarity") is None

    @pytest.mark.parametrize("form", ["npz_x", "npz_only", "npy", "npy_one"])
    def test_takes_real_inputs(self, checkpoints, form):
        x = frames((3, 40), 12, seed=1)
        if form == "npz_x":
            np.savez_compressed(checkpoints / "in.npz", X=x, y=np.arange(3), names=np.array(["a", "b", "c"]))
        elif form == "npz_only":
            np.savez(checkpoints / "in.npz", frames=x)
        else:
            np.save(checkpoints / "in.npy", x if form == "npy" else x[0])
        name = "in.npz" if form.startswith("npz") else "in.npy"
        run = export(checkpoints, "--verify-input", name).expect(0)
        shapes = [judged["input_shape"] for judged in run.model("gru")["verification"]["files"]["tflite_fp32"]["runs"]]
        assert any(shape[1] == 40 for shape in shapes), shapes

    @pytest.mark.parametrize("wrong", ["features", "rank", "text", "several", "absent"])
    def test_refuses_inputs_that_do_not_fit(self, checkpoints, wrong):
        contents = {
            "features": {"X": frames((1, 5), 13, seed=1)},
            "rank": {"X": np.zeros(4, np.float32)},
            "text": {"X": np.array(["a"])},
            "several": {"a": frames((1, 5), 12, seed=1), "b": frames((1, 5), 12, seed=2)},
        }
        if wrong in contents:
            np.savez(checkpoints / "in.npz", **contents[wrong])
        run = export(checkpoints, "--verify-input", "in.npz")
        assert run.status in (1, 2)
        assert "in.npz" in run.stderr
