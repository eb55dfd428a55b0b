"""The zoo of networks: none that was accepted once is refused now."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "zoo"))

from judge import JUDGES, committed, judge_all


@pytest.fixture(scope="module")
def verdicts():
    """The verdicts by network, form and judge."""
    results = judge_all()
    return {
        (name, form, judge): verdict
        for name, forms in results.items()
        for form, judges in forms.items()
        for judge, verdict in judges.items()
    }


def test_every_network_that_was_accepted_still_is(verdicts):
    fallen = {key: verdicts.get(key, "is gone") for key, accepted in committed().items() if accepted}
    fallen = {key: verdict for key, verdict in fallen.items() if verdict != "ok"}
    assert not fallen, "\n".join(f"{' '.join(key)}: {verdict[:500]}" for key, verdict in fallen.items())


def test_the_table_is_up_to_date(verdicts):
    known = committed()
    better = [" ".join(key) for key, verdict in verdicts.items() if verdict == "ok" and not known.get(key)]
    assert not better, f"run tests/zoo/judge.py --update, since these are accepted now: {', '.join(better)}"


def test_there_are_at_least_forty_networks_that_every_judge_accepts(verdicts):
    networks = {name for name, _, _ in verdicts}
    whole = {
        name
        for name in networks
        if any(all(verdicts.get((name, form, judge)) == "ok" for judge in JUDGES) for form in ("pt2", "scripted"))
    }
    assert len(whole) >= 40
