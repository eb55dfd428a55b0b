"""Measures the whole job against importing PyTorch; see bench/export."""

import argparse
import sys
import tempfile

from common import Bar, machine, make_models, measure, median, print_bars, print_table, warn_if_busy


def main():
    parser = argparse.ArgumentParser(prog="bench/export")
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()

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
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                costs[name].append(measure(command, folder))

    seconds = {name: median(cost.seconds for cost in each) for name, each in costs.items()}
    memory = {name: median(cost.memory for cost in each) for name, each in costs.items()}
    base, verified, written = commands
    print(f"Both models at default size, medians of {arguments.rounds} interleaved rounds\n{machine()}\n")
    rows = [("", "time", "ratio", "peak memory", "ratio")]
    for name in commands:
        rows.append((name, f"{seconds[name] * 1e3:.0f} ms", f"{seconds[name] / seconds[base]:.3f}",
                     f"{memory[name] / 1e6:.0f} MB", f"{memory[name] / memory[base]:.3f}"))  # fmt: skip
    print_table(rows)
    good = print_bars(
        [
            Bar("exported and verified: time", seconds[verified] / seconds[base], 1),
            Bar("exported and verified: memory", memory[verified] / memory[base], 1),
            Bar("with --no-verify: time", seconds[written] / seconds[base], 0.1),
            Bar("with --no-verify: memory", memory[written] / memory[base], 0.1),
        ]
    )
    return 0 if good or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
