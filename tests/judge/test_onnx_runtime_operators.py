"""ONNX files as ONNX Runtime's optimizers and quantizers leave them: what taper makes of them gives what it gives.

Each case is a model of one of the operators in the domain com.microsoft, and inputs in several sizes.
"""

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper

from test_convert import run

FLOAT, INT32, INT64, UINT8, BOOL = (
    TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8, TensorProto.BOOL)
TYPES = {"float32": FLOAT, "int32": INT32, "int64": INT64, "uint8": UINT8, "bool": BOOL}
RANDOM = np.random.default_rng(7)
CASES = {}


def reals(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def bytes_of(*shape):
    return RANDOM.integers(0, 256, shape).astype(np.uint8)


def signed(*shape):
    return RANDOM.integers(-128, 128, shape).astype(np.int8)


def case(op, inputs, results, weights, *feeds, name=None, domain="com.microsoft", opset=17, attributes=None,
         **more):
    """Adds a model of one operator. `inputs` are all operands, "" for those left out; `feeds` hold those that are not
    in `weights`. Axes whose sizes differ between feeds are open. Attributes follow, or stand in `attributes`."""
    node = helper.make_node(op, inputs, results, domain=domain, **(attributes or more))
    values = []
    for key, first in feeds[0].items():
        sizes = [[feed[key].shape[i] for feed in feeds] for i in range(first.ndim)]
        shape = [size[0] if len(set(size)) == 1 else f"size_{'_'.join(map(str, size))}" for size in sizes]
        values.append(helper.make_tensor_value_info(key, TYPES[str(first.dtype)], shape))
    outputs = [helper.make_empty_tensor_value_info(result) for result in results if result]
    used = [numpy_helper.from_array(value, key) for key, value in weights.items() if key in inputs]
    graph = helper.make_graph([node], "test", values, outputs, used)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    assert (name or op) not in CASES
    CASES[name or op] = (helper.make_model(graph, opset_imports=opsets, ir_version=8), feeds)


def two(make):
    """Feeds of two sizes."""
    return make(2, 5), make(3, 7)


def add_products_and_norms():
    rows = two(lambda batch, steps: {"x": reals(batch, steps, 16)})
    skipped = two(lambda batch, steps: {"x": reals(batch, steps, 16), "s": reals(batch, steps, 16)})
    vectors = {"a": reals(16), "b": reals(16), "c": reals(16)}
    case("BiasGelu", ["x", "a"], ["y"], vectors, *rows)
    case("FastGelu", ["x", "a"], ["y"], vectors, *rows)
    case("FastGelu", ["x"], ["y"], vectors, *rows, name="FastGelu_without_bias")
    case("QuickGelu", ["x"], ["y"], {}, *rows, alpha=1.3)
    case("SkipLayerNormalization", ["x", "s", "a", "b", "c"], ["y", "", "", "z"], vectors, *skipped, epsilon=1e-5)
    case("SkipLayerNormalization", ["x", "s", "a"], ["y"], vectors, *skipped, name="SkipLayerNormalization_plain")
    case("SkipSimplifiedLayerNormalization", ["x", "s", "a"], ["y", "", "", "z"], vectors, *skipped, epsilon=1e-6)
    case("SimplifiedLayerNormalization", ["x", "a"], ["y"], vectors, *rows, domain="", epsilon=1e-6)
    case("LayerNormalization", ["x", "a", "b"], ["y"], vectors, *rows, domain="", opset=13, name="LayerNorm_13")
    case("FusedMatMul", ["x", "x"], ["y"], {}, *rows, alpha=0.3, transB=1)
    case("FusedMatMul", ["x", "w"], ["y"], {"w": reals(6, 5)}, {"x": reals(3, 5, 4)}, transA=1, transB=1,
         name="FusedMatMul_of_both_transposed")
    case("FusedMatMul", ["x", "w"], ["y"], {"w": reals(4, 2, 3, 6)}, {"x": reals(5, 2, 3, 4)}, transBatchA=1,
         transBatchB=1, name="FusedMatMul_of_moved_batches")
    kernel = {"w": reals(8, 4, 3, 3), "b": reals(8)}
    image = {"x": reals(2, 4, 6, 6)}
    for activation, numbers in {"Relu": None, "Tanh": None, "LeakyRelu": [0.2], "Clip": [0.0, 1.0],
                                "HardSigmoid": [0.25, 0.4]}.items():
        more = {} if numbers is None else {"activation_params": numbers}
        case("FusedConv", ["x", "w", "b"], ["y"], kernel, image, name=f"FusedConv_{activation}", activation=activation,
             pads=[1, 1, 1, 1], **more)
    case("FusedConv", ["x", "w", "b", "z"], ["y"], kernel, image | {"z": reals(2, 8, 4, 4)}, activation="Relu",
         name="FusedConv_with_sum")
    case("FusedGemm", ["x", "w", "b"], ["y"], {"w": reals(5, 6), "b": reals(5)}, {"x": reals(3, 6)},
         activation="Relu", transB=1, alpha=0.5)
    for bits in (2, 4, 8):
        packed = {"w": bytes_of(6, 3, 2 * bits), "s": RANDOM.random(18).astype(np.float32),
                  "z": bytes_of(6 * ((3 * bits + 7) // 8))}
        for zeros in ([], ["z"]):
            case("MatMulNBits", ["x", "w", "s", *zeros], ["y"], packed, {"x": reals(3, 40)}, K=40, N=6, bits=bits,
                 block_size=16, name=f"MatMulNBits_{bits}{'_zeros' if zeros else ''}")


def add_attention():
    ids = two(lambda batch, steps: {"ids": RANDOM.integers(0, 30, (batch, steps)).astype(np.int32),
                                    "segments": RANDOM.integers(0, 2, (batch, steps)).astype(np.int32),
                                    "mask": RANDOM.integers(0, 2, (batch, steps)).astype(np.int32)})
    tables = {"w": reals(30, 16), "p": reals(20, 16), "s": reals(2, 16), "g": reals(16), "b": reals(16)}
    case("EmbedLayerNormalization", ["ids", "segments", "w", "p", "s", "g", "b", "mask"], ["y", "counts"], tables, *ids)
    case("EmbedLayerNormalization", ["ids", "", "w", "p", "", "g", "b"], ["y", "counts", "sum"], tables,
         *({"ids": feed["ids"]} for feed in ids), name="EmbedLayerNormalization_without_segments")

    rows = two(lambda batch, steps: {"x": reals(batch, steps, 16)})
    weights = {"w": reals(16, 48), "b": reals(48)}
    lengths = [np.array([5, 3], np.int32), np.array([4, 7, 2], np.int32)]
    masks = [(np.arange(feed["x"].shape[1]) < count[:, None]).astype(np.int32)
             for feed, count in zip(rows, lengths, strict=True)]

    def attention(name, operands, extra, results=("y",), weights=weights, rows=rows, **attributes):
        feeds = [feed | more for feed, more in zip(rows, extra or [{}] * len(rows), strict=True)]
        case("Attention", ["x", "w", "b", *operands], list(results), weights, *feeds, num_heads=4,
             name=f"Attention_{name}", **attributes)

    attention("plain", [], None)
    attention("causal", [], None, unidirectional=1)
    attention("mask", ["m"], [{"m": mask} for mask in masks])
    attention("lengths", ["m"], [{"m": length} for length in lengths])
    attention("ends_and_starts", ["m"], [{"m": np.array([4, 5, 1, 0], np.int32)}], rows=rows[:1])
    attention("mask_of_rows", ["m"], [{"m": np.repeat(mask[:, None], mask.shape[1], 1)} for mask in masks])
    attention("past", ["", "p"], [{"p": reals(2, feed["x"].shape[0], 4, 3, 4)} for feed in rows], ["y", "present"],
              unidirectional=1)
    attention("bias", ["", "", "t"], [{"t": reals(1, 4, *[feed["x"].shape[1]] * 2)} for feed in rows], scale=0.4)
    attention("of_sizes", [], None, weights={"w": reals(16, 40), "b": reals(40)}, qkv_hidden_sizes=[16, 16, 8])
    case("QAttention", ["x", "w", "b", "xs", "ws", "m", "xz", "wz"], ["y"],
         {"w": signed(16, 48), "b": reals(48), "xs": np.float32(0.02), "ws": np.float32(0.01), "xz": np.uint8(120),
          "wz": np.int8(0)},
         *({"x": bytes_of(*mask.shape, 16), "m": length} for mask, length in zip(masks, lengths, strict=True)),
         num_heads=4)

    apart = [{"q": reals(b, t, 16), "k": reals(b, s, 16), "v": reals(b, s, 16)} for b, t, s in ((2, 5, 6), (3, 4, 7))]
    case("MultiHeadAttention", ["q", "k", "v"], ["y"], {}, *apart, num_heads=4)
    case("MultiHeadAttention", ["q", "k", "v", "b"], ["y"], weights, *apart, num_heads=4, name="MultiHeadAttention_bias")
    hidden = [feed | {"m": np.repeat((np.arange(feed["k"].shape[1]) < 4)[None], len(feed["q"]), 0).astype(np.int32)}
              for feed in apart]
    case("MultiHeadAttention", ["q", "k", "v", "", "m"], ["y"], {}, *hidden, num_heads=4, name="MultiHeadAttention_mask")
    cached = [{"q": reals(b, t, 16), "k": reals(b, t, 16), "v": reals(b, t, 16), "pk": reals(b, 4, p, 4),
               "pv": reals(b, 4, p, 4)} for b, t, p in ((2, 3, 4), (1, 2, 6))]
    case("MultiHeadAttention", ["q", "k", "v", "", "", "", "pk", "pv"], ["y", "key", "value"], {}, *cached, num_heads=4,
         unidirectional=1, name="MultiHeadAttention_past")

    def angles(half):
        turns = np.outer(np.arange(40), 1 / 10000 ** (np.arange(half) / half))
        return {"cos": np.cos(turns).astype(np.float32), "sin": np.sin(turns).astype(np.float32)}

    placed = [feed | {"p": np.add.outer(3 * np.arange(feed["x"].shape[0]), np.arange(feed["x"].shape[1]))}
              for feed in rows]
    for interleaved in (0, 1):
        case("RotaryEmbedding", ["x", "p", "cos", "sin"], ["y"], angles(2), *placed, interleaved=interleaved,
             name=f"RotaryEmbedding_{interleaved}")
    case("RotaryEmbedding", ["x", "p", "cos", "sin"], ["y"], angles(2),
         *(feed | {"p": np.array([4])} for feed in rows), num_heads=2, rotary_embedding_dim=4,
         name="RotaryEmbedding_from_a_position")

    steps = [{"q": reals(b, 1, 64), "k": reals(b, 1, 32), "v": reals(b, 1, 32), "pk": reals(b, 2, p, 16),
              "pv": reals(b, 2, p, 16), "last": np.full(b, p, np.int32), "total": np.array(p + 1, np.int32)}
             for b, p in ((1, 6), (2, 3))]
    for name, attributes in {"plain": {}, "window": {"local_window_size": 3}, "cap": {"softcap": 5.0},
                             "rotary": {"do_rotary": 1}, "interleaved": {"do_rotary": 1, "rotary_interleaved": 1}}.items():
        case("GroupQueryAttention", ["q", "k", "v", "pk", "pv", "last", "total", "cos", "sin"], ["y", "key", "value"],
             angles(8), *steps, num_heads=4, kv_num_heads=2, name=f"GroupQueryAttention_{name}", **attributes)
    case("GroupQueryAttention", ["q", "", "", "", "", "last", "total", "cos", "sin"], ["y", "key", "value"], angles(8),
         {"q": reals(2, 5, 128), "last": np.full(2, 4, np.int32), "total": np.array(5, np.int32)}, num_heads=4,
         kv_num_heads=2, do_rotary=1, name="GroupQueryAttention_joined")


def add_quantized():
    grids = {"as": np.float32(0.02), "az": np.uint8(120), "bs": np.float32(0.03), "bz": np.uint8(100),
             "ys": np.float32(0.05), "yz": np.uint8(128)}
    shares = grids | {"ys": np.float32(1 / 256), "yz": np.uint8(0)}
    pairs = two(lambda batch, _: {"a": bytes_of(batch, 4, 6), "b": bytes_of(batch, 4, 6)})
    single = [{"a": feed["a"]} for feed in pairs]
    a, b, y = ["a", "as", "az"], ["b", "bs", "bz"], ["ys", "yz"]
    case("QLinearAdd", a + b + y, ["y"], grids, *pairs)
    case("QLinearMul", a + b + y, ["y"], grids, *pairs)
    case("QLinearConcat", y + a + b, ["y"], grids, *pairs, axis=1)
    case("QLinearWhere", ["c", *a, *b, *y], ["y"], grids, *(feed | {"c": feed["a"] > 100} for feed in pairs))
    case("QLinearSigmoid", a + y, ["y"], shares, *single)
    case("QLinearLeakyRelu", a + y, ["y"], grids, *single, alpha=0.2)
    case("QLinearSoftmax", a + y, ["y"], shares, *single, axis=-1, attributes={"opset": 13})
    image = {"a": bytes_of(2, 6, 6, 4)}
    for last in (0, 1):
        windows = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "channels_last": last}
        case("QLinearAveragePool", a + y, ["y"], grids, image, name=f"QLinearAveragePool_{last}", **windows)
        case("QLinearGlobalAveragePool", a + y, ["y"], grids, image, name=f"QLinearGlobalAveragePool_{last}",
             channels_last=last)
    case("NhwcMaxPool", ["a"], ["y"], {}, image, kernel_shape=[2, 2], strides=[2, 2])
    layer = grids | {"w": signed(6, 8), "t": signed(8, 6), "ws": RANDOM.random(8).astype(np.float32) * 0.02,
                     "wz": np.zeros(8, np.int8), "n": RANDOM.integers(-500, 500, 8).astype(np.int32), "f": reals(8)}
    matrices = two(lambda batch, _: {"a": bytes_of(batch, 6)})
    case("QGemm", [*a, "w", "ws", "wz", "n", *y], ["y"], layer, *matrices)
    case("QGemm", [*a, "t", "ws", "wz", "n"], ["y"], layer, *matrices, transB=1, name="QGemm_to_float")
    case("MatMulIntegerToFloat", ["a", "w", "as", "ws", "az", "wz", "f"], ["y"], layer, *matrices)
    case("DynamicQuantizeMatMul", ["x", "w", "ws", "wz", "f"], ["y"], layer,
         *two(lambda batch, _: {"x": reals(batch, 6)}))


add_products_and_norms()
add_attention()
add_quantized()


def results_in(files, model, feed):
    """What ONNX Runtime and LiteRT make of the files that were written of a model, in its order."""
    session = onnxruntime.InferenceSession(files / "net.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in model.graph.output]
    taken = {value.name for value in session.get_inputs()}
    yield session.run(names, {key: value for key, value in feed.items() if key in taken})
    runner = Interpreter(model_path=str(files / "net_fp32.tflite"), num_threads=1).get_signature_runner()
    found = runner(**{key: value for key, value in feed.items() if key in runner.get_input_details()})
    yield [found[name] for name in names]


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_onnx_runtime(tmp_path, name):
    model, feeds = CASES[name]
    onnx.save(model, tmp_path / "source.onnx")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    done = run(tmp_path, "convert", "source.onnx", "--name", "net", "-o", "out", "--to", "onnx,tflite", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    for feed in feeds:
        expected = session.run(None, feed)
        for found in results_in(tmp_path / "out", model, feed):
            for one, other in zip(found, expected, strict=True):
                assert one.dtype == other.dtype
                if other.dtype == np.uint8:  # kernels of ONNX Runtime round ties by tables
                    assert np.abs(one.astype(int) - other.astype(int)).max() <= 1
                else:
                    np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-4)


def test_files_for_one_processor_are_refused_with_what_to_do(tmp_path):
    node = helper.make_node("ReorderInput", ["x"], ["y"], domain="com.microsoft.nchwc")
    value = helper.make_tensor_value_info("x", FLOAT, [1, 4, 2, 2])
    graph = helper.make_graph([node], "test", [value], [helper.make_empty_tensor_value_info("y")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("com.microsoft.nchwc", 1)], ir_version=8),
              tmp_path / "source.onnx")
    done = run(tmp_path, "convert", "source.onnx", "-o", "out")
    assert done.returncode == 1
    assert "ORT_ENABLE_EXTENDED" in done.stderr


def test_values_on_steps_are_verified_within_a_step(tmp_path):
    """0.35 / 0.1 is 3.5 in float32, which rounds to 4, and less in float64."""
    nodes = [helper.make_node("QuantizeLinear", ["x", "scale"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "scale"], ["y"])]
    values = [helper.make_tensor_value_info(name, FLOAT, [4]) for name in ("x", "y")]
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    graph = helper.make_graph(nodes, "test", values[:1], values[1:], [scale])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              tmp_path / "source.onnx")
    np.savez(tmp_path / "values.npz", x=np.array([0.35, 1, 5, 20], np.float32))
    done = run(tmp_path, "convert", "source.onnx", "-o", "out", "--to", "tflite", "--verify-input", "values.npz")
    assert done.returncode == 0, done.stderr
