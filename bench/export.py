"""Measures the whole job against importing PyTorch; see bench/export."""

import json
import pathlib
import shutil
import sys
import tempfile

from common import Bar, arguments_of, machine, make_models, measure, median, print_bars, print_table, warn_if_busy


EXPORTS = pathlib.Path("exports")  # the default output folder


def savedmodel_seconds(folder):
    """What the last run took to build and write its SavedModels."""
    results = json.loads((folder / EXPORTS / "export_results.json").read_text(encoding="utf-8"))
    return sum(model["seconds"]["tensorflow"] for model in results.values() if "seconds" in model)


def copy_seconds(folder):
    """What `cp` takes to write the same bytes."""
    target = folder / "copies"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    models = sorted(str(path) for path in (folder / EXPORTS).glob("*_tf"))
    return measure(["cp", "-r", *models, str(target)], folder).seconds, len(models)


def main():
    arguments = arguments_of("bench/export", 9)

    warn_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        make_models(folder)
        commands = {
            'python -c "import torch"': [sys.executable, "-c", "import torch"],
            "export_models": [arguments.program],
            "export_models --no-verify": [arguments.program, "--no-verify"],
        }
        for command in commands.values():  # fills the page cache
            measure(command, folder)
        costs = {name: [] for name in commands}
        savedmodels, copies = [], []
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                costs[name].append(measure(command, folder))
            savedmodels.append(savedmodel_seconds(pathlib.Path(folder)))
            copied, count = copy_seconds(pathlib.Path(folder))
            copies.append(copied)

    seconds = {name: median(cost.seconds for cost in each) for name, each in costs.items()}
    memory = {name: median(cost.memory for cost in each) for name, each in costs.items()}
    base, verified, written = commands
    print(f"Both models at default size, medians of {arguments.rounds} interleaved rounds\n{machine()}\n")
    rows = [("", "time", "ratio", "peak memory", "ratio")]
    for name in commands:
        rows.append((name, f"{seconds[name] * 1e3:.0f} ms", f"{seconds[name] / seconds[base]:.3f}",
                     f"{memory[name] / 1e6:.0f} MB", f"{memory[name] / memory[base]:.3f}"))  # fmt: skip
    print_table(rows)
    share = median(savedmodels)
    allowed = 1.5 * median(copies) + 0.020 * count
    print(f"SavedModels: {share * 1e3:.0f} ms of the last, {share / seconds[written]:.2f} of it; "
          f"cp of the same bytes: {median(copies) * 1e3:.0f} ms\n")  # fmt: skip
    good = print_bars(
        [
            Bar("exported and verified: time", seconds[verified] / seconds[base], 1),
            Bar("exported and verified: memory", memory[verified] / memory[base], 1),
            Bar("with --no-verify: time", seconds[written] / seconds[base], 0.1),
            Bar("with --no-verify: memory", memory[written] / memory[base], 0.1),
            Bar("SavedModels, of 1.5 x cp + 20 ms each", share / allowed, 1),
        ]
    )
    return 0 if good or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
