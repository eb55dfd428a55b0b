"""What other tools say of a file. Each function returns (verdict, detail) and is called in a process of its own.

Verdicts: `clean` (or, of a loader, loaded), `unsure` (the user is to decide), `dangerous`, `refused` (can't be read, or
a loader does not load it).
"""

import importlib.metadata
import json
import logging
import subprocess
import zipfile

import fickling.hook
import fickling.loader
import picklescan.scanner
import torch
from fickling.analysis import Severity

logging.disable(logging.CRITICAL)

# The words for which `taper scan` has others.
TAPER_VERDICTS = {"clean": "clean", "unknown": "unsure", "dangerous": "dangerous", "unreadable": "refused"}


def torch_weights_only(path):
    """PyTorch's loader of weights."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  (whatever it raises, it did not load)
        return "refused", f"{type(error).__name__}: {error}"[:300]
    return "clean", ""


def with_picklescan(path):
    """picklescan, as its command line calls it: it ends with 1 for dangerous globals and with 2 for errors."""
    try:
        result = picklescan.scanner.scan_file_path(str(path))
    except Exception as error:  # noqa: BLE001
        return "refused", f"{type(error).__name__}: {error}"[:300]
    names = [f"{found.module}.{found.name}" for found in result.globals]
    if result.issues_count:
        return "dangerous", " ".join(names)[:300]
    if result.scan_err:
        return "refused", "scan_err"
    return ("unsure" if result.suspicious_count else "clean"), " ".join(names)[:300]


def with_fickling(path):
    """fickling's static analysis, called for zip files and others as it does for a repository of models."""
    try:
        if zipfile.is_zipfile(path):
            results = list(fickling.loader.scan_zip_archive(str(path), graceful=True).values())
        else:
            results = [fickling.loader.scan_file(str(path), graceful=True)]
    except Exception as error:  # noqa: BLE001
        return "refused", f"{type(error).__name__}: {error}"[:300]
    worst = max((result.severity for result in results), default=Severity.LIKELY_SAFE)
    errors = [error for result in results for error in result.errors]
    if worst >= Severity.LIKELY_OVERTLY_MALICIOUS:
        return "dangerous", worst.name
    if errors:
        return "refused", errors[0][:300]
    return ("unsure" if worst > Severity.LIKELY_SAFE else "clean"), worst.name


def with_fickling_environment(path):
    """torch.load under fickling's list of what machine learning needs."""
    fickling.hook.activate_safe_ml_environment()
    try:
        torch.load(path, map_location="cpu", weights_only=False)
    except BaseException as error:  # noqa: BLE001
        return "refused", f"{type(error).__name__}: {error}"[:300]
    return "clean", ""


def of_taper(outcome):
    """The verdict of `taper scan --json`, run by run_bounded."""
    if outcome["late"]:
        return "hang", f"{outcome['seconds']:.0f} s"
    try:
        (file,) = json.loads(outcome["stdout"])["files"]
    except (ValueError, KeyError):
        return "crash", f"status {outcome['status']}: {outcome['stderr'][:200]}"
    if outcome["peak_bytes"] > 1_000_000_000:
        return "memory", f"{outcome['peak_bytes'] / 1e6:.0f} MB"
    return TAPER_VERDICTS[file["verdict"]], file.get("reason", "")[:300]


IN_PROCESS = {
    "torch.load": torch_weights_only,
    "picklescan": with_picklescan,
    "fickling": with_fickling,
    "fickling's environment": with_fickling_environment,
}


def versions(taper):
    """The tools with their versions, for the heads of columns."""
    own = subprocess.run([taper, "--version"], capture_output=True, text=True, check=True).stdout
    pickle_scan, fickle = (importlib.metadata.version(name) for name in ("picklescan", "fickling"))
    return {
        "taper scan": own.split()[-1],
        "torch.load": torch.__version__.partition("+")[0],
        "picklescan": pickle_scan,
        "fickling": fickle,
        "fickling's environment": fickle,
    }
