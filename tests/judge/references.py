"""Checkpoints to export and, for each, what PyTorch computes in float32."""

import dataclasses
import functools
import json
import pathlib

import numpy as np
import torch

import models
from builder.base_models import frames, randomise, reference, seed_of
from models.layers import PositionalEncoding

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures"
MANIFEST = json.loads((FIXTURES / "manifest.json").read_text(encoding="utf-8"))
ACCEPTED = [record for record in MANIFEST["fixtures"] if record["accept"]]
REFUSED = [record for record in MANIFEST["fixtures"] if not record["accept"]]

SHAPES = [(1, 300), (3, 77), (1, 1), (2, 299)]
FAMILIES = ["SignTransformer", "MediaPipeGRU", "SignTransformerCtc", "MediaPipeGRUCtc"]


def key_of(family):
    """The key in the results, and the flag, that a model of `family` is exported under."""
    return {"SignTransformer": "transformer", "MediaPipeGRU": "gru"}.get(family, family)


def source_arguments(key, checkpoint):
    """Flags that export `checkpoint` as the model `key`."""
    if key in ("transformer", "gru"):
        return [f"--{key}", checkpoint]
    return ["--model", f"{key}={checkpoint}"]


def fixture(name):
    """The manifest's record of the file `name`, and its path."""
    record = next(record for record in MANIFEST["fixtures"] if record["file"] == f"checkpoints/{name}")
    return record, FIXTURES / record["file"]


def expected_outputs(record):
    """Yields (x, outputs by name) for each shape recorded for an accepted fixture."""
    model = MANIFEST["models"][record["model"]]
    arrays = np.load(FIXTURES / model["expected"])
    for batch, length in model["shapes"]:
        suffix = f"_{batch}x{length}"
        outputs = {name: arrays[name + suffix] for name in ("output", "category") if name + suffix in arrays}
        yield arrays[f"x{suffix}"], outputs


def shapes_of(outputs):
    """The shapes of arrays, by name."""
    return {name: values.shape for name, values in outputs.items()}


def lengthened(module, length):
    """`module` with its sinusoid table continued to `length` rows; a table that is no sinusoid stays as it is."""
    if hasattr(module, "pos_encoder"):
        table = module.pos_encoder.pe
        longer = PositionalEncoding(table.shape[2], max(length, table.shape[1])).pe
        if torch.equal(longer[:, : table.shape[1]], table):
            module.pos_encoder.pe = longer
    return module


@dataclasses.dataclass
class Case:
    """A model to export with all that judging it needs.

    `module` is PyTorch's, `heads` are the outputs asked for, `shapes` the [B, T] to compare at.
    """

    name: str
    key: str
    checkpoint: pathlib.Path
    module: torch.nn.Module
    features: int
    heads: str = "all"
    config: dict | None = None
    arguments: list = dataclasses.field(default_factory=list)
    shapes: list = dataclasses.field(default_factory=lambda: SHAPES)

    @functools.cache  # noqa: B019  (cases live as long as the session)
    def at(self, shape):
        """A seeded input of `shape` [B, T] and PyTorch's outputs for it, by name."""
        x = frames(shape, self.features, seed_of(f"{self.name} {shape}"))
        outputs = reference(self.module, x)
        return x, outputs if self.heads == "all" else {"output": outputs["output"]}

    __hash__ = object.__hash__


def variant_case(record):
    """The case of a file in checkpoints/variants."""
    described = MANIFEST["models"][record["model"]]
    checkpoint = FIXTURES / record["file"]
    module = getattr(models, described["family"])(**described["hyper_parameters"]).eval()
    module.load_state_dict(torch.load(checkpoint))
    learned = "learned" in record["model"]
    return Case(
        name=record["model"],
        key=key_of(described["family"]),
        checkpoint=checkpoint,
        module=module if learned else lengthened(module, 301),
        features=described["hyper_parameters"]["input_dim"],
        config=record["config"],
        arguments=record["arguments"],
        shapes=[(1, 48), (3, 7), (1, 1), (2, 47)] if learned else SHAPES,
    )


def default_case(family, folder):
    """A model of `family` in its default size, saved as a state dict in `folder`."""
    module = randomise(getattr(models, family)(), family, gain=1.0)
    checkpoint = folder / f"{family}.pt"
    torch.save(module.state_dict(), checkpoint)
    return Case(f"default {family}", key_of(family), checkpoint, module, features=178, heads="gloss")


VARIANTS = [record for record in ACCEPTED if record["file"].startswith("checkpoints/variants/")]
