"""What the tests share: the program under test, exported models, and references."""

import functools
import os
import re

import pytest
import torch

from program import EXPORT_MODELS, export, write_config
from references import FAMILIES, VARIANTS, default_case, source_arguments, variant_case


def pytest_configure(config):
    del config
    torch.set_num_threads(1)
    if not os.access(EXPORT_MODELS, os.X_OK):
        pytest.exit(f"{EXPORT_MODELS} is missing: run scripts/build, or name a program in TAPER_EXPORT_MODELS", 2)


def case_names():
    """Every model that outputs are compared for: the four families in default size, and each committed variant."""
    return [f"default {family}" for family in FAMILIES] + [record["model"] for record in VARIANTS]


def file_safe(*words):
    """One word for the name of a file."""
    return re.sub(r"\W+", "_", " ".join(words))


class Exports:
    """Models exported once per session: default sizes with the gloss head, small variants with all heads."""

    def __init__(self, folder):
        self.folder = folder

    @functools.cache  # noqa: B019  (there is one, which lives as long as the session)
    def case(self, name):
        """The case called `name`."""
        if name.startswith("default "):
            return default_case(name.removeprefix("default "), self.folder)
        return variant_case(next(record for record in VARIANTS if record["model"] == name))

    @functools.cache  # noqa: B019
    def run(self, name, *flags):
        """The run that exported the case called `name`, with further `flags`."""
        case = self.case(name)
        folder = self.folder / file_safe(name, *flags)
        arguments = [*source_arguments(case.key, case.checkpoint), *case.arguments]
        if case.config:
            arguments += ["--config", write_config(folder, {case.key: case.config})]
        return export(folder, *arguments, "--heads", case.heads, *flags)

    def file(self, name, kind, *flags):
        """The exported file of a case: `kind` is onnx, tf, fp32 or fp16."""
        return self.run(name, *flags).expect(0).path(self.case(name).key, kind)


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """The shared exports."""
    return Exports(tmp_path_factory.mktemp("exports"))


@pytest.fixture(params=case_names())
def case_name(request):
    """Runs a test for every model."""
    return request.param
