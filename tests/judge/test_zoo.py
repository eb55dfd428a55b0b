"""The zoo of networks: none that was accepted once is refused now."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "zoo"))

from judge import committed, judge_all


ACCEPTED = [key for key, accepted in committed().items() if accepted]


@pytest.fixture(scope="module")
def verdicts():
    """The verdicts by network, form and judge, of the networks in the table."""
    results = judge_all({network for network, _, _ in ACCEPTED})
    return {
        (name, form, judge): verdict
        for name, forms in results.items()
        for form, judges in forms.items()
        for judge, verdict in judges.items()
    }


@pytest.mark.skipif(not ACCEPTED, reason="the table is empty")
def test_every_network_that_was_accepted_still_is(verdicts):
    fallen = {key: verdicts.get(key, "is gone") for key in ACCEPTED}
    fallen = {key: verdict for key, verdict in fallen.items() if verdict != "ok"}
    assert not fallen, "\n".join(f"{' '.join(key)}: {verdict[:500]}" for key, verdict in fallen.items())
