"""Programs whose open sizes are tied to one another, or taken in multiples alone, as their guards say."""

import json
import zipfile

import pytest
import torch
import torch.nn.functional as F
from torch.export import Dim

from test_convert import run
from test_programs import Function, compare, converted, randoms

OPEN = {0: Dim.AUTO, 1: Dim.AUTO}
IMAGES = {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}


def weights(out, into, size):
    return torch.linspace(-1, 1, out * into * size * size).view(out, into, size, size).sin()


def conv(x, out, size, stride):
    return F.conv2d(x, weights(out, x.shape[1], size), stride=stride, padding=size // 2)


def unet(x):
    """Behind a stem of stride 4, up by transposed convolutions."""
    first = F.max_pool2d(conv(x, 4, 7, 2), 3, 2, 1)
    second = conv(first, 4, 3, 2).relu()
    third = conv(second, 4, 3, 2).relu()
    up = torch.cat([F.conv_transpose2d(third, weights(4, 4, 3), stride=2, padding=1, output_padding=1), second], 1)
    return F.conv_transpose2d(torch.cat([F.conv_transpose2d(up, weights(8, 4, 2), stride=2), first], 1),
                              weights(8, 2, 4), stride=4)


def pyramid(x):
    first = conv(x, 4, 3, 2)
    second = conv(first, 4, 3, 2)
    third = conv(second, 4, 3, 2)
    lower = second + F.interpolate(third, scale_factor=2.0)
    return first + F.interpolate(lower, scale_factor=2.0, mode="bilinear"), lower


def windows(x):
    """Attention in windows of 7 x 7."""
    x = conv(x, 4, 3, 2)
    b, c, h, w = x.shape
    y = x.view(b, c, h // 7, 7, w // 7, 7).permute(0, 2, 4, 3, 5, 1).reshape(-1, 49, c)
    y = F.scaled_dot_product_attention(y, y, y)
    return y.view(b, h // 7, w // 7, 7, 7, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)


def grid(x):
    """MaxViT's: entries that lie far apart."""
    x = conv(x, 4, 7, 4)
    b, c, h, w = x.shape
    y = x.view(b, c, 4, h // 4, 4, w // 4).permute(0, 3, 5, 2, 4, 1).reshape(-1, 16, c)
    return y.softmax(1).view(b, h // 4, w // 4, 4, 4, c).permute(0, 5, 3, 1, 4, 2).reshape(b, c, h, w)


def merged(x):
    x = conv(x, 4, 3, 2)
    return F.pixel_unshuffle(x, 2), torch.cat([x[:, :, ::2, ::2], x[:, :, 1::2, ::2], x[:, :, 1::2, 1::2]], 1)


def parts(x):
    a, b, c = x.tensor_split(3, 1)
    first, second = x.split(x.shape[1] // 2, 1)
    rolled = torch.roll(x, x.shape[1] // 2, 1) * torch.arange(0, x.shape[1] / 2, 0.5).unsqueeze(-1)
    return a.sum(1) + b.mean(1) - c.sum(1), first * second, rolled, x.view(x.shape[0], 2, x.shape[1] // 2, 3).softmax(1)


def chunks(x, mask):
    b, t, d = x.shape
    return x.view(b, t // 4, 4, d).mean(2) * mask.view(mask.shape[0], mask.shape[1] // 4, 4).mean(2).unsqueeze(-1)


# A function, the axes of its inputs that are open, and shapes: those of the export first.
CASES = {
    "a U-Net behind a stem": (unet, [IMAGES], ((2, 3, 32, 64),), ((1, 3, 64, 16),)),
    "a pyramid": (pyramid, [IMAGES], ((2, 3, 16, 24),), ((1, 3, 40, 8),)),
    "a pyramid of odd images": (pyramid, [IMAGES], ((2, 3, 15, 23),), ((1, 3, 39, 7),)),
    "windows behind a stem": (windows, [IMAGES], ((2, 3, 28, 42),), ((1, 3, 14, 56),)),
    "a grid behind a stem": (grid, [IMAGES], ((2, 3, 32, 48),), ((1, 3, 48, 16),)),
    "pixels merged behind a stem": (merged, [IMAGES], ((2, 3, 16, 24),), ((1, 3, 20, 8),)),
    "parts": (parts, [OPEN], ((2, 8, 3),), ((3, 10, 3),), ((1, 4, 3),)),
    "a mask in chunks": (chunks, [OPEN, OPEN], ((2, 16, 4), (2, 16)), ((3, 8, 4), (3, 8))),
    "two lengths that strides make equal": (
        lambda x, y: x[:, ::2] + y[:, ::2], [OPEN, OPEN], ((2, 16), (2, 16)), ((3, 9), (3, 9))),
    "a length of another's two thirds": (
        lambda x, y: torch.cat([x, x], 1) + torch.cat([y, y, y], 1), [OPEN, OPEN], ((2, 12), (2, 8)), ((3, 6), (3, 4))),
    "a length of two others": (
        lambda x, y, z: torch.cat([x, y], 1) + z, [OPEN] * 3, ((2, 5), (2, 3), (2, 8)), ((3, 4), (3, 6), (3, 10))),
    "a mask of patches": (
        lambda x, y: F.avg_pool2d(x, 4) * y.unsqueeze(1), [IMAGES, {0: Dim.AUTO, 1: Dim.AUTO, 2: Dim.AUTO}],
        ((2, 3, 16, 16), (2, 4, 4)), ((1, 3, 8, 14), (1, 2, 3))),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_pytorch(tmp_path, name):
    torch.manual_seed(0)
    function, axes, given, *others = CASES[name]
    model = Function(function)
    converted(tmp_path, model, randoms(given), [*axes, *[None] * (3 - len(axes))][: len(given)])
    for shapes in (given, *others):
        compare(tmp_path, model, randoms(shapes))


@pytest.mark.parametrize("name", ["a pyramid", "windows behind a stem", "a length of another's two thirds"])
def test_needs_no_guards_where_calls_tell(tmp_path, name):
    function, axes, given, *others = CASES[name]
    program = torch.export.export(Function(function), randoms(given), dynamic_shapes=tuple(axes))
    torch.export.save(program, tmp_path / "whole.pt2")
    with zipfile.ZipFile(tmp_path / "whole.pt2") as whole, zipfile.ZipFile(tmp_path / "net.pt2", "w") as net:
        for entry in whole.namelist():
            data = whole.read(entry)
            if entry.endswith("models/model.json"):
                program = json.loads(data)
                assert program.pop("guards_code"), "PyTorch 2.9 on"
                data = json.dumps(program)
            net.writestr(entry, data)
    done = run(tmp_path, "convert", "net.pt2", "--to", "onnx,tflite")
    assert done.returncode == 0, done.stdout + done.stderr
    for shapes in (given, *others):
        compare(tmp_path, Function(function), randoms(shapes))


def cut(x):
    first, second = x.split(x.shape[1] // 2, 1)
    return first * second, *x.split([x.shape[1] // 4, x.shape[1] - x.shape[1] // 4], 1)


def grouped_heads(x):
    """Attention of four heads, two of which share keys, with a table of distances."""
    b, t, _ = x.shape
    query = x.view(b, t, 4, 2).transpose(1, 2)
    keys = x[..., :4].view(b, t, 2, 2).transpose(1, 2)
    keys = keys[:, :, None].expand(b, 2, 2, t, 2).reshape(b, 4, t, 2)
    distance = (torch.arange(t)[None] - torch.arange(t)[:, None]).abs()[-t:].float()
    scores = query @ keys.mT - distance + torch.zeros(2, 2).sum()
    return (scores.softmax(-1) @ keys).transpose(1, 2).reshape(b, t, 8)


def decoded(x):
    """Two maps of a pyramid: one is resampled to a size that much else has."""
    small = F.max_pool2d(x, 2)
    return torch.cat([F.interpolate(small.mean(1, keepdim=True), size=x.shape[2:], mode="bilinear"), x], 1)


def tokens(x):
    """Patches as a sequence, and as rows and columns again."""
    y = conv(x, 4, 7, 4)
    b, c, h, w = y.shape
    z = y.flatten(2).transpose(1, 2)
    z = (z @ torch.linspace(-1, 1, c * c).view(c, c)).tanh().transpose(1, 2).reshape(b, c, h, w)
    return F.interpolate(z, scale_factor=2.0) + F.interpolate(y, scale_factor=2.0)


def distances(x):
    """XLNet's positions, and a bias of two heads without a batch."""
    b, t, _ = x.shape
    table = torch.arange(t, -t, -1.0)[:, None] * torch.linspace(0, 1, 4)
    bias = torch.zeros((1, 2, t, t)) + table[:t, 0]
    y = x.view(b, t, 2, 2).transpose(1, 2)
    return ((y @ y.mT + bias).softmax(-1) @ y).transpose(1, 2).reshape(b, t, 4) + table[-t:]


FREED = {
    "patches as a sequence": (tokens, (2, 3), ((2, 3, 32, 48), (2, 3, 48, 16))),
    "distances": (distances, (0, 1), ((2, 6, 4), (3, 9, 4), (1, 5, 4))),
    "as many samples as heads share keys": (grouped_heads, (0, 1), ((2, 6, 8), (3, 9, 8), (1, 5, 8))),
    "as many samples as a map has rows": (decoded, (0, 2, 3), ((4, 3, 4, 6), (2, 3, 8, 4))),
    "a pyramid": (pyramid, (2, 3), ((2, 3, 16, 24), (2, 3, 40, 8))),
    "merged pixels": (merged, (2, 3), ((2, 3, 16, 24), (2, 3, 8, 20))),
    "shares of a length": (cut, (1,), ((2, 8, 3), (2, 12, 3))),
}


@pytest.mark.parametrize("name", FREED)
def test_takes_sizes_that_are_set_free_in_multiples_that_fit(tmp_path, name):
    function, axes, shapes = FREED[name]
    model = Function(function)
    converted(tmp_path, model, randoms(shapes[:1]), None, *[word for axis in axes for word in ("--dynamic", f"x:{axis}")])
    for shape in shapes:
        compare(tmp_path, model, randoms([shape]))


def test_tells_which_sizes_were_chosen(tmp_path):
    images = torch.randn(2, 3, 16, 24)
    torch.export.save(torch.export.export(Function(pyramid), (images,), dynamic_shapes=(IMAGES,)),
                      tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "--to", "onnx", "--input-shape", "x=B,3,H,W")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'H' is 8*H_over_8: the program takes others, which these files are not made for" in done.stdout + done.stderr


def test_tells_of_sizes_that_the_export_bounded(tmp_path):
    model = Function(lambda x: x.unfold(1, x.shape[1] // 2, 1).mean(-1))
    torch.export.save(torch.export.export(model, (torch.randn(2, 8, 3),), dynamic_shapes=(OPEN,)),
                      tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "--to", "onnx", "--input-shape", "x=B,T,3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the size 'T' lies between 8 and 9" in done.stdout + done.stderr


def positions(x):
    """A table of 16 positions, and images of 4 by 4 patches taken as they are."""
    table = torch.linspace(-1, 1, 16 * 3).view(16, 3)
    if x.shape[1] < 3:
        return x.sum(1)
    return (x + table[: x.shape[1]]).mean(1) if x.shape[1] != 12 else x.mean(1)


def test_tells_of_sizes_that_the_program_does_not_take(tmp_path):
    torch.export.save(torch.export.export(Function(positions), (torch.randn(2, 8, 3),), dynamic_shapes=(OPEN,)),
                      tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "--input-shape", "x=B,T,3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the size 'T' lies between 3 and 16: the program takes no others" in done.stdout + done.stderr
    assert "does not hold for T = 12" in done.stdout + done.stderr
    assert "T from 3 to 16" in run(tmp_path, "inspect", "net.pt2", "--input-shape", "x=B,T,3").stdout
    for shape in ((2, 8, 3), (3, 3, 3), (1, 16, 3)):
        compare(tmp_path, Function(positions), (torch.randn(shape),))


def test_takes_diagonals_of_open_matrices(tmp_path):
    def diagonals(x, y):
        scores = x @ y.mT
        filled = scores.clone()
        filled.diagonal(0, 1, 2).add_(5)
        filled.diagonal(1, 1, 2).mul_(2)
        return scores.diagonal(0, 1, 2), scores.diagonal(-1, 2, 1), scores.sum(0).trace(), filled

    model = Function(diagonals)
    converted(tmp_path, model, randoms([(2, 5, 3), (2, 8, 3)]), [OPEN, OPEN, None][:2])
    for shapes in (((2, 5, 3), (2, 8, 3)), ((3, 9, 3), (3, 4, 3)), ((2, 2, 3), (2, 2, 3))):
        compare(tmp_path, model, randoms(shapes))


def test_takes_diagonals_that_may_be_empty(tmp_path):
    @torch.jit.script
    def diagonals(x):
        far = x.clone()
        far.diagonal(3, 1, 2).fill_(0.0)
        low = x.clone()
        low.diagonal(-4, 1, 2).add_(1.0)
        return far, low

    class Diagonals(torch.nn.Module):
        def forward(self, x):
            return diagonals(x)

    model = torch.jit.script(Diagonals())
    torch.jit.save(model, tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "--input-shape", "x=B,T,T")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "alone" not in done.stdout + done.stderr
    for size in (1, 2, 3, 4, 9):
        compare(tmp_path, model, (torch.randn(2, size, size),))


def filled_up(x):
    """Steps filled up to tens, and positions of which there are 250."""
    steps = x.shape[1]
    if steps % 10 > 0:
        x = F.pad(x, (0, 10 - steps % 10))
    return x * torch.arange(torch.sym_min(steps, 250)).sum()


@pytest.mark.parametrize("exported, other", [(200, 300), (203, 307)])
def test_trusts_no_size_that_was_only_tried(tmp_path, exported, other):
    net = Function(filled_up)
    torch.export.save(torch.export.export(net, (torch.randn(2, exported),), dynamic_shapes=(OPEN,)),
                      tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "--input-shape", "x=B,T")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lies between" not in done.stdout + done.stderr
    compare(tmp_path, net, (torch.randn(2, other),))


def test_trusts_no_size_that_was_tried_with_few_others(tmp_path):
    def near(x):
        rows, columns = x.shape
        if max(rows, columns) - min(rows, columns) <= 2:
            x = x + 1
        return x * torch.arange(torch.sym_min(columns, 300)).sum()

    net = Function(near)
    torch.export.save(torch.export.export(net, (torch.randn(20, 21),), dynamic_shapes=(OPEN,)),
                      tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "--input-shape", "x=B,T")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "does not hold for" in done.stdout + done.stderr
    compare(tmp_path, net, (torch.randn(400, 401),))
