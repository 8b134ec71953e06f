"""A forecast tells when messages will be on the phone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sms_pipeline.core.receipts import NO_RECEIPTS, OnPhone
from sms_pipeline.core.records import Snapshot
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.costs import NO_COSTS
from sms_pipeline.forecast.outlook import look_ahead, play
from sms_pipeline.forecast.rehearsal import rehearse
from sms_pipeline.forecast.saving import as_forecast, records_of
from sms_pipeline.forecast.setting import exact_setting
from sms_pipeline.forecast.thinning import Budget, thin
from sms_pipeline.testing import memory_ledger
from tests.unit import make

KNOWN = {"mean_time": 30, "missing": 0.1}
BUDGET = Budget(messages=20_000, batches=300)


def simulation(messages: int, count: int, mean_time: float) -> Simulation:
    """A kind of sender with receipts, and one without."""
    known = make.profile("a", count=count, mean_time=mean_time, receipts=KNOWN)
    plain = make.profile("b", count=count // 2, mean_time=mean_time)
    return make.simulation(num_messages=messages, senders=(known, plain))


def on_phone(snapshot: Snapshot) -> OnPhone:
    (of_a,) = (one.on_phone for one in snapshot.profiles if one.profile == "a")
    assert all(one.on_phone == NO_RECEIPTS for one in snapshot.profiles if one.profile == "b")
    return of_a


def test_receipts_change_nothing_else_of_a_run() -> None:
    known = simulation(2_000, 20, 0.1)
    plain = known.model_copy(
        update={
            "senders": tuple(one.model_copy(update={"receipts": None}) for one in known.senders)
        }
    )
    one, two = (rehearse(exact_setting(each, None, NO_COSTS), 1) for each in (known, plain))
    assert one.marks == two.marks
    assert two.snapshot.counts.on_phone == NO_RECEIPTS
    bare = [replace(part, on_phone=NO_RECEIPTS) for part in one.snapshot.profiles]
    assert tuple(bare) == two.snapshot.profiles


def test_each_delivered_message_has_a_receipt_or_none() -> None:
    seen = rehearse(exact_setting(simulation(5_000, 20, 0.1), None, NO_COSTS), 1)
    (part,) = (one for one in seen.snapshot.profiles if one.profile == "a")
    known = on_phone(seen.snapshot)
    assert known.delivered == part.delivered
    assert known.missing / known.delivered == pytest.approx(0.1, abs=0.02)
    # On average as long after its delivery as was set: few have failed
    assert part.mean_delivery is not None
    assert known.mean == pytest.approx(part.mean_delivery + 30, rel=0.05)


@pytest.mark.parametrize(
    "whole",
    [simulation(500_000, 10_000, 1.0), simulation(100_000, 8, 0.1)],
    ids=["wide", "long"],
)
def test_a_thinned_run_has_the_receipts_of_the_whole_one(whole: Simulation) -> None:
    setting = exact_setting(whole, None)
    thinned = thin(setting, BUDGET)
    assert thinned.factor > 1 or thinned.left_out
    exact, about = (
        runs.progress(runs.middle).counts.on_phone
        for runs in (play(setting, whole, 1, 1), play(thinned, whole, 1, 3))
    )
    assert about.receipts == pytest.approx(exact.receipts, rel=0.02)
    assert about.missing == pytest.approx(exact.missing, rel=0.1)
    assert exact.mean is not None
    assert about.mean == pytest.approx(exact.mean, rel=0.02)
    for share in (0.5, 0.95, 0.99):
        told = exact.percentile(share)
        assert told is not None
        assert about.percentile(share) == pytest.approx(told, rel=0.05)


def test_a_saved_forecast_has_its_receipts() -> None:
    ledger, outlook = memory_ledger(), look_ahead(simulation(3_000, 20, 0.1))
    run = ledger.start_run(as_forecast(outlook.simulation), 1, True)
    rows, settlements = records_of(outlook, run)
    assert ledger.record_batches(run.id, rows)
    ledger.settle(settlements)
    found, told = ledger.snapshot(run).counts.on_phone, outlook.progress.counts.on_phone
    assert (found.receipts, found.missing, found.longest) == (
        told.receipts,
        told.missing,
        told.longest,
    )
    assert found.times == {bucket: some for bucket, some in told.times.items() if some}
    assert found.seconds == pytest.approx(told.seconds)
