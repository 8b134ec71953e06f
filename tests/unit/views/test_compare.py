"""Two runs side by side: figures, differences, and what was set otherwise."""

from __future__ import annotations

import json

import pytest

from sms_pipeline.core.records import Run
from sms_pipeline.core.run_state import RunState
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views.compare import Comparison, Figure, compare, differing, settings_of, show
from tests.unit import make
from tests.unit.make import NOON

Output = pytest.CaptureFixture[str]


def finished(ledger: Ledger, seconds: float, failed: int = 0, **values: object) -> Run:
    """A run of ten messages that took so long."""
    run = ledger.start_run(make.simulation(num_messages=10, **values), seed=7)
    ledger.record_batches(run.id, [make.row(run.id)])
    ended = make.settlement(run.id, delivered=10 - failed, failed=failed, settled_at=NOON + seconds)
    ledger.settle([ended])
    return run


@pytest.fixture
def comparison(ledger: Ledger) -> Comparison:
    """The second run took twice as long, failed once and had another batch size."""
    first, second = finished(ledger, 2), finished(ledger, 4, failed=1, batch_size=10)
    return compare(first, second, ledger)


def test_difference_and_change() -> None:
    assert Figure("delivered", 8, 10).difference == 2
    assert Figure("delivered", 8, 10).change == 0.25
    assert Figure("delivered", 0, 10).change is None
    assert (Figure("p50", None, 1).difference, Figure("p50", None, 1).change) == (None, None)


def test_figures_are_those_of_both_runs(comparison: Comparison) -> None:
    figures = {one.name: one for one in comparison.figures}
    assert (figures["delivered"].first, figures["delivered"].second) == (10, 9)
    assert figures["seconds"].change == pytest.approx(1.0)
    assert figures["reached_90%_seconds"].second == pytest.approx(4)
    assert figures["reached_99%_seconds"].second is None
    assert comparison.states == (RunState.DONE, RunState.DONE)


def test_settings_that_differ(comparison: Comparison) -> None:
    assert comparison.settings == (("batch_size", "auto", 10),)


def test_profiles_are_told_apart_by_their_names(ledger: Ledger) -> None:
    first = finished(ledger, 1)
    second = finished(ledger, 1, senders=[make.profile("slow", mean_time=0.5)])
    changed = {one.key: (one.first, one.second) for one in compare(first, second, ledger).settings}
    assert changed["senders.slow.mean_time"] == (0.1, 0.5)
    assert changed["senders.fast.mean_time"] == (0.1, None)
    assert not any(key.startswith("senders.slow.c") for key in changed)


def test_thresholds_and_seeds_count_as_settings(ledger: Ledger) -> None:
    run = finished(ledger, 1, thresholds=[{"check": "failed < 1%"}])
    values = settings_of(run)
    assert (values["seed"], values["thresholds"]) == (7, ["failed < 1%"])


def test_keys_are_in_the_order_of_the_configuration() -> None:
    found = differing({"a": 1, "b": 2, "c": 3}, {"d": 4, "b": 2, "a": 0})
    assert [one.key for one in found] == ["a", "c", "d"]


def test_tables(comparison: Comparison, capsys: Output) -> None:
    show(comparison, as_json=False)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "run 1 run 2 difference change",
        "state done done",
        "average time per message 0.200 s 0.200 s 0.000 s 0.0%",
        "average transit 0.150 s 0.150 s 0.000 s 0.0%",
        "delivered 10 9 -1 -10.0%",
        "failed 0 1 +1 -",
        "duration 2.0 s 4.0 s +2.0 s +100.0%",
        "average rate 5.0/s 2.5/s -2.5/s -50.0%",
        "failure rate seen 0.0% 10.0% +10.0 points -",
        "reached 99% 2.0 s - - -",
        "configuration run 1 run 2",
        "batch_size auto 10",
    ):
        assert line in lines, line


def test_equal_configurations_and_runs_that_go_on_are_named(ledger: Ledger, capsys: Output) -> None:
    first = finished(ledger, 1)
    second = ledger.start_run(make.simulation(num_messages=10), seed=7)
    show(compare(first, second, ledger), as_json=False)
    out = capsys.readouterr().out
    assert "Both runs had the same configuration." in out
    assert "Run 2 is not done; its figures are as of now." in out
    assert "Run 2 is stalled: go on with sms-pipeline resume 2" in out
    assert "Run 1 is" not in out


def test_json(comparison: Comparison, capsys: Output) -> None:
    show(comparison, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] == [1, 2]
    assert (found["states"], found["done"]) == (["done", "done"], [True, True])
    assert found["figures"]["delivered"] == {
        "first": 10,
        "second": 9,
        "difference": -1,
        "change": -0.1,
    }
    assert found["configuration"] == {"batch_size": {"first": "auto", "second": 10}}
