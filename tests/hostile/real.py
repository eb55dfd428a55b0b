"""Checkpoints as people save them: what a scanner should let pass. Needs PyTorch."""

import argparse
import collections
import copy
import datetime
import decimal
import enum
import fractions
import functools
import json
import pathlib
import random
import shutil
import uuid

import numpy
import torch
from safetensors.torch import save_file
from torch import nn

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures"


class Stage(enum.Enum):
    """Stands for an enumeration of the training code."""

    TRAINING = "training"


class Block(nn.Module):
    """Stands for a block of a vision model, which keeps its kind of norm as a partial."""

    def __init__(self):
        super().__init__()
        self.norm_layer = functools.partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)
        self.norm = self.norm_layer(8)
        self.activation = nn.SiLU()


def network():
    """A small network of common layers."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4), nn.Dropout(0.1)
    )


def trained():
    """A network after one step, with its optimizer and schedule."""
    model = nn.Linear(6, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    model(torch.ones(2, 6)).sum().backward()
    optimizer.step()
    schedule.step()
    return model, optimizer, schedule


def training_states():
    """Dicts that training loops save."""
    model, optimizer, schedule = trained()
    weights = model.state_dict()
    namespace = argparse.Namespace(lr=1e-3, layers=[1, 2], name="run", root=pathlib.Path("data/set"))
    lightning = {
        "epoch": 3,
        "global_step": 120,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": weights,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 3}}}},
        "callbacks": {
            "ModelCheckpoint{'monitor': 'val_loss'}": {"best_model_score": torch.tensor(0.25), "dirpath": "/runs"}
        },
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [schedule.state_dict()],
        "hparams_name": "kwargs",
        "hyper_parameters": namespace,
    }
    states = {
        "torch": torch.get_rng_state(),
        "numpy": numpy.random.RandomState(1).get_state(),
        "python": random.Random(1).getstate(),
    }
    return {
        "state_dict": weights,
        "optimizer": {"model": weights, "optimizer": optimizer.state_dict(), "scheduler": schedule.state_dict()},
        "lightning": lightning,
        "namespace": {"model": weights, "args": namespace},
        "numpy_scalars": {
            "model": weights,
            "loss": numpy.float64(0.5),
            "step": numpy.int64(7),
            "ok": numpy.bool_(True),
        },
        "numpy_arrays": {"model": weights, "mean": numpy.zeros(3), "labels": numpy.array(["a", "b"])},
        "paths_and_dates": {
            "model": weights,
            "path": pathlib.Path("/runs/x"),
            "date": datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC),
        },
        "random_states": {"model": weights, "rng": states},
        "containers": {
            "model": weights,
            "history": collections.defaultdict(list, {"loss": [0.5, 0.25]}),
            "recent": collections.deque([1, 2], maxlen=2),
            "counts": collections.Counter("hello"),
            "seen": {1, 2},
            "fixed": frozenset({3}),
            "slice": slice(1, 2),
            "bytes": b"abc",
            "array": bytearray(b"abc"),
            "complex": 1 + 2j,
        },
        "torch_values": {
            "model": weights,
            "dtype": torch.bfloat16,
            "device": torch.device("cpu"),
            "size": torch.Size([1, 2]),
        },
        "numbers": {
            "model": weights,
            "lr": decimal.Decimal("0.001"),
            "ratio": fractions.Fraction(1, 3),
            "run": uuid.UUID(int=7),
        },
        "own_enum": {"model": weights, "stage": Stage.TRAINING},
        "averaged": {"ema": torch.optim.swa_utils.AveragedModel(model).state_dict(), "model": weights},
        "scaler": {"model": weights, "scaler": torch.amp.GradScaler("cpu").state_dict()},
    }


def modules():
    """Whole modules."""
    pooled = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), 1, enable_nested_tensor=False)
    return {
        "module_sequential": network(),
        "module_transformer": pooled,
        "module_lstm": nn.LSTM(4, 4, 2, bidirectional=True),
        "module_partial_norm": Block(),
        "module_in_dict": {"epoch": 1, "model": network(), "ema": copy.deepcopy(network())},
    }


def tensors():
    """Tensors of all kinds."""
    quantised = torch.quantize_per_tensor(torch.ones(3, 2), 0.1, 0, torch.qint8)
    return {
        "half": {"w": torch.ones(3).half(), "b": torch.ones(3).bfloat16()},
        "complex": torch.ones(2, dtype=torch.complex64),
        "sparse": torch.eye(3).to_sparse(),
        "quantised": {"w": quantised},
        "parameter": nn.Parameter(torch.ones(2)),
        "parameter_list": nn.ParameterList([nn.Parameter(torch.ones(2))]).state_dict(),
        "list": [torch.ones(1), torch.zeros(1)],
        "float8": torch.ones(4).to(torch.float8_e4m3fn),
        "tensor_with_attribute": nn.Buffer(torch.ones(2)),
    }


def write(folder):
    """Writes them all, and copies the sound fixtures; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    torch.manual_seed(1)
    for name, thing in {**training_states(), **modules(), **tensors()}.items():
        for legacy in (False, True):
            path = folder / f"real_{name}{'_legacy' if legacy else ''}.pt"
            torch.save(thing, path, _use_new_zipfile_serialization=not legacy)
            paths.append(path)
    paths.append(folder / "real.safetensors")
    save_file(network().state_dict(), paths[-1])
    return paths + fixtures(folder)


def fixtures(folder):
    """Copies the checkpoints of tests/fixtures that are sound and no attack."""
    manifest = json.loads((FIXTURES / "manifest.json").read_text(encoding="utf-8"))
    paths = []
    for record in manifest["fixtures"]:
        if record["accept"] and "hostile" not in record["file"]:
            path = folder / ("fixture_" + record["file"].removeprefix("checkpoints/").replace("/", "_"))
            shutil.copyfile(FIXTURES / record["file"], path)
            paths.append(path)
    return paths
