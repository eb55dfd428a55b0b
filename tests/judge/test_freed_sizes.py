"""Sizes that an export froze and --dynamic sets free: the files at other sizes against PyTorch."""

import pytest
import torch
import transformers
from runtimes import assert_files_agree
from test_convert import Function, run

LINEAR = torch.nn.Linear(6, 6)


def blocks(x):
    """Attention within blocks of 4 steps, padded to a multiple of 4."""
    batch, length, features = x.shape
    y = torch.nn.functional.pad(x, (0, 0, 0, (-length) % 4))
    y = y.view(batch, y.shape[1] // 4, 4, features)
    y = (y @ y.transpose(-1, -2)).softmax(-1) @ y
    return LINEAR(y.reshape(batch, -1, features)[:, :length])


def windows(x):
    """Attention within windows of 4 x 4, as Swin pads and cuts images."""
    batch, channels, height, width = x.shape
    y = torch.nn.functional.pad(x, (0, (-width) % 4, 0, (-height) % 4))
    rows, columns = y.shape[2] // 4, y.shape[3] // 4
    y = y.view(batch, channels, rows, 4, columns, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, channels)
    y = LINEAR((y @ y.transpose(1, 2)).softmax(-1) @ y).view(batch, rows, columns, 4, 4, channels)
    return y.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, rows * 4, columns * 4)[:, :, :height, :width]


def few_blocks(x):
    """Sums within 2 blocks of 8 steps, fewer than a block has."""
    batch, length, features = x.shape
    y = torch.nn.functional.pad(x, (0, 0, 0, (-length) % 8))
    y = y.view(batch, y.shape[1] // 8, 8, features).cumsum(2)
    return y.reshape(batch, -1, features)[:, :length]


def learned(x):
    """A literal that is one more than the freed size, and a number of its own."""
    return x + torch.ones(x.shape[1], 8).cumsum(1)


def halves(x):
    """The first half of the steps and the second."""
    half = x.shape[1] // 2
    return x[:, :half].sum(1) + x[:, half:].mean(1)


@pytest.mark.parametrize(
    ("function", "frozen", "axes", "others"),
    [
        (blocks, (2, 14, 6), (1,), [(2, 5, 6), (2, 16, 6), (2, 27, 6)]),
        (windows, (2, 6, 14, 19), (2, 3), [(2, 6, 8, 9), (2, 6, 15, 16), (2, 6, 21, 30)]),
        (windows, (2, 6, 19, 19), (2, 3), [(2, 6, 8, 9), (2, 6, 21, 30)]),
        (halves, (2, 14, 6), (1,), [(2, 10, 6), (2, 28, 6)]),
        (few_blocks, (2, 15, 6), (1,), [(2, 5, 6), (2, 17, 6), (2, 33, 6)]),
        (learned, (2, 7, 8), (1,), [(2, 4, 8), (2, 11, 8)]),
    ],
)
def test_what_follows_from_freed_sizes(tmp_path, function, frozen, axes, others):
    model = Function(function).eval()
    torch.export.save(torch.export.export(model, (torch.randn(frozen),)), tmp_path / "net.pt2")
    free = [argument for axis in axes for argument in ("--dynamic", f"x:{axis}")]
    done = run(tmp_path, "convert", "net.pt2", *free, "--to", "onnx,tflite")
    assert done.returncode == 0, done.stderr
    for shape in others:
        x = torch.randn(shape)
        assert_files_agree(tmp_path, {"x": x.numpy()}, model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.roll(x, x.shape[1] // 2, 1),
        lambda x: x.unfold(1, x.shape[1] // 2, 1).sum(1),
        lambda x: x[:, x.shape[1] // 2],
    ],
)
def test_refuses_what_may_be_half_of_a_size(tmp_path, function):
    torch.export.save(torch.export.export(Function(function).eval(), (torch.randn(2, 14),)), tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "--dynamic", "x:1")
    assert done.returncode == 1
    assert "along an axis of the freed size 'x_1' may be half of it (14), or a number of its own" in done.stderr


class Queries(torch.nn.Module):
    """Learned queries of 4 heads, each repeated for all entries of the batch, beside [heads * batch, steps, 2]."""

    def __init__(self):
        super().__init__()
        self.queries = torch.nn.Parameter(torch.randn(4, 5, 2))

    def forward(self, x):
        batch = x.shape[0]
        keys = x.view(batch, -1, 4, 2).permute(2, 0, 1, 3).reshape(4 * batch, -1, 2)
        queries = self.queries.repeat_interleave(batch, 0)
        y = torch.bmm(torch.bmm(queries, keys.transpose(1, 2)).softmax(-1), keys)
        return y.view(4, batch, 5, 2).permute(1, 2, 0, 3).reshape(batch, 5, 8)


def test_queries_of_heads_before_batches(tmp_path):
    model = Queries().eval()
    torch.export.save(torch.export.export(model, (torch.randn(1, 6, 8),)), tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "--dynamic", "x:0", "--to", "onnx,tflite")
    assert done.returncode == 0, done.stderr
    for batch in (1, 2, 3):
        x = torch.randn(batch, 6, 8)
        assert_files_agree(tmp_path, {"x": x.numpy()}, model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda x: x.view(2, 4, x.shape[1] // 4).softmax(-1).reshape(2, -1), "is split into [4, 4]"),
        (
            lambda x: torch.nn.functional.max_pool1d(x[:, None], x.shape[1] // 2).repeat_interleave(8, -1)[:, 0] + x,
            "a literal 8 of max_pool1d stays",
        ),
        (lambda x: x / (x.shape[1] - 1), "a literal 15 of div stays"),
        (lambda x: x * (x.shape[1] // 2), "a literal 8 of mul stays"),
        (lambda x: x.topk(x.shape[1] // 2, 1)[0], "a literal 8 of topk stays"),
    ],
)
def test_tells_of_numbers_that_may_come_of_sizes(tmp_path, function, sentence):
    torch.export.save(torch.export.export(Function(function).eval(), (torch.randn(2, 16),)), tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "--dynamic", "x:1")
    assert done.returncode == 0, done.stderr
    assert sentence in done.stderr


def test_names_the_mode_that_normalizes_without_a_batch(tmp_path):
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(3))
    program = torch.export.export(model, (torch.randn(4, 3),)).run_decompositions()
    torch.export.save(program, tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2")
    assert done.returncode == 1
    assert "call model.eval() before the export" in done.stderr


class Decoder(torch.nn.Module):
    """T5, whose masks have one column more than the decoder has steps."""

    def __init__(self):
        super().__init__()
        sizes = {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}
        self.model = transformers.T5Model(transformers.T5Config(**sizes, use_cache=False))

    def forward(self, x, y):
        return self.model(input_ids=x, decoder_input_ids=y).last_hidden_state


def test_lengths_of_decoders(tmp_path):
    model = Decoder().eval()

    def words(length):
        return torch.randint(3, 90, (2, length))

    torch.export.save(torch.export.export(model, (words(13), words(7)), strict=False), tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "--dynamic", "y:1", "--dynamic", "x:1", "--to", "onnx,tflite")
    assert done.returncode == 0, done.stderr
    for lengths in ((13, 4), (21, 19)):
        x, y = map(words, lengths)
        assert_files_agree(tmp_path, {"x": x.numpy(), "y": y.numpy()}, model(x, y), rtol=1e-3, atol=1e-4)
