#!/usr/bin/env python3
"""Compares `taper scan` with torch.load(weights_only=True), picklescan and fickling on hostile and on real files.

    compare.py TAPER                            prints the tables
    compare.py TAPER --write docs/security.md   and puts them between the marks of that file
    compare.py TAPER --save verdicts.json       and keeps every single verdict
    compare.py TAPER --reuse verdicts.json      asks the other tools nothing that they have answered there

TAPER is the built program `taper`. Run by hand, with a Python that has the packages of scripts/judges.txt, and
picklescan and fickling. Each file is given to each tool in a process of its own, with 10 s of processor time and 8 GB
more than the tool itself holds.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import forked
import make_hostile
import real
import scanners
from attacks.record import CANARY

BEGIN, END = "<!-- compare.py: begin -->", "<!-- compare.py: end -->"
TOOLS = ["taper scan", *scanners.IN_PROCESS]
LOADERS = {"torch.load", "fickling's environment"}
FAULTS = {"crash": "crashed", "hang": "took over 10 s", "memory": "took over 1 GB"}


def taper_verdicts(program, paths, folder):
    """{path: Outcome} of `taper scan`, one run for each file."""
    jobs = [
        {"name": str(path), "command": [program, "scan", "--json", str(path)], "folder": str(folder / path.name)}
        for path in paths
    ]
    runner = pathlib.Path(__file__).with_name("run_bounded.py")
    done = subprocess.run([sys.executable, runner], input=json.dumps(jobs), capture_output=True, text=True, check=True)
    outcomes = json.loads(done.stdout)
    found = {}
    for path in paths:
        outcome = outcomes[str(path)]
        found[path] = forked.Outcome(*scanners.of_taper(outcome), outcome["seconds"], 0)
    return found


def verdicts_of(tool, paths, folder, known):
    """{path: Outcome} of a tool of Python's; a payload that ran is the verdict `ran`. `known`: outcomes by name."""
    found = {}
    folder.mkdir()
    for path in paths:
        if path.name in known:
            found[path] = forked.Outcome(**known[path.name])
            continue
        outcome = forked.call(scanners.IN_PROCESS[tool], path, folder)
        if (folder / CANARY).exists():
            (folder / CANARY).unlink()
            outcome.verdict = "ran"
        found[path] = outcome
    return found


def caught(outcome):
    """Whether the user is kept from loading the file, or at least warned."""
    return outcome.verdict in ("dangerous", "unsure", "refused", *FAULTS)


def detection_table(records, outcomes):
    """Of the files that would run something: how many each tool stops or warns of."""
    lines = [row("class", "files", *TOOLS), row(*["---"] * (2 + len(TOOLS)))]
    groups = [group for group in make_hostile.BUILDERS if any(r["runs"] and r["group"] == group for r in records)]
    for group in [*groups, None]:
        names = [r["name"] for r in records if r["runs"] and group in (r["group"], None)]
        cells = [detection_cell(tool, [outcomes[tool][name] for name in names]) for tool in TOOLS]
        lines.append(row(group or "**all**", len(names), *cells))
    return lines


def detection_cell(tool, found):
    """`114` or, of a scanner, `110 + 4`: called dangerous, and warned of in another way."""
    total = sum(map(caught, found))
    dangerous = sum(outcome.verdict == "dangerous" for outcome in found)
    ran = sum(outcome.verdict == "ran" for outcome in found)
    counts = str(total) if tool in LOADERS or dangerous == total else f"{dangerous} + {total - dangerous}"
    return counts + (f", {ran} ran" if ran else "")


def alarm_table(names, outcomes):
    """Of real checkpoints: how many each tool stops or asks about."""
    heads = {"clean": "let pass", "unsure": "asked about", "refused": "not read", "dangerous": "called dangerous"}
    lines = [row("", *TOOLS), row(*["---"] * (1 + len(TOOLS)))]
    for verdict, head in (heads | FAULTS).items():
        counts = [sum(outcomes[tool][name].verdict == verdict for name in names) for tool in TOOLS]
        if any(counts) or verdict in heads:
            lines.append(row(head, *counts))
    return lines


def endurance_table(names, outcomes):
    """Of all files: faults and time."""
    found = [[outcomes[tool][name] for name in names] for tool in TOOLS]
    lines = [row("", *TOOLS), row(*["---"] * (1 + len(TOOLS)))]
    for verdict, head in FAULTS.items():
        lines.append(row(head, *[sum(outcome.verdict == verdict for outcome in of) for of in found]))
    lines.append(row("seconds in all", *[f"{sum(outcome.seconds for outcome in of):.0f}" for of in found]))
    lines.append(row("seconds at most", *[f"{max(outcome.seconds for outcome in of):.1f}" for of in found]))
    return lines


def row(*cells):
    return "| " + " | ".join(map(str, cells)) + " |"


def named(title, names):
    """A line with names, so that a claim can be checked; nothing if there are none."""
    return [f"- {title}: {', '.join(f'`{name}`' for name in sorted(names))}"] if names else []


def lists(records, real_names, outcomes):
    """Which files each tool errs on."""
    lines = []
    runs = [record["name"] for record in records if record["runs"]]
    everything = [record["name"] for record in records] + real_names
    for tool in TOOLS:
        of = outcomes[tool]
        passed = [name for name in runs if of[name].verdict == "clean"]
        lines += named(f"{tool}, {'loaded, and ran nothing' if tool in LOADERS else 'let pass'}", passed)
        lines += named(f"{tool}, ran the payload", [name for name in everything if of[name].verdict == "ran"])
        for verdict, head in FAULTS.items():
            lines += named(f"{tool}, {head}", [name for name in everything if of[name].verdict == verdict])
        alarmed = [name for name in real_names if of[name].verdict == "dangerous"]
        lines += named(f"{tool}, real and called dangerous", alarmed)
    return lines


def report(records, real_names, outcomes, versions):
    """The whole text."""
    names = [record["name"] for record in records] + real_names
    tools = ", ".join(f"{tool} {versions[tool]}" for tool in TOOLS)
    dangerous = sum(bool(record["runs"]) for record in records)
    return "\n".join(
        [
            f"Compared: {tools}; Python {sys.version.split()[0]}.",
            "",
            f"**Detection.** {dangerous} hostile files whose loading would run something. Of a scanner: how many it",
            "calls dangerous, + how many it warns of otherwise, can't read or doesn't finish; of a loader: how many it",
            "does not load.",
            "",
            *detection_table(records, outcomes),
            "",
            f"**False alarms.** {len(real_names)} real checkpoints.",
            "",
            *alarm_table(real_names, outcomes),
            "",
            f"**Endurance.** All {len(names)} files, with 10 s of processor time for each. The tools of Python are",
            "imported before the clock starts; `taper scan` is started anew for each file.",
            "",
            *endurance_table(names, outcomes),
            "",
            "**By name.**",
            "",
            *lists(records, real_names, outcomes),
        ]
    )


def put_between_marks(path, text):
    """Replaces what stands between the marks of a document."""
    document = path.read_text(encoding="utf-8")
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or END not in rest:
        raise SystemExit(f"{path} has no marks {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("taper", type=lambda path: str(pathlib.Path(path).resolve()))
    parser.add_argument("--write", type=pathlib.Path)
    parser.add_argument("--save", type=pathlib.Path)
    parser.add_argument("--reuse", type=pathlib.Path)
    parser.add_argument("--only", help="one class of attack, to try things out")
    options = parser.parse_args()
    known = json.loads(options.reuse.read_text(encoding="utf-8")) if options.reuse else {}
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work)
        groups = tuple(make_hostile.BUILDERS) if not options.only else (options.only,)
        written = make_hostile.write(folder / "hostile", groups)
        records = [record for record in written if record["program"] == "checkpoint"]
        real_paths = real.write(folder / "real")
        paths = [folder / "hostile" / record["name"] for record in records] + real_paths
        outcomes = {}
        for index, tool in enumerate(TOOLS):
            started = time.monotonic()
            if tool == "taper scan":
                found = taper_verdicts(options.taper, paths, folder / "runs")
            else:
                found = verdicts_of(tool, paths, folder / f"scratch{index}", known.get(tool, {}))
            outcomes[tool] = {path.name: outcome for path, outcome in found.items()}
            print(f"{tool}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    if options.save:
        kept = {tool: {name: vars(outcome) for name, outcome in of.items()} for tool, of in outcomes.items()}
        options.save.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    text = report(records, [path.name for path in real_paths], outcomes, scanners.versions(options.taper))
    print(text)
    if options.write:
        put_between_marks(options.write, text)


if __name__ == "__main__":
    main()
