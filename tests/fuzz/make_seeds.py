#!/usr/bin/env python3
"""Writes the corpora's seeds that are made of real files: small networks of tests/fixtures, as they are and exported.

    tests/fuzz/make_seeds.py build/release/bin/export_models

Fixtures have to be small: each run of the target `export` takes its whole seed through every pass.
"""

import pathlib
import subprocess
import sys
import tempfile

import onnx

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures" / "checkpoints"

# What the target `export` starts from: each family, each container.
CHECKPOINTS = [
    "variants/gru.pt",
    "variants/gru_ctc.pt",
    "variants/gru_projection.pt",
    "forms/zip_parameters.pt",
    "modules/gru.pt",
    "forms/legacy_strided.pt",
]
# The other families, whose files are larger: as safetensors, which deflate has no part in.
SAFETENSORS = ["forms/safetensors_f16_transformer_long.safetensors"]
# What a scan has something to say of.
SCANNED = ["hostile/runs_a_command.pt", "hostile/runs_a_command_legacy.pt", "hostile/weight_from_eval.pt"]
# What becomes seeds of the readers of our own formats.
EXPORTED = ["variants/gru.pt", "variants/transformer_ctc_without_category.pt"]
# ONNX's own tests of operators, by their names in the Python package onnx.
NODES = [
    "test_attention_4d_gqa_with_past_and_present", "test_averagepool_2d_ceil", "test_cast_FLOAT_to_INT4",
    "test_clip_default_int8_max_expanded", "test_constant", "test_dequantizelinear_blocked",
    "test_gru_with_initial_bias", "test_if", "test_if_seq", "test_layer_normalization_2d_axis0_expanded", "test_loop11",
    "test_lstm_with_peepholes", "test_optional_get_element_tensor", "test_qlinearconv", "test_reshape_negative_dim",
    "test_resize_upsample_sizes_nearest", "test_scan9_sum", "test_sce_mean_3d_expanded", "test_sequence_map_add_2_sequences",
    "test_slice_negative_axes", "test_stft", "test_top_k",
]  # fmt: skip


def write(target, name, content):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    print(f"{target}/{name}: {len(content)} bytes")


def with_length(part):
    return len(part).to_bytes(2, "little") + part


def export(program, checkpoint):
    name = pathlib.Path(checkpoint).stem
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder)
        command = [program, "--model", f"seed_{name}={FIXTURES / checkpoint}", "--output-dir", out, "--sequence-length", "8", "--no-verify", "--quiet"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (model,) = out.rglob("saved_model.pb")
        index = model.parent / "variables" / "variables.index"
        data = model.parent / "variables" / "variables.data-00000-of-00001"
        bundle = with_length(index.read_bytes()) + data.read_bytes()
        write("saved_model", f"seed_{name}", model.read_bytes())
        write("tensor_bundle", f"seed_{name}", bundle)
        write("tensorflow", f"seed_{name}", with_length(model.read_bytes()) + bundle)
        write("onnx", f"seed_{name}", next(out.rglob("*.onnx")).read_bytes())
        write("tflite", f"seed_{name}", next(out.rglob("*_fp16.tflite")).read_bytes())


def main():
    for target, checkpoints in (("export", CHECKPOINTS + SAFETENSORS), ("pickle_scan", SCANNED)):
        for checkpoint in checkpoints:
            write(target, "seed_" + checkpoint.replace("/", "_"), (FIXTURES / checkpoint).read_bytes())
    for checkpoint in EXPORTED:
        export(sys.argv[1], checkpoint)
    nodes = pathlib.Path(onnx.__file__).parent / "backend/test/data/node"
    for name in NODES:
        write("onnx_graph", "seed_" + name.removeprefix("test_"), (nodes / name / "model.onnx").read_bytes())


if __name__ == "__main__":
    main()
