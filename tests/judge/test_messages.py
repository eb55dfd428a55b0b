"""What `taper` says where something is wrong: names that don't exist, shapes that a file doesn't tell, wrong files."""

import json
import re
import subprocess

import pytest
import torch
from onnx import TensorProto, helper, save

from program import TAPER, TIME_LIMIT, plain_environment
from runtimes import relative_error, run_lite, run_onnx


def run(folder, *arguments, environment=None):
    """Runs `taper` in a folder."""
    command = [TAPER, *map(str, arguments)]
    env = plain_environment() | (environment or {})
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
    )


class Two(torch.nn.Module):
    """Two inputs."""

    def forward(self, image, ids):
        return image * 2 + ids


class UNet(torch.nn.Module):
    """Halves an image twice, and doubles it again."""

    def __init__(self):
        super().__init__()
        self.down = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.deep = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.up = torch.nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.up2 = torch.nn.ConvTranspose2d(8, 4, 2, stride=2)

    def forward(self, x):
        a = self.down(x).relu()
        b = self.deep(torch.max_pool2d(a, 2)).relu()
        c = self.deep(torch.max_pool2d(b, 2))
        y = torch.cat([self.up(c), b], 1)
        return torch.cat([self.up2(y), a], 1)


class OfDict(torch.nn.Module):
    """A dict argument, of which two entries are used."""

    def forward(self, d: dict[str, torch.Tensor]):
        return d["image"] + d["mask"]


class OfList(torch.nn.Module):
    """A list argument."""

    def forward(self, xs: list[torch.Tensor]):
        return torch.cat(xs, 1)


class OfBoth(torch.nn.Module):
    """A dict and a list."""

    def forward(self, d: dict[str, torch.Tensor], xs: list[torch.Tensor]):
        return d["image"] + xs[0] * xs[1]


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Networks with the inputs `image` and `ids`, in all forms of programs."""
    folder = tmp_path_factory.mktemp("programs")
    example = (torch.zeros(1, 4), torch.zeros(1, 4))
    torch.export.save(torch.export.export(Two(), example), folder / "net.pt2")
    torch.jit.script(Two()).save(folder / "net.pt")
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("image", "ids")]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph([helper.make_node("Add", ["image", "ids"], ["y"])], "net", inputs, [output])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "net.onnx")
    return folder


class TestNames:
    @pytest.mark.parametrize("file", ["net.pt2", "net.pt", "net.onnx"])
    @pytest.mark.parametrize(
        "flag,value,meant",
        [
            ("--input-shape", "imgae=1,4", "--input-shape image=SIZES"),
            ("--input-dtype", "imgae=int32", "--input-dtype image=DTYPE"),
            ("--dynamic", "imgae:0", "--dynamic image:AXIS"),
        ],
    )
    def test_that_do_not_exist_are_answered_with_the_nearest(self, programs, tmp_path, file, flag, value, meant):
        done = run(tmp_path, "convert", programs / file, "--no-verify", flag, value)
        assert done.returncode == 1
        assert "no input 'imgae'; its inputs are" in done.stderr
        assert f"next: did you mean {meant}?" in done.stderr

    def test_of_another_kind_are_answered_with_all(self, programs, tmp_path):
        done = run(tmp_path, "convert", programs / "net.pt2", "--dynamic", "completely:0")
        assert "its inputs are image, ids" in done.stderr
        assert "next: give --dynamic the name of one of them" in done.stderr

    @pytest.mark.parametrize("dtype,meant", [("flaot32", "float32"), ("long", "int64"), ("torch.half", "float16")])
    def test_of_dtypes(self, programs, tmp_path, dtype, meant):
        done = run(tmp_path, "convert", programs / "net.pt2", "--input-dtype", f"ids={dtype}")
        assert done.returncode == 1
        assert "expected one of float64, float32" in done.stderr
        assert f"did you mean --input-dtype ids={meant}?" in done.stderr

    def test_axes_that_do_not_exist(self, programs, tmp_path):
        done = run(tmp_path, "convert", programs / "net.pt2", "--dynamic", "ids:2")
        assert "axes are counted from 0: --dynamic ids:0 to ids:1" in done.stderr

    def test_shapes_that_cannot_be_read(self, programs, tmp_path):
        done = run(tmp_path, "convert", programs / "net.pt2", "--input-shape", "ids=1,,4")
        assert "in the shape '1,,4' of the input 'ids'" in done.stderr
        assert "B,3,4*H,4*W" in done.stderr

    def test_shapes_that_the_program_fixed(self, programs, tmp_path):
        done = run(tmp_path, "convert", programs / "net.pt2", "--input-shape", "ids=1,5")
        assert "--dynamic ids:1" in done.stderr
        done = run(tmp_path, "convert", programs / "net.pt2", "--input-shape", "ids=5")
        assert "--input-shape ids=1,4" in done.stderr


class TestTorchScript:
    def test_dynamic_without_shapes_says_what_to_use(self, programs, tmp_path):
        done = run(tmp_path, "convert", programs / "net.pt", "--dynamic", "image:0")
        assert done.returncode == 1
        assert "--input-shape image=1,3,224,224 --input-shape ids=" in done.stderr
        assert "in the place of --dynamic" in done.stderr

    def test_entries_of_dicts_are_named_by_the_keys_that_are_looked_up(self, tmp_path):
        torch.jit.script(OfDict()).save(tmp_path / "net.pt")
        done = run(tmp_path, "convert", "net.pt")
        assert "the inputs 'd_image', 'd_mask' have; the argument 'd' of forward is a dict" in done.stderr
        assert "KEY" not in done.stderr
        done = run(tmp_path, "convert", "net.pt", "--input-shape", "d_image=2,3", "--input-shape", "d_mask=2,3")
        assert done.returncode == 0, done.stderr

    def test_items_of_lists_are_named(self, tmp_path):
        torch.jit.script(OfList()).save(tmp_path / "net.pt")
        done = run(tmp_path, "convert", "net.pt")
        assert "the argument 'xs' of forward is a list, whose items are inputs: xs_0, xs_1, ..." in done.stderr

    @pytest.mark.parametrize("traced", [False, True])
    def test_multiples_that_a_network_takes_are_told_and_work(self, tmp_path, traced):
        torch.manual_seed(3)
        network = UNet().eval()
        made = torch.jit.trace(network, torch.zeros(1, 3, 16, 16)) if traced else torch.jit.script(network)
        made.save(tmp_path / "net.pt")
        flags = ["--dynamic", "x:2", "--dynamic", "x:3"] if traced else ["--input-shape", "x=B,3,H,W"]
        done = run(tmp_path, "convert", "net.pt", *flags)
        assert done.returncode == 1
        told = re.search(r"--input-shape (\S+)", done.stderr)
        assert told, done.stderr
        assert told[1] == ("x=1,3,4*x_2,4*x_3" if traced else "x=B,3,4*H,4*W")
        done = run(tmp_path, "convert", "net.pt", "--to", "onnx,tflite", "-o", "out", "--input-shape", told[1])
        assert done.returncode == 0, done.stderr
        x = torch.randn(1, 3, 20, 28)
        wanted = network(x).detach().numpy()
        for outputs in (
            run_lite(tmp_path / "out/net_fp32.tflite", x=x.numpy()),
            run_onnx(tmp_path / "out/net.onnx", x=x.numpy()),
        ):
            assert relative_error(next(iter(outputs.values())), wanted) < 1e-4

    @pytest.mark.parametrize("form", ["script", "module"])
    @pytest.mark.parametrize(
        "layer,sizes,told",
        [
            (torch.nn.GLU(2), "B,4,L", "B,4,2*L"),
            (torch.nn.PixelUnshuffle(2), "B,4,H,W", "B,4,2*H,2*W"),
            (torch.nn.PixelUnshuffle(3), "B,4,H,W", "B,4,3*H,3*W"),
            (torch.nn.GLU(0), "B,4,L", "2*B,4,L"),
        ],
        ids=str,
    )
    def test_multiples_of_what_is_cut_into_equal_parts_are_told_and_work(self, tmp_path, form, layer, sizes, told):
        network = torch.nn.Sequential(layer)
        if form == "script":
            torch.jit.script(network).save(tmp_path / "net.pt")
        else:
            torch.save(network, tmp_path / "net.pt")
        done = run(tmp_path, "convert", "net.pt", "--input-shape", f"input={sizes}", "--to", "onnx")
        assert done.returncode == 1
        assert f"divide without a remainder: say so with --input-shape input={told}\n" in done.stderr
        done = run(tmp_path, "convert", "net.pt", "--input-shape", f"input={told}", "--to", "onnx")
        assert done.returncode == 0, done.stderr

    def test_keys_of_dicts_and_items_of_lists_are_answered_with_the_names_of_inputs(self, tmp_path):
        torch.jit.script(OfBoth()).save(tmp_path / "net.pt")
        done = run(tmp_path, "convert", "net.pt", "--input-shape", "image=1,3")
        assert "did you mean --input-shape d_image=SIZES?" in done.stderr
        flags = ["--input-shape", "d_image=1,3"]
        done = run(tmp_path, "convert", "net.pt", *flags, "--input-shape", "0=1,3")
        assert "did you mean --input-shape xs_0=SIZES?" in done.stderr
        flags += ["--input-shape", "xs_0=1,3"]
        done = run(tmp_path, "convert", "net.pt", *flags)
        assert "index 1 of a list of 1" in done.stderr
        assert "the items of the list 'xs' are inputs xs_0, xs_1, ...: give each a shape, --input-shape xs_1=" in done.stderr
        done = run(tmp_path, "convert", "net.pt", *flags, "--input-shape", "xs_1=1,3", "--to", "onnx")
        assert done.returncode == 0, done.stderr

    def test_sizes_that_no_input_tells(self, programs, tmp_path):
        for size in ("2*B*B", "B*C", "B+C"):
            flags = ["--input-shape", f"image={size},4", "--input-shape", "ids=1,4"]
            done = run(tmp_path, "convert", programs / "net.pt", *flags)
            assert done.returncode == 1
            assert "of the input 'image' does not tell 'B'" in done.stderr
            assert "next: give a name of its own in its place" in done.stderr
        flags = ["--input-shape", "image=B*C,C", "--input-shape", "ids=1,C", "--to", "onnx"]
        done = run(tmp_path, "convert", programs / "net.pt", *flags)
        assert done.returncode == 0, done.stderr


class Block(torch.nn.Module):
    """Attention and a feed-forward network."""

    def __init__(self, width):
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(width, 4)
        self.norm = torch.nn.LayerNorm(width)
        self.mlp = torch.nn.Sequential(torch.nn.Linear(width, 4 * width), torch.nn.GELU())


class Unknown(torch.nn.Module):
    """A network of no known family."""

    def __init__(self):
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(50, 16)
        self.stem = torch.nn.Conv2d(3, 8, 7)
        self.layers = torch.nn.ModuleList([Block(16) for _ in range(12)])
        self.rnn = torch.nn.GRU(178, 256, 2, bidirectional=True)
        self.head = torch.nn.Linear(512, 8)


def wrap_plain(state):
    """The state dict itself."""
    return state


def wrap_training(state):
    """In the dict of a training run."""
    return {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": {"state": {}, "param_groups": []}}


def wrap_lightning(state):
    """As Lightning saves it."""
    return {"state_dict": {f"model.{key}": value for key, value in state.items()}, "hyper_parameters": {"lr": 0.1}}


class TestUnknownWeights:
    KINDS = (
        "Embedding 50 of 16",
        "Conv2d 3 -> 8, kernel 7x7",
        "0 ... 11 (12 alike)",
        "MultiheadAttention embed 16, heads not told",
        "LayerNorm",
        "GRU input 178, hidden 256, 2 layers, bidirectional",
        "Linear 512 -> 8",
    )

    @pytest.mark.parametrize("wrap", [wrap_plain, wrap_training, wrap_lightning])
    def test_are_shown_as_a_tree(self, tmp_path, wrap):
        torch.save(wrap(Unknown().state_dict()), tmp_path / "net.pt")
        done = run(tmp_path, "convert", "net.pt")
        assert done.returncode == 1
        shown = run(tmp_path, "inspect", "net.pt")
        assert shown.returncode == 0
        for text in (done.stderr, shown.stdout):
            for kind in self.KINDS:
                assert kind in text
            assert text.count("\n") < 60
            assert "\x1b" not in text
        assert '  torch.export.save(program, "model.pt2")\n' in done.stderr
        found = json.loads((tmp_path / "export_results.json").read_text(encoding="utf-8"))["net"]["found"]
        layers = next(part for part in found["parts"] if part["name"] == "layers")
        assert layers["parts"][0]["alike"] == 12
        trainable = sum(weight.numel() for weight in Unknown().parameters())
        assert found["parameters"] == trainable

    def test_have_a_little_colour_on_terminals(self, tmp_path):
        torch.save(Unknown().state_dict(), tmp_path / "net.pt")
        done = run(tmp_path, "convert", "net.pt", environment={"CLICOLOR_FORCE": "1"})
        assert "\x1b[2m" in done.stderr
        assert "\x1b" not in run(tmp_path, "convert", "net.pt", "--no-color", environment={"CLICOLOR_FORCE": "1"}).stderr

    def test_that_are_hostile_stay_short_and_plain(self, tmp_path):
        state = {f"x\x1b[31m\nerror: fake{i}.w": torch.zeros(i % 5 + 1) for i in range(5000)}
        state |= {"k" * 900 + ".weight": torch.zeros(3), "a." * 450 + "weight": torch.zeros(2)}
        torch.save(state, tmp_path / "net.pt")
        for command in ("convert", "inspect"):
            done = run(tmp_path, command, "net.pt")
            said = done.stdout + done.stderr
            assert "\x1b" not in said
            assert "\nerror: fake" not in said
            assert len(said) < 20_000
            assert said.count("\n") < 90
        every = run(tmp_path, "inspect", "-v", "net.pt")
        assert every.stdout.count("\n") > 10_000


class TestWrongFiles:
    @pytest.mark.parametrize(
        "name,content,told",
        [
            ("model.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), "tf2onnx"),
            ("model.tflite", bytes(4) + b"TFL3" + bytes(100), "needs no export"),
            ("model.gguf", b"GGUF" + bytes(100), "torch.export.save"),
            ("image.pt", b"\x89PNG" + bytes(100), "torch.save"),
            ("config.json", b'{"model_type": "bert"}', "hold no weights"),
            ("empty.onnx", b"", "interrupted"),
            ("cut.onnx", b"\x08\x08\x12\x07pytorch:" + bytes([200, 1, 7, 7]), "copy or download it again"),
            ("page.pt", b"<!DOCTYPE html>", "download the file itself"),
        ],
    )
    def test_get_a_next_step(self, tmp_path, name, content, told):
        (tmp_path / name).write_bytes(content)
        done = run(tmp_path, "convert", name)
        assert done.returncode == 1
        assert f"in file '{name}'" in done.stderr
        next_step = done.stderr.split("next: ")[1]
        assert told in next_step

    def test_folders_name_the_files_in_them(self, tmp_path):
        (tmp_path / "hub").mkdir()
        for name in ("config.json", "model.safetensors", "net.onnx"):
            (tmp_path / "hub" / name).write_bytes(b"x")
        done = run(tmp_path, "convert", "hub")
        assert "next: name a file in it: hub/model.safetensors, hub/net.onnx" in done.stderr

    def test_modules_in_training_dicts_name_their_place(self, tmp_path):
        class DetectionModel(torch.nn.Module):
            """A class of one's own."""

        DetectionModel.__qualname__ = "DetectionModel"
        globals()["DetectionModel"] = DetectionModel
        torch.save({"epoch": 1, "model": DetectionModel()}, tmp_path / "yolo.pt")
        done = run(tmp_path, "convert", "yolo.pt")
        assert "DetectionModel" in done.stderr
        assert "under 'model' of the file's dict" in done.stderr
        assert "torch.export.save(" in done.stderr
