"""SavedModels compute what PyTorch computes, in TensorFlow, in Keras and converted to TFLite, and can be trained on."""

import functools
import os
import pathlib
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from conftest import file_safe
from program import RESULTS, export, write_config
from references import fixture, shapes_of, source_arguments
from runtimes import LiteRtCompiledModel, LiteRtInterpreter, relative_error
from saved_models import CONTENT, VARIABLES, KerasLayer, TensorFlow, all_nodes, convert, graph_of, run_cli
from tflite_file import TfliteFile

BOUND = 1e-4
RUNTIMES = {"TensorFlow": functools.cache(TensorFlow), "Keras": functools.cache(KerasLayer)}
CONVERTED_RUNTIMES = {"Interpreter": LiteRtInterpreter, "CompiledModel": LiteRtCompiledModel}
STATIC = ("--static", "--to", "savedmodel", "--no-verify")

load = RUNTIMES["TensorFlow"]


class Conversions:
    """SavedModels that TensorFlow converted to TFLite, once per session."""

    def __init__(self, exports):
        self.exports = exports

    @functools.cache  # noqa: B019  (there is one, which lives as long as the session)
    def file(self, name, *flags):
        """The TFLite file made of the SavedModel of a case."""
        folder = self.exports.file(name, "tf", *flags)
        path = self.exports.folder / "converted" / f"{file_safe(name, *flags)}.tflite"
        convert(folder, path)
        return path


@pytest.fixture(scope="session")
def conversions(exports):
    return Conversions(exports)


@pytest.fixture
def folder(exports, case_name):
    return exports.file(case_name, "tf")


def check_numbers(model, case, shapes):
    """Compares with PyTorch at each of `shapes`, twice."""
    errors = {}
    for shape in shapes:
        x, expected = case.at(shape)
        for turn in ("first", "second"):
            found = model.run(x, shapes_of(expected))
            assert set(found) == set(expected), "outputs"
            for name, values in expected.items():
                errors[name, shape, turn] = relative_error(found[name], values)
    assert max(errors.values()) < BOUND, errors


def check_signature(signature, case, leading, shape):
    """The names, types and dimensions of inputs and outputs; the leading ones of the input are `leading`."""
    positional, named = signature.structured_input_signature
    assert positional == ()
    assert named == {"input": tf.TensorSpec([*leading, case.features], tf.float32, name="input")}
    _, expected = case.at(shape)
    kept = 2 if case.key.endswith("Ctc") else 1
    found = {name: (output.dtype, output.shape.as_list()) for name, output in signature.structured_outputs.items()}
    assert found == {name: (tf.float32, [*leading[:kept], values.shape[-1]]) for name, values in expected.items()}


def check_handles(folder):
    """TensorFlow's converter looks a variable's node up by the name that the variable is shared under."""
    handles = [node for node in graph_of(folder).graph_def.node if node.op == "VarHandleOp"]
    assert handles
    for node in handles:
        assert node.attr["shared_name"].s.decode() == node.name


class TestNumbers:
    @pytest.mark.parametrize("where", RUNTIMES)
    def test_agrees_with_pytorch(self, exports, case_name, folder, where):
        case = exports.case(case_name)
        check_numbers(RUNTIMES[where](folder), case, case.shapes)

    @pytest.mark.parametrize("where", RUNTIMES)
    def test_a_run_leaves_nothing_behind(self, exports, case_name, folder, where):
        model, case = RUNTIMES[where](folder), exports.case(case_name)
        long, short = (case.at(shape)[0] for shape in case.shapes[:2])
        before, _, after = (model.run(x, None)["output"] for x in (short, long, short))
        assert np.array_equal(before, after)

    def test_what_is_not_a_number_stays_in_its_row(self, exports, case_name, folder):
        case = exports.case(case_name)
        x, expected = case.at(case.shapes[1])
        spoiled = x.copy()
        spoiled[1, 3, 2] = np.nan
        found = load(folder).run(spoiled, None)
        for name, values in expected.items():
            assert np.isnan(found[name][1]).any()
            for row in (0, 2):
                assert relative_error(found[name][row], values[row]) < BOUND

    @pytest.mark.parametrize("where", CONVERTED_RUNTIMES)
    def test_converted_to_tflite_it_agrees(self, exports, conversions, case_name, where):
        case = exports.case(case_name)
        check_numbers(CONVERTED_RUNTIMES[where](conversions.file(case_name)), case, case.shapes)

    def test_compiled_by_xla_it_agrees(self, exports):
        for name in ("transformer", "gru", "gru_ctc_bidirectional"):
            case, signature = exports.case(name), load(exports.file(name, "tf")).signature
            compiled = tf.function(lambda x, run=signature: run(x), jit_compile=True)
            x, expected = case.at(case.shapes[1])
            found = compiled(tf.constant(x))
            assert all(relative_error(found[key].numpy(), expected[key]) < BOUND for key in expected), name


class TestStatic:
    """With --static."""

    @pytest.fixture
    def folder(self, exports, case_name):
        return exports.file(case_name, "tf", *STATIC)

    def test_agrees_with_pytorch(self, exports, case_name, folder):
        case = exports.case(case_name)
        check_signature(load(folder).signature, case, list(case.shapes[0]), case.shapes[0])
        check_numbers(load(folder), case, case.shapes[:1])

    def test_converted_to_tflite_it_agrees(self, exports, conversions, case_name):
        case, path = exports.case(case_name), conversions.file(case_name, *STATIC)
        check_numbers(LiteRtInterpreter(path), case, case.shapes[:1])
        tensor = TfliteFile(path).signature()[1]["input"]
        assert list(tensor.shape) == [*case.shapes[0], case.features]
        assert tensor.shapeSignature is None or -1 not in tensor.shapeSignature

    def test_variables_have_the_names_of_their_nodes(self, folder):
        check_handles(folder)


class TestFolder:
    def test_holds_what_a_saved_model_holds(self, folder):
        assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == CONTENT

    def test_signature(self, exports, case_name, folder):
        case = exports.case(case_name)
        assert list(load(folder).module.signatures) == ["serving_default"]
        check_signature(load(folder).signature, case, [None, None], case.shapes[0])

    def test_one_graph_for_serving(self, folder):
        graph = graph_of(folder)
        assert list(graph.meta_info_def.tags) == ["serve"]
        assert list(graph.signature_def) == ["serving_default"]
        assert "taper" in graph.meta_info_def.meta_graph_version

    def test_variables_have_the_names_of_their_nodes(self, folder):
        check_handles(folder)

    def test_weights_are_no_constants(self, folder):
        """What the graph itself holds are indices, sizes and the like."""
        constants = [node for node in all_nodes(graph_of(folder)) if node.op == "Const"]
        assert sum(len(node.attr["value"].tensor.tensor_content) for node in constants) < 4096

    def test_recurrence_is_a_loop(self, exports, case_name, folder):
        module = exports.case(case_name).module
        loops = [node.op for node in all_nodes(graph_of(folder)) if "While" in node.op]
        if "GRU" not in type(module).__name__:
            assert not loops
        else:
            assert set(loops) == {"While"}
            assert len(loops) <= (4 if module.bidirectional else 2)

    def test_saved_model_cli_shows_it(self, exports, case_name, folder, monkeypatch, capsys):
        case = exports.case(case_name)
        assert run_cli(monkeypatch, "show", "--dir", folder, "--all") == 0
        shown = capsys.readouterr().out
        assert "MetaGraphDef with tag-set: 'serve'" in shown
        assert shown.count("signature_def['") == 1
        assert "signature_def['serving_default']" in shown
        _, expected = case.at(case.shapes[0])
        leading = "-1, -1" if case.key.endswith("Ctc") else "-1"
        for place, name, shape in [
            ("inputs", "input", f"(-1, -1, {case.features})"),
            *(("outputs", name, f"({leading}, {values.shape[-1]})") for name, values in expected.items()),
        ]:
            found = re.search(rf"{place}\['{name}'\] tensor_info:\s+dtype: (\w+)\s+shape: (.*)\n", shown)
            assert found, f"{name} is not in: {shown}"
            assert found.groups() == ("DT_FLOAT", shape)

    def test_saved_model_cli_finds_no_dangerous_operators(self, folder, monkeypatch, capsys):
        assert run_cli(monkeypatch, "scan", "--dir", folder) == 0
        assert "does not contain the default denylisted ops" in capsys.readouterr().out

    def test_saved_model_cli_runs_it(self, exports, tmp_path, monkeypatch):
        case = exports.case("gru")
        x, expected = case.at((3, 77))
        np.save(tmp_path / "x.npy", x)
        place = ("--dir", exports.file("gru", "tf"), "--tag_set", "serve", "--signature_def", "serving_default")
        values = ("--inputs", f"input={tmp_path / 'x.npy'}", "--outdir", tmp_path)
        assert run_cli(monkeypatch, "run", *place, *values) == 0
        for name in ("output", "category"):
            assert relative_error(np.load(tmp_path / f"{name}.npy"), expected[name]) < BOUND


class TestConversion:
    """What TensorFlow's converter makes of it."""

    def test_no_operator_is_missing_in_litert(self, conversions, case_name):
        operators = set(TfliteFile(conversions.file(case_name)).all_builtins())
        assert not operators & {"CUSTOM", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE"}

    def test_batch_and_length_stay_dynamic(self, exports, conversions, case_name):
        key, inputs, outputs = TfliteFile(conversions.file(case_name)).signature()
        assert key == "serving_default"
        assert list(inputs) == ["input"]
        assert list(inputs["input"].shapeSignature) == [-1, -1, exports.case(case_name).features]
        case = exports.case(case_name)
        assert set(outputs) == set(case.at(case.shapes[0])[1])

    def test_weights_stand_once(self, conversions, case_name, folder):
        stored = sum(path.stat().st_size for path in folder.rglob("*.data-*"))
        assert conversions.file(case_name).stat().st_size < 1.05 * stored + 50_000

    @pytest.mark.parametrize("name", ["default SignTransformer", "default MediaPipeGRU"])
    def test_float16_weights_are_close(self, exports, tmp_path, name):
        case = exports.case(name)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(exports.file(name, "tf")))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        (tmp_path / "half.tflite").write_bytes(converter.convert())
        x, expected = case.at(case.shapes[1])
        found = LiteRtInterpreter(tmp_path / "half.tflite").run(x, None)["output"]
        assert relative_error(found, expected["output"]) < 2e-2


def variable_name(parameter):
    """The name of the variable that holds a parameter of PyTorch."""
    return parameter.replace(".", "/")


def kept_parameters(case):
    """The parameters that are variables of their own: used by the outputs, and no biases of GRUs, which are joined."""
    unused = () if case.heads == "all" else ("category_head",)
    return {
        name: parameter
        for name, parameter in case.module.named_parameters()
        if not name.startswith(("cls_token", *unused)) and not re.search("gru.*bias", name)
    }


class TestVariables:
    def test_hold_the_parameters_by_name(self, exports, case_name, folder):
        variables, parameters = load(folder).variables, kept_parameters(exports.case(case_name))
        assert parameters
        for name, parameter in parameters.items():
            assert np.array_equal(variables[variable_name(name)].numpy(), parameter.detach().numpy()), name

    def test_are_as_many_numbers_as_the_parameters(self, exports, case_name, folder):
        """No weight stands twice. GRUs' biases are two of three gates less, the table of positions is more."""
        module = exports.case(case_name).module
        numbers = sum(variable.shape.num_elements() for variable in load(folder).variables.values())
        table = module.pos_encoder.pe.numel() if hasattr(module, "pos_encoder") else 0
        assert numbers <= sum(parameter.numel() for parameter in module.parameters()) + table

    def test_bundle_is_a_checkpoint_of_tensorflow(self, folder):
        """Reading checks the checksum of each."""
        variables, prefix = load(folder).variables, str(folder / VARIABLES)
        listed = dict(tf.train.list_variables(prefix))
        assert listed == {name: variable.shape.as_list() for name, variable in variables.items()}
        reader = tf.train.load_checkpoint(prefix)
        for name, variable in variables.items():
            assert reader.get_variable_to_dtype_map()[name] == tf.float32
            assert np.array_equal(reader.get_tensor(name), variable.numpy()), name

    def test_a_flipped_bit_is_noticed(self, exports, tmp_path):
        shutil.copytree(exports.file("gru", "tf"), tmp_path / "flipped")
        data = tmp_path / "flipped" / CONTENT[1]
        damaged = bytearray(data.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        data.write_bytes(damaged)
        with pytest.raises(tf.errors.DataLossError, match="[Cc]hecksum"):
            TensorFlow(tmp_path / "flipped")


class TestTraining:
    @pytest.mark.parametrize(
        "name",
        ["transformer", "transformer_max", "transformer_ctc", "gru", "gru_bidirectional", "gru_ctc_bidirectional"],
    )
    def test_gradients_are_those_of_pytorch(self, exports, name):
        case = exports.case(name)
        x, _ = case.at(case.shapes[1])
        found = load(exports.file(name, "tf")).gradients(x)
        parameters = {key: value for key, value in kept_parameters(case).items() if "category_head" not in key}
        output, _ = case.module(torch.from_numpy(x))
        expected = torch.autograd.grad((output**2).sum(), list(parameters.values()))
        for key, values in zip(parameters, expected, strict=True):
            gradient = found.pop(variable_name(key))
            assert gradient is not None, key
            bound = 1e-3 * float(values.abs().max()) + 1e-4 * max(float(g.abs().max()) for g in expected)
            assert np.abs(np.asarray(gradient) - values.numpy()).max() < bound, key
        rest = {key: gradient for key, gradient in found.items() if not key.startswith("category_head")}
        assert all(gradient is not None for gradient in rest.values()), rest

    @pytest.mark.parametrize("name", ["transformer", "gru"])
    def test_a_step_in_keras_is_a_step_in_pytorch(self, exports, name):
        case = exports.case(name)
        x, expected = case.at(case.shapes[1])
        wanted, rate = expected["output"] + 0.5, 1e-2
        given = keras.Input((None, case.features))
        layer = keras.layers.TFSMLayer(str(exports.file(name, "tf")), call_endpoint="serving_default")
        model = keras.Model(given, layer(given)["output"])
        assert model.output_shape == (None, expected["output"].shape[-1])
        assert len(model.trainable_weights) == len(load(exports.file(name, "tf")).variables)
        model.compile(keras.optimizers.SGD(rate), "mse")  # Keras can't name what others keep for such a layer
        model.fit(x, wanted, batch_size=len(x), verbose=0)

        trained = {weight.name.removesuffix(":0"): weight.numpy() for weight in model.trainable_weights}
        parameters = {key: value for key, value in kept_parameters(case).items() if "category_head" not in key}
        output, _ = case.module(torch.from_numpy(x))
        loss = torch.nn.functional.mse_loss(output, torch.from_numpy(wanted))
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        assert max(rate * float(gradient.abs().max()) for gradient in gradients) > 1e-3, "a step that shows"
        for (key, value), gradient in zip(parameters.items(), gradients, strict=True):
            found = trained[variable_name(key).replace("/", "_")]  # as Keras writes it
            stepped = (value - rate * gradient).detach().numpy()
            np.testing.assert_allclose(found, stepped, rtol=1e-4, atol=1e-5, err_msg=key)

    @pytest.mark.parametrize("name", ["transformer", "gru"])
    def test_changed_weights_are_saved_and_converted(self, exports, tmp_path, name):
        case = exports.case(name)
        x, expected = case.at(case.shapes[1])
        change = np.arange(expected["output"].shape[-1], dtype=np.float32)
        wanted = expected["output"] + change
        model = TensorFlow(exports.file(name, "tf"))
        last_bias = [variable for key, variable in model.variables.items() if re.match("gloss_head/.*bias", key)][-1]
        last_bias.assign_add(change)
        tf.saved_model.save(model.module, str(tmp_path / "tuned"), signatures={"serving_default": model.signature})
        convert(tmp_path / "tuned", tmp_path / "tuned.tflite")
        for tuned in (model, TensorFlow(tmp_path / "tuned"), LiteRtInterpreter(tmp_path / "tuned.tflite")):
            assert relative_error(tuned.run(x, None)["output"], wanted) < BOUND


def installed_for_all_users():
    """Whether the program finds a TensorFlow that no variable names."""
    libraries = ("lib/libtensorflow.so.2", "lib/python3*/*-packages/tensorflow/libtensorflow_cc.so.2")
    return any(list(pathlib.Path(prefix).glob(library)) for prefix in ("/usr", "/usr/local") for library in libraries)


def gru(folder, *arguments, name="variants/gru.pt", **settings):
    """Exports the SavedModel of a GRU alone."""
    _, checkpoint = fixture(name)
    return export(folder, "--gru", checkpoint, "--to", "savedmodel", *arguments, **settings)


class TestVerification:
    """The program verifies in the TensorFlow that it finds."""

    LIBRARY = pathlib.Path(tf.__file__).parent

    @pytest.mark.parametrize("flags", [(), ("--static",)], ids=["dynamic", "static"])
    @pytest.mark.parametrize(
        "name",
        ["transformer", "transformer_cls", "transformer_ctc", "gru", "gru_ctc_bidirectional", "default MediaPipeGRU"],
    )
    def test_in_tensorflow(self, exports, tmp_path, name, flags):
        case = exports.case(name)
        arguments = [*source_arguments(case.key, case.checkpoint), "--heads", case.heads, *flags]
        if case.config:
            arguments += ["--config", write_config(tmp_path, {case.key: case.config})]
        run = export(tmp_path, *arguments, environment={"TAPER_TENSORFLOW": str(self.LIBRARY)}).expect(0)
        figures = run.model(case.key)["verification"]
        judged = figures["files"]["tensorflow"]
        assert (judged["runtime"], judged["runtime_version"]) == ("TensorFlow", tf.__version__)
        assert judged["passed"]
        assert 0 < judged["relative_error"] < BOUND
        assert figures["saved_model_cosine_similarity"] > 0.999999
        assert len(judged["runs"]) == (1 if flags else 2)
        assert figures["files"]["tflite_fp32"]["runtime"] == "LiteRT", "both runtimes in one process"
        assert not [warning for warning in run.model(case.key)["warnings"] if "TensorFlow" in warning]
        assert f"TensorFlow {tf.__version__}" in run.stdout
        assert not re.search("oneDNN|port.cc|cpu_feature_guard|INFO|SavedModel with tags", run.said), run.said

    def test_the_library_may_be_named_itself(self, tmp_path):
        library = self.LIBRARY / "libtensorflow_cc.so.2"
        run = gru(tmp_path, environment={"TAPER_TENSORFLOW": str(library)}).expect(0)
        assert run.model("gru")["verification"]["files"]["tensorflow"]["runtime"] == "TensorFlow"

    def test_a_virtual_environment_is_looked_into(self, tmp_path):
        packages = tmp_path / "venv/lib/python3.11/site-packages"
        packages.mkdir(parents=True)
        (packages / "tensorflow").symlink_to(self.LIBRARY)
        run = gru(tmp_path, environment={"VIRTUAL_ENV": str(tmp_path / "venv")}).expect(0)
        assert run.model("gru")["verification"]["files"]["tensorflow"]["runtime"] == "TensorFlow"

    @pytest.mark.parametrize("environment", [{}, {"TAPER_TENSORFLOW": ""}], ids=["unset", "empty"])
    def test_without_it_the_files_are_read_back(self, tmp_path, environment):
        if installed_for_all_users():
            pytest.skip("TensorFlow is installed for all users")
        run = gru(tmp_path, environment=environment).expect(0)
        self.check_read_back(run)
        assert run.stderr == ""
        assert run.model("gru")["warnings"] == []

    @pytest.mark.parametrize("wrong", ["absent", "no_library", "no_functions"])
    def test_one_that_does_not_load_is_warned_of(self, tmp_path, wrong):
        path = tmp_path / "libtensorflow_cc.so.2"
        if wrong == "no_library":
            path.write_text("not a library")
        if wrong == "no_functions":
            (library,) = pathlib.Path(np.__file__).parent.glob("_core/_simd*.so")
            path.symlink_to(library)
        run = gru(tmp_path, environment={"TAPER_TENSORFLOW": str(path)}).expect(0)
        self.check_read_back(run)
        assert str(path) in run.stderr
        assert any(str(path) in warning for warning in run.model("gru")["warnings"])

    @staticmethod
    def check_read_back(run):
        judged = run.model("gru")["verification"]["files"]["tensorflow"]
        assert judged["runtime"] == "taper reference evaluation"
        assert judged["passed"]
        assert judged["relative_error"] < BOUND


class TestPlace:
    """What stands where the SavedModel goes."""

    NAME = "mediapipe_gru_tf"

    @pytest.fixture
    def place(self, tmp_path):
        (tmp_path / "exports").mkdir()
        return tmp_path / "exports" / self.NAME

    @pytest.mark.parametrize("what", ["folder", "file", "link", "dangling link"])
    def test_what_is_foreign_stays(self, tmp_path, place, what):
        if what == "folder":
            place.mkdir()
            (place / "notes.txt").write_text("mine")
        elif what == "file":
            place.write_text("mine")
        else:
            place.symlink_to(tmp_path / "elsewhere")
        if what == "link":
            shutil.copytree(gru(tmp_path / "other").expect(0).path("gru", "tf"), tmp_path / "elsewhere")
        before = {path: os.lstat(path) for path in [place, *tmp_path.glob("elsewhere/**/*"), *place.glob("*")]}
        _, transformer = fixture("modules/transformer.pt")
        _, checkpoint = fixture("variants/gru.pt")
        run = export(tmp_path, "--gru", checkpoint, "--transformer", transformer).expect(1)
        assert self.NAME in run.stderr
        assert self.NAME in run.model("gru")["error"]
        assert "unexpected" not in run.model("gru")["error"]
        assert "error" not in run.model("transformer"), "the other model is exported all the same"
        after = {path: os.lstat(path) for path in [place, *tmp_path.glob("elsewhere/**/*"), *place.glob("*")]}
        assert [*after] == [*before]
        assert all(after[path].st_ino == status.st_ino for path, status in before.items())
        assert all(after[path].st_mtime_ns == status.st_mtime_ns for path, status in before.items())
        assert {name for name in run.files if "transformer" not in name} == {RESULTS, self.NAME}

    def test_an_empty_folder_is_used(self, tmp_path, place):
        place.mkdir()
        run = gru(tmp_path).expect(0)
        assert run.files == [RESULTS, self.NAME]
        assert sorted(run.content) == [f"{self.NAME}/{name}" for name in CONTENT]

    def test_an_older_saved_model_is_replaced(self, tmp_path, exports):
        older = gru(tmp_path, name="variants/gru_equal_hidden.pt").expect(0)
        old_output = TensorFlow(older.path("gru", "tf")).run(np.ones((2, 5, 12), np.float32), None)["output"]
        (older.path("gru", "tf") / "assets").mkdir()
        (older.path("gru", "tf") / "assets/labels.txt").write_text("of the older one")
        run = gru(tmp_path, "--heads", "all").expect(0)
        assert run.files == [RESULTS, self.NAME]
        assert sorted(run.content) == [f"{self.NAME}/{name}" for name in CONTENT]
        model = TensorFlow(run.path("gru", "tf"))
        check_numbers(model, exports.case("gru"), [(3, 77)])
        assert not np.allclose(model.run(np.ones((2, 5, 12), np.float32), None)["output"], old_output)

    def test_what_a_killed_run_left_is_swept_away(self, tmp_path, place):
        left = place.with_name(".taper-partial-aBcDeF") / self.NAME
        left.mkdir(parents=True)
        (left / "saved_model.pb").write_text("half of it")
        assert gru(tmp_path).expect(0).files == [RESULTS, self.NAME]

    @pytest.mark.parametrize("limit", [100_000, 1_000_000])
    def test_a_full_disk_leaves_the_older_one(self, exports, tmp_path, limit):
        case = exports.case("default MediaPipeGRU")
        arguments = ("--gru", case.checkpoint, "--to", "savedmodel")
        before = export(tmp_path, *arguments).expect(0)
        content = before.content
        _, other = fixture("variants/gru_178_features.pt")
        assert len(content[f"{self.NAME}/{CONTENT[1]}"]) > limit
        run = export(tmp_path, *arguments, largest_file=limit).expect(1)
        assert "File too large" in run.stderr, "the system's reason"
        assert pathlib.Path(CONTENT[1]).name in run.stderr
        assert run.files == [RESULTS, self.NAME]
        assert run.content == content
        check_numbers(TensorFlow(run.path("gru", "tf")), case, [(3, 77)])

    def test_a_full_disk_leaves_nothing_of_a_first_one(self, exports, tmp_path):
        arguments = ("--gru", exports.case("default MediaPipeGRU").checkpoint)
        assert export(tmp_path, *arguments, largest_file=1_000_000).expect(1).files == [RESULTS]

    @pytest.mark.parametrize("name", ["a b", "ü", "x.y", "a:b", "it's", "100%", "_x", "input", "save", "x_tf"])
    def test_odd_names_of_models(self, tmp_path, exports, name):
        _, checkpoint = fixture("variants/gru.pt")
        arguments = ("--model", f"{name}={checkpoint}", "--to", "savedmodel", "--heads", "all", "--no-verify")
        run = export(tmp_path, *arguments).expect(0)
        assert run.files == sorted([RESULTS, f"{name}_tf"])
        check_numbers(TensorFlow(run.path(name, "tf")), exports.case("gru"), [(3, 77)])
