"""Sequences of unlike lengths: ONNX's sequence_lens, PyTorch's packed sequences, padded batches of transformers."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from runtimes import run_lite, run_onnx
from test_convert import run

# Batch, steps, and the steps of each sequence.
BATCHES = [
    (3, 6, [4, 6, 1]),
    (1, 5, [2]),
    (1, 1, [1]),
    (4, 9, [9, 9, 9, 9]),
    (2, 7, [1, 3]),
    (5, 20, [20, 1, 7, 17, 16]),
]
BEHIND = 77.0  # what stands behind the end of a sequence


def convert(folder, file, *flags):
    done = run(folder, "convert", file, "-o", "out", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out"


def saved_model_outputs(folder, named):
    """What TensorFlow computes of the SavedModel."""
    import tensorflow as tf  # noqa: PLC0415 - takes seconds

    signature = tf.saved_model.load(str(folder / "net_tf")).signatures["serving_default"]
    return {name: value.numpy() for name, value in signature(**{k: tf.constant(v) for k, v in named.items()}).items()}


def assert_agree(folder, named, expected, tensorflow=False):
    """The files against outputs by name."""
    found = [run_onnx(folder / "net.onnx", **named), run_lite(folder / "net_fp32.tflite", **named)]
    if tensorflow:
        found.append(saved_model_outputs(folder, named))
    for outputs in found:
        for name, wanted in expected.items():
            assert outputs[name].shape == wanted.shape
            np.testing.assert_allclose(outputs[name], wanted, atol=2e-5, rtol=1e-5)


# ------------------------------------------------------------------------------------------------------------- ONNX

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
HIDDEN, FEATURES = 4, 3
WHOLE_GRU = {"linear_before_reset": 1}
# Operator, direction, further attributes, whether there are initial states.
NODES = {
    "lstm": ("LSTM", "forward", {}, False),
    "lstm_bidirectional": ("LSTM", "bidirectional", {}, True),
    "lstm_reverse": ("LSTM", "reverse", {}, False),
    "lstm_clipped": ("LSTM", "reverse", {"clip": 0.3}, True),
    "lstm_peepholes": ("LSTM", "bidirectional", {"peepholes": True}, False),
    "lstm_batch_first": ("LSTM", "bidirectional", {"layout": 1}, True),
    "gru": ("GRU", "forward", WHOLE_GRU, True),
    "gru_bidirectional": ("GRU", "bidirectional", WHOLE_GRU, False),
    "gru_reset_before": ("GRU", "bidirectional", {}, True),
    "gru_batch_first": ("GRU", "reverse", {"layout": 1} | WHOLE_GRU, False),
    "rnn": ("RNN", "bidirectional", {}, True),
    "rnn_relu": ("RNN", "reverse", {"activations": ["Relu"]}, False),
}


def onnx_model(op, direction, attributes, states, lengths=None):
    """One node over x [T, B, F]; `lengths` are an input unless they are given."""
    draw = np.random.default_rng(0)
    attributes = dict(attributes)
    directions, rows = 2 if direction == "bidirectional" else 1, GATES[op] * HIDDEN
    batch_first = attributes.get("layout", 0) == 1
    batch, steps = ("B", "T") if lengths is None else (len(lengths), 6)
    names = ["x", "w", "r", "b", "lengths"]
    shapes = {"w": (directions, rows, FEATURES), "r": (directions, rows, HIDDEN), "b": (directions, 2 * rows)}
    first = (batch, steps) if batch_first else (steps, batch)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [*first, FEATURES])]
    if lengths is None:
        inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, [batch]))
    if states:
        state = [batch, directions, HIDDEN] if batch_first else [directions, batch, HIDDEN]
        names += ["h0", "c0"][: 2 if op == "LSTM" else 1]
        inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, state) for name in names[5:]]
    if attributes.pop("peepholes", False):
        names += [""] * (7 - len(names)) + ["p"]
        shapes["p"] = (directions, 3 * HIDDEN)
    numbers = {name: (draw.standard_normal(shape) * 0.5).astype(np.float32) for name, shape in shapes.items()}
    weights = [numpy_helper.from_array(array, name) for name, array in numbers.items()]
    if lengths is not None:
        weights.append(numpy_helper.from_array(np.array(lengths, np.int32), "lengths"))
    outputs = ["y", "y_h", "y_c"][: 3 if op == "LSTM" else 2]
    node = helper.make_node(op, names, outputs, hidden_size=HIDDEN, direction=direction, **attributes)
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph([node], "net", inputs, given, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def onnx_inputs(model, batch, steps, lengths):
    draw = np.random.default_rng(1)
    x = draw.standard_normal((steps, batch, FEATURES)).astype(np.float32)
    for row, length in enumerate(lengths):
        x[length:, row] = BEHIND
    named = {"x": x, "lengths": np.array(lengths, np.int32)}
    for value in model.graph.input:
        if value.name in ("h0", "c0"):
            sizes = value.type.tensor_type.shape.dim
            directions = next(dim.dim_value for dim in sizes if not dim.dim_param)
            named[value.name] = draw.standard_normal((directions, batch, HIDDEN)).astype(np.float32)
    return {value.name: named[value.name] for value in model.graph.input}


@pytest.mark.parametrize("name", NODES)
def test_lengths_of_onnx_nodes_are_what_onnx_runtime_says(tmp_path, name):
    op, direction, attributes, states = NODES[name]
    model = onnx_model(op, direction, attributes, states)
    onnx.save(model, tmp_path / "net.onnx")
    folder = convert(tmp_path, "net.onnx", "--to", "onnx,tflite,savedmodel", "--quantize", "fp32")
    # ONNX Runtime has no layers with the batch first.
    batch_first = attributes.get("layout") == 1
    judge = onnx_model(op, direction, {k: v for k, v in attributes.items() if k != "layout"}, states)
    session = onnxruntime.InferenceSession(judge.SerializeToString())
    for batch, steps, lengths in [*BATCHES, (4, 3, [0, 3, 0, 1])]:
        named = onnx_inputs(judge, batch, steps, lengths)
        expected = dict(zip([output.name for output in session.get_outputs()], session.run(None, named), strict=True))
        if batch_first:
            named = {key: value if value.ndim == 1 else value.swapaxes(0, 1) for key, value in named.items()}
            expected = {k: v.transpose(2, 0, 1, 3) if k == "y" else v.swapaxes(0, 1) for k, v in expected.items()}
        assert_agree(folder, named, expected, tensorflow=batch == 3)


def test_lengths_that_an_onnx_file_holds(tmp_path):
    model = onnx_model("GRU", "bidirectional", WHOLE_GRU, False, [3, 6, 1])
    onnx.save(model, tmp_path / "net.onnx")
    folder = convert(tmp_path, "net.onnx", "--quantize", "fp32")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    named = onnx_inputs(model, 3, 6, [3, 6, 1])
    assert_agree(folder, named, dict(zip(["y", "y_h"], session.run(None, named), strict=True)))


def test_lengths_that_an_onnx_file_holds_beyond_its_steps_are_an_error(tmp_path):
    onnx.save(onnx_model("GRU", "forward", WHOLE_GRU, False, [3, 7, 1]), tmp_path / "net.onnx")
    done = run(tmp_path, "convert", "net.onnx", "-o", "out")
    assert done.returncode == 1
    assert "a sequence of 7 steps in a batch of 6" in done.stderr


def test_lengths_stay_those_of_the_onnx_operator(tmp_path):
    onnx.save(onnx_model("LSTM", "bidirectional", {}, False), tmp_path / "net.onnx")
    written = onnx.load(convert(tmp_path, "net.onnx", "--to", "onnx") / "net.onnx")
    layers = [node for node in written.graph.node if node.op_type == "LSTM"]
    assert len(layers) == 2
    assert all(node.input[4] == "lengths" for node in layers)


# ---------------------------------------------------------------------------------------------------------- PyTorch


class LastState(nn.Module):
    """What most classifiers take: the state at each sequence's own end."""

    def __init__(self, kind=nn.GRU, enforce_sorted=False, batch_first=True, layers=2, **settings):
        super().__init__()
        self.layers = kind(5, 4, layers, bidirectional=True, batch_first=batch_first, **settings)
        self.head = nn.Linear(2 * (settings.get("proj_size") or 4), 3)
        self.enforce_sorted, self.batch_first = enforce_sorted, batch_first

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, self.batch_first, self.enforce_sorted)
        _, h = self.layers(packed)
        h = h[0] if isinstance(h, tuple) else h
        return self.head(torch.cat([h[-2], h[-1]], 1))


class ScriptedLastState(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(5, 4, 2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, h = self.gru(packed)
        return self.head(torch.cat([h[-2], h[-1]], 1))


class AllSteps(nn.Module):
    """Padded again, to the length of the batch or to that of the longest sequence."""

    def __init__(self, kind=nn.GRU, whole=True, batch_first=True, padding=0.0):
        super().__init__()
        self.layers = kind(5, 4, bidirectional=True, batch_first=batch_first)
        self.head = nn.Linear(8, 3)
        self.whole, self.batch_first, self.padding = whole, batch_first, padding

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, self.batch_first, enforce_sorted=False)
        total = x.size(1 if self.batch_first else 0) if self.whole else None
        y, counts = pad_packed_sequence(self.layers(packed)[0], self.batch_first, self.padding, total)
        return self.head(y), counts


class ScriptedAllSteps(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(5, 4, bidirectional=True, batch_first=True)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, (h, c) = self.lstm(packed)
        y, counts = pad_packed_sequence(y, batch_first=True)
        return y, counts, h, c


class GivenState(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.start = nn.GRU(5, 4, batch_first=True), nn.Linear(5, 4)

    def forward(self, x, lengths):
        h0 = self.start(x[:, 0]).unsqueeze(0)
        y, h = self.gru(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False), h0)
        return pad_packed_sequence(y, batch_first=True, total_length=x.size(1))[0], h


class ChangedEntries(nn.Module):
    """Layers over the packed entries themselves."""

    def __init__(self):
        super().__init__()
        self.gru, self.entry = nn.GRU(4, 4, batch_first=True), nn.Linear(5, 4)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        changed = PackedSequence(self.entry(packed.data).tanh(), *packed[1:])
        return self.gru(changed)[1]


class Stacked(nn.Module):
    """Padded between two networks."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.GRU(5, 4, batch_first=True), nn.LSTM(4, 4, batch_first=True, bidirectional=True)

    def forward(self, x, lengths):
        y, _ = self.first(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        y, _ = pad_packed_sequence(y, batch_first=True)
        y, (h, _) = self.second(pack_padded_sequence(y.relu(), lengths, batch_first=True, enforce_sorted=False))
        return pad_packed_sequence(y, batch_first=True)[0].amax(1), h


class Trimmed(nn.Module):
    """Cut to the longest sequence before, as batches are that were padded for others."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(5, 4, batch_first=True)

    def forward(self, x, lengths):
        x = x[:, : lengths.max()]
        return self.gru(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[1]


class CutBeside(nn.Module):
    """Another tensor, cut to the steps of the longest sequence."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(5, 5, batch_first=True)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        return y + x[:, : y.size(1)]


PACKED = {
    "gru": (torch.jit.trace, LastState()),
    "lstm": (torch.jit.trace, LastState(nn.LSTM)),
    "projected": (torch.jit.trace, LastState(nn.LSTM, proj_size=3)),
    "rnn": (torch.jit.trace, LastState(nn.RNN)),
    "relu": (torch.jit.trace, LastState(nn.RNN, nonlinearity="relu")),
    "in_order": (torch.jit.trace, LastState(enforce_sorted=True)),
    "steps_first": (torch.jit.trace, LastState(batch_first=False)),
    "scripted": (torch.jit.script, ScriptedLastState()),
    "all_steps": (torch.jit.trace, AllSteps()),
    "as_many_as_the_longest": (torch.jit.trace, AllSteps(nn.LSTM, whole=False)),
    "all_steps_first": (torch.jit.trace, AllSteps(batch_first=False)),
    "padded_otherwise": (torch.jit.trace, AllSteps(padding=-1.5)),
    "all_steps_scripted": (torch.jit.script, ScriptedAllSteps()),
    "given_state": (torch.jit.trace, GivenState()),
    "changed_entries": (torch.jit.trace, ChangedEntries()),
    "stacked": (torch.jit.trace, Stacked()),
    "trimmed": (torch.jit.trace, Trimmed()),
    "cut_beside": (torch.jit.trace, CutBeside()),
    "cut_beside_scripted": (torch.jit.script, CutBeside()),
}


def padded(batch, steps, lengths, steps_first=False):
    torch.manual_seed(batch + steps)
    x = torch.randn(batch, steps, 5)
    for row, length in enumerate(lengths):
        x[row, length:] = BEHIND
    return (x.transpose(0, 1).contiguous() if steps_first else x), torch.tensor(lengths)


def outputs_of(tensors):
    tensors = tensors if isinstance(tensors, (tuple, list)) else [tensors]
    return {"output" if i == 0 else f"output_{i}": tensor.detach().numpy() for i, tensor in enumerate(tensors)}


def save(folder, way, module, given):
    program = way(module) if way is torch.jit.script else way(module, given, check_trace=False)
    program.save(folder / "net.pt")


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.filterwarnings("ignore")  # of the tracer
def test_packed_sequences_agree_with_pytorch(tmp_path, name):
    way, module = PACKED[name]
    steps_first = not getattr(module.eval(), "batch_first", True)
    save(tmp_path, way, module, padded(3, 6, [6, 4, 1], steps_first))
    folder = convert(tmp_path, "net.pt", "--input-shape", "x=T,B,5" if steps_first else "x=B,T,5",
                     "--input-shape", "lengths=B", "--input-dtype", "lengths=int64", "--quantize", "fp32",
                     "--to", "onnx,tflite,savedmodel")  # fmt: skip
    for batch, steps, lengths in BATCHES:
        given = padded(batch, steps, sorted(lengths, reverse=True) if name == "in_order" else lengths, steps_first)
        named = {"x": given[0].numpy(), "lengths": given[1].numpy()}
        assert_agree(folder, named, outputs_of(module(*given)), tensorflow=batch == 3)


class FixedLengths(nn.Module):
    """Padded to more steps than the longest has."""

    def __init__(self, in_order):
        super().__init__()
        self.lstm = nn.LSTM(5, 4, bidirectional=True, batch_first=True)
        self.in_order = in_order

    def forward(self, x):
        lengths = [6, 3, 1] if self.in_order else [3, 6, 1]
        y, (h, c) = self.lstm(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=self.in_order))
        return pad_packed_sequence(y, batch_first=True, total_length=7)[0], h, c


@pytest.mark.parametrize("in_order", [True, False], ids=["in_order", "in_any_order"])
@pytest.mark.filterwarnings("ignore")
def test_lengths_that_a_program_holds_are_the_fewest_steps(tmp_path, in_order):
    module = FixedLengths(in_order).eval()
    save(tmp_path, torch.jit.trace, module, (torch.randn(3, 6, 5),))
    folder = convert(tmp_path, "net.pt", "--input-shape", "x=3,T,5", "--to", "onnx,tflite", "--quantize", "fp32")
    for steps in (6, 7, 9):
        x = torch.randn(3, steps, 5)
        assert_agree(folder, {"x": x.numpy()}, outputs_of(module(x)))


@pytest.mark.filterwarnings("ignore")
def test_packed_sequences_as_pytorch_exports_them_to_onnx(tmp_path):
    module = AllSteps(whole=False).eval()
    axes = {"x": {0: "B", 1: "T"}, "lengths": {0: "B"}}
    torch.onnx.export(module, padded(3, 6, [6, 4, 1]), str(tmp_path / "net.onnx"), dynamo=False, opset_version=17,
                      input_names=["x", "lengths"], output_names=["output", "output_1"], dynamic_axes=axes)  # fmt: skip
    folder = convert(tmp_path, "net.onnx", "--to", "onnx,tflite", "--quantize", "fp32")
    for batch, steps, lengths in BATCHES:
        given = padded(batch, steps, lengths)
        named = {"x": given[0].numpy(), "lengths": given[1].numpy()}
        expected = run_onnx(tmp_path / "net.onnx", **named)
        assert_agree(folder, named, expected)
        # The exporter pads to the length of the batch.
        longest = max(lengths)
        wanted = module(*given)[0].detach().numpy()
        np.testing.assert_allclose(expected["output"][:, :longest], wanted, atol=2e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_order_of_lengths_costs_nothing_where_each_sequence_is_computed_alone(tmp_path):
    save(tmp_path, torch.jit.trace, LastState().eval(), padded(3, 6, [4, 6, 1]))
    folder = convert(tmp_path, "net.pt", "--input-shape", "x=B,T,5", "--input-shape", "lengths=B", "--to", "onnx",
                     "--input-dtype", "lengths=int64")  # fmt: skip
    kinds = {node.op_type for node in onnx.load(folder / "net.onnx").graph.node}
    assert "GRU" in kinds
    assert not kinds & {"TopK", "GatherND", "ScatterElements", "NonZero"}


@pytest.mark.parametrize("precision", ["int8", "int16x8", "dynamic"])
@pytest.mark.filterwarnings("ignore")
def test_quantised_files_keep_to_the_lengths(tmp_path, precision):
    module = LastState(layers=1).eval()
    save(tmp_path, torch.jit.trace, module, padded(3, 6, [4, 6, 1]))
    samples = [padded(3, 6, lengths) for lengths in ([4, 6, 1], [6, 6, 6], [1, 2, 3], [5, 1, 6])]
    for x, lengths in samples:
        x[x == BEHIND] = 0
    np.savez(tmp_path / "samples.npz", x=np.stack([x.numpy() for x, _ in samples]),
             lengths=np.stack([lengths.numpy() for _, lengths in samples]))  # fmt: skip
    folder = convert(tmp_path, "net.pt", "--input-shape", "x=3,6,5", "--input-shape", "lengths=3", "--to", "tflite",
                     "--input-dtype", "lengths=int64", "--quantize", precision, "--calibration", "samples.npz")  # fmt: skip
    for x, lengths in samples:
        found = run_lite(folder / f"net_{precision}.tflite", x=x.numpy(), lengths=lengths.numpy())["output"]
        assert np.abs(found - module(x, lengths).detach().numpy()).max() < 0.05


# ------------------------------------------------------------------------------------------------------ transformers


class Encoder(nn.Module):
    def __init__(self, **settings):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **settings)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(8))

    def forward(self, x, mask):
        return self.encoder(x, src_key_padding_mask=mask)


@pytest.mark.parametrize("settings", [{}, {"activation": "gelu"}], ids=["relu", "gelu"])
@pytest.mark.filterwarnings("ignore")
def test_padded_batches_of_encoders_agree_with_pytorch(tmp_path, settings):
    """The fast path of inference, which PyTorch runs over nested tensors: padded places are 0."""
    module = Encoder(**settings).eval()

    def given(batch, steps, lengths):
        torch.manual_seed(batch)
        return torch.randn(batch, steps, 8), torch.arange(steps)[None] >= torch.tensor(lengths)[:, None]

    with torch.no_grad():
        program = torch.jit.trace(module, given(3, 6, [4, 6, 1]), check_trace=False)
        assert "nested_tensor" in str(program.inlined_graph)
        program.save(tmp_path / "net.pt")
        folder = convert(tmp_path, "net.pt", "--input-shape", "x=B,T,8", "--input-shape", "mask=B,T",
                         "--input-dtype", "mask=bool", "--to", "onnx,tflite,savedmodel", "--quantize", "fp32")  # fmt: skip
        for batch, steps, lengths in BATCHES:
            if max(lengths) < steps:
                continue  # the trace pads to the length of its input, PyTorch then complains
            x, mask = given(batch, steps, lengths)
            x[mask] = float("nan")  # what isn't there may be anything
            assert_agree(folder, {"x": x.numpy(), "mask": mask.numpy()}, outputs_of(program(x, mask)), batch == 3)


# ---------------------------------------------------------------------------------------------------------- --dynamic


class LearnedStart(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.start = nn.GRU(5, 4, 2, batch_first=True), nn.Parameter(torch.randn(2, 1, 4))

    def forward(self, x):
        _, h = self.gru(x, self.start.expand(-1, x.size(0), -1).contiguous())
        return h.view(2, 1, x.size(0), 4)[-1, 0]


class Exported(nn.Module):
    def __init__(self, kind=nn.GRU, **settings):
        super().__init__()
        self.layers = kind(5, 4, batch_first=True, **settings)

    def forward(self, x):
        y, h = self.layers(x)
        h = h[0] if isinstance(h, tuple) else h
        return y, torch.cat([h[-2], h[-1]], 1)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN], ids=["gru", "lstm", "rnn"])
@pytest.mark.parametrize("settings", [{"num_layers": 2}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}],
                         ids=["layers", "directions", "both"])  # fmt: skip
@pytest.mark.parametrize("batch", [2, 4])
def test_batches_as_large_as_the_layers_are_set_free(tmp_path, kind, settings, batch):
    module = Exported(kind, **settings).eval()
    torch.export.save(torch.export.export(module, (torch.randn(batch, 6, 5),)), tmp_path / "net.pt2")
    folder = convert(tmp_path, "net.pt2", "--dynamic", "x:0", "--to", "onnx,tflite", "--quantize", "fp32")
    for size in (1, 2, 5):
        x = torch.randn(size, 6, 5)
        assert_agree(folder, {"x": x.numpy()}, outputs_of(module(x)))


@pytest.mark.parametrize("batch", [2, 3])
def test_batches_are_set_free_beside_states_that_are_learned(tmp_path, batch):
    module = LearnedStart().eval()
    torch.export.save(torch.export.export(module, (torch.randn(batch, 6, 5),)), tmp_path / "net.pt2")
    folder = convert(tmp_path, "net.pt2", "--dynamic", "x:0", "--to", "onnx,tflite", "--quantize", "fp32")
    for size in (1, 2, 5):
        x = torch.randn(size, 6, 5)
        assert_agree(folder, {"x": x.numpy()}, outputs_of(module(x)))


class CollectedStates(nn.Module):
    """The states of a layer, from the one on that it begins with."""

    def __init__(self, start):
        super().__init__()
        self.gru, self.start = nn.GRU(5, 4, 2, batch_first=True), start

    def forward(self, x):
        h0 = self.start(x.size(0))
        _, h = self.gru(x, h0)
        return torch.cat([h0, h], 0), torch.stack([h0, h])


STARTS = {
    "zeros": lambda batch: torch.zeros(2, batch, 4),
    "full": lambda batch: torch.full((2, batch, 4), 0.5),
    "expanded": lambda batch: torch.ones(1, 1, 4).expand(2, batch, 4),
    "computed": lambda batch: torch.ones(2, batch, 4).mul(0.3).tanh(),
}


@pytest.mark.parametrize("batch", [2, 3])
@pytest.mark.parametrize("start", STARTS)
def test_batches_are_set_free_in_states_that_are_used_elsewhere(tmp_path, start, batch):
    module = CollectedStates(STARTS[start]).eval()
    torch.export.save(torch.export.export(module, (torch.randn(batch, 6, 5),)), tmp_path / "net.pt2")
    folder = convert(tmp_path, "net.pt2", "--dynamic", "x:0", "--to", "onnx,tflite", "--quantize", "fp32")
    for size in (1, 2, 5):
        x = torch.randn(size, 6, 5)
        assert_agree(folder, {"x": x.numpy()}, outputs_of(module(x)))
