#!/usr/bin/env python3
"""Writes hostile and broken files, and manifest.json, which says what is hostile in each.

    make_hostile.py FOLDER            all of them, a few hundred
    make_hostile.py FOLDER opcodes    those of one or more classes

The same files on every run. What they would run, if anything ran it, is harmless: it makes a file TAPER_CANARY in the
current folder.
"""

import json
import pathlib
import sys

from attacks import (
    arrays,
    configs,
    disguises,
    flips,
    gadgets,
    opcodes,
    positions,
    safetensors_files,
    sizes,
    tensors,
    truncation,
    wrappers,
    zips,
)

BUILDERS = {
    module.GROUP: module
    for module in (
        opcodes,
        gadgets,
        disguises,
        positions,
        wrappers,
        tensors,
        zips,
        sizes,
        truncation,
        flips,
        safetensors_files,
        arrays,
        configs,
    )
}


def write(folder, groups=tuple(BUILDERS)):
    """Writes the files of `groups` to `folder`; returns their descriptions, which stand in manifest.json too."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {}
    for group in groups:
        for file in BUILDERS[group].files():
            if file.name in described:
                raise ValueError(f"two files are named {file.name}")
            (folder / file.name).write_bytes(file.data)
            described[file.name] = file.description()
    records = list(described.values())
    (folder / "manifest.json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    return records


def main(arguments):
    unknown = set(arguments[1:]) - BUILDERS.keys()
    if not arguments or arguments[0].startswith("-") or unknown:
        print(f"{__doc__}\nclasses: {' '.join(BUILDERS)}", file=sys.stderr)
        return 2
    records = write(pathlib.Path(arguments[0]), tuple(arguments[1:]) or tuple(BUILDERS))
    print(f"{len(records)} files, {sum(record['bytes'] for record in records) / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
