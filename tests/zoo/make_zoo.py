"""Saves the networks of the zoo as .pt2 and TorchScript, with inputs and what PyTorch computes.

    python tests/zoo/make_zoo.py FOLDER [NAME...]

FOLDER/NAME holds a file for each form (pt2.pt2, dynamic.pt2, traced.pt, scripted.pt), `looks.npz` (inputs `0/in/x` and
outputs `0/out/output`, and the same for the second look where sizes vary), and `about.json`. A form that PyTorch can't
save is in `about.json` with PyTorch's reason.
"""

import copy
import json
import logging
import pathlib
import sys
import warnings

import numpy as np
import torch

import zoo

SUFFIXES = {"pt2": ".pt2", "dynamic": ".pt2", "traced": ".pt", "scripted": ".pt"}


def save(network, module, form, path):
    """Saves one form."""
    inputs = network.draw(0)
    if form == "scripted":
        torch.jit.save(torch.jit.script(module), path)
        return
    if form == "traced":
        traced = torch.jit.trace(copy.deepcopy(module), tuple(inputs.values()), strict=False, check_trace=False)
        kept = dict(module.named_buffers())
        for key, buffer in traced.named_buffers():  # tracing runs the network, which may have changed them
            buffer.copy_(kept[key])
        torch.jit.save(traced, path)
        return
    dynamic = None
    if form == "dynamic":
        dims = {name: torch.export.Dim(name, max=network.most) for name in network.sizes}
        dynamic = tuple(
            {axis: dims[size] for axis, size in enumerate(entry.shape) if network.is_exported(size)}
            for entry in network.inputs.values()
        )
    try:
        program = torch.export.export(module, tuple(inputs.values()), dynamic_shapes=dynamic)
    except torch._dynamo.exc.UserError:  # narrower bounds: export finds them, but then sizes of inputs are no longer one
        if dynamic is None:
            raise
        free = torch.export.Dim.DYNAMIC
        dynamic = tuple(dict.fromkeys(axes, free) for axes in dynamic)
        program = torch.export.export(module, tuple(inputs.values()), dynamic_shapes=dynamic)
    torch.export.save(program, path)


def make(network, folder):
    """Saves a network with its looks."""
    folder.mkdir(parents=True, exist_ok=True)
    module = network.module()
    arrays, refused = {}, {}
    for look in (0, 1) if network.sizes else (0,):
        inputs = network.draw(look)
        with torch.no_grad():
            fresh = copy.deepcopy(module)  # each run starts from the buffers that are saved
            outputs = zoo.named_outputs(fresh(*(value.clone() for value in inputs.values())))
        arrays |= {f"{look}/in/{name}": value.numpy() for name, value in inputs.items()}
        arrays |= {f"{look}/out/{name}": value.numpy() for name, value in outputs.items()}
    np.savez(folder / "looks.npz", **arrays)
    for form in network.forms:
        path = folder / (form + SUFFIXES[form])
        try:
            with torch.no_grad():
                save(network, module, form, path)
        except Exception as problem:  # noqa: BLE001  (PyTorch raises all kinds)
            path.unlink(missing_ok=True)
            refused[form] = f"{type(problem).__name__}: {str(problem).strip().splitlines()[0][:200]}"
    about = {
        "inputs": {name: list(entry.shape) for name, entry in network.inputs.items()},
        "sizes": network.sizes,
        "frozen": list(network.frozen),
        "forms": [form for form in network.forms if form not in refused],
        "refused": refused,
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return about


def main(folder, *names):
    """Saves all networks, or those named."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)  # what PyTorch can't save is told in a line
    for name, network in zoo.load().items():
        if names and name not in names:
            continue
        about = make(network, pathlib.Path(folder) / name)
        for form, reason in about["refused"].items():
            print(f"{name}: PyTorch can't save {form}: {reason}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
