"""What a network of the zoo is: a module, its inputs by name, and sizes that may vary."""

import dataclasses
import importlib
import pathlib
import random
from collections.abc import Callable

import torch

FOLDER = pathlib.Path(__file__).resolve().parent
FAMILIES = ["vision", "sequence", "attention", "audio", "other", "hugging_face"]
NETWORKS = {}


@dataclasses.dataclass(frozen=True)
class Input:
    """A tensor: sizes are numbers or names of sizes that may vary. `below` makes integers, `mask` bools."""

    shape: tuple
    below: int | None = None
    mask: bool = False

    def draw(self, sizes, generator):
        """A seeded tensor under these sizes."""
        shape = [sizes.get(size, size) for size in self.shape]
        if self.mask:
            mask = torch.rand(shape, generator=generator) < 0.7
            mask[..., 0] = True  # a row without anything to look at has no softmax
            return mask
        if self.below:
            return torch.randint(self.below, shape, generator=generator)
        return torch.randn(shape, generator=generator)


def ids(*shape, below=50):
    """Integers from 0 to `below` - 1."""
    return Input(shape, below=below)


def mask(*shape):
    """Bools, the first of each row true."""
    return Input(shape, mask=True)


@dataclasses.dataclass(frozen=True)
class Network:
    """A network with what is needed to export and judge it.

    `sizes` gives two values for each size that may vary: that of the export, and one for a second look. Those in
    `frozen` are fixed by torch.export all the same, and are to be set free by taper. `most` bounds all of them. `forms` are the ways of
    saving it.
    """

    name: str
    build: Callable[[], torch.nn.Module]
    inputs: dict
    sizes: dict
    frozen: tuple
    most: int
    forms: tuple

    def is_exported(self, size):
        """Whether the size varies in the exported program."""
        return size in self.sizes and size not in self.frozen

    def module(self):
        """The module with seeded weights, for inference."""
        torch.manual_seed(seed_of(self.name))
        module = self.build().eval()
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        with torch.no_grad():  # fresh statistics of normalisations would hide mistakes: they do nothing
            for key, buffer in module.named_buffers():
                if key.endswith("running_mean"):
                    buffer.uniform_(-0.5, 0.5)
                elif key.endswith("running_var"):
                    buffer.uniform_(0.5, 1.5)
        return module

    def sizes_at(self, look):
        """The varying sizes by name, at the first look (0) or the second (1)."""
        return {name: values[look] for name, values in self.sizes.items()}

    def draw(self, look):
        """Inputs by name."""
        generator = torch.Generator().manual_seed(seed_of(f"{self.name} {look}"))
        return {name: entry.draw(self.sizes_at(look), generator) for name, entry in self.inputs.items()}


def seed_of(text):
    """A seed that differs from name to name and never changes."""
    return random.Random(text).randrange(1 << 31)


def network(forms=("pt2", "dynamic", "traced", "scripted"), sizes=None, frozen=(), most=1024, **inputs):
    """Registers a function that builds a module. Inputs are Input objects, or shapes of float32 tensors."""

    def register(build):
        entries = {name: entry if isinstance(entry, Input) else Input(entry) for name, entry in inputs.items()}
        name = build.__name__
        assert name not in NETWORKS, name
        kept = tuple(form for form in forms if sizes or form != "dynamic")
        NETWORKS[name] = Network(name, build, entries, sizes or {}, tuple(frozen), most, kept)
        return build

    return register


def load():
    """All networks by name, those of absent packages left out."""
    for family in FAMILIES:
        try:
            importlib.import_module(f"networks.{family}")
        except ModuleNotFoundError as missing:
            if missing.name != "transformers":
                raise
    return NETWORKS


def named_outputs(result, name=""):
    """The tensors of a result by the names that taper gives them."""
    if isinstance(result, torch.Tensor):
        return {name or "output": result}
    if isinstance(result, dict):
        entries = result.items()
    elif hasattr(result, "_fields"):
        entries = zip(result._fields, result, strict=True)
    elif name:
        entries = enumerate(result)
    else:
        return {
            key: value
            for i, entry in enumerate(result)
            for key, value in named_outputs(entry, f"output_{i}" if i else "output").items()
        }
    return {
        key: value
        for part, entry in entries
        if entry is not None
        for key, value in named_outputs(entry, f"{name}_{part}" if name else str(part)).items()
    }
