"""Every figure that is printed of a run is held to one that is computed from the tables alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.functional.terminal import Terminal
from tests.functional.truth import Figures, Truth

#: What rounding and reading at another moment may come to.
SAME = 0.01
#: Two neighbours of the histogram differ by so much.
A_BUCKET = 0.09
#: Times are printed to the microsecond.
ROUNDING = 1e-6
#: A message is settled soon after it ended.
COMMITTED_WITHIN_SECONDS = 2.0
SHARES = (0.5, 0.9, 0.99)
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
MESSAGES = 600


class Told:
    """What the commands print of a run that was rehearsed, and where its tables are."""

    def __init__(self, folder: Path, batch_size: int | str) -> None:
        folder.mkdir(exist_ok=True)
        terminal = Terminal(folder)
        terminal.configure(
            num_messages=MESSAGES,
            report_period=0.5,
            batch_size=batch_size,
            # Some are out of attempts, and some retries wait for a second or two.
            retry={"max_attempts": 3, "backoff": 1, "backoff_max": 2, "jitter": 0.5},
            senders=[
                {"name": "steady", "count": 20, "mean_time": 0.2, "failure_rate": 0.1},
                {"name": "shaky", "count": 10, "mean_time": 0.1, "failure_rate": 0.45},
            ],
        )
        ran = terminal.run("run", "--json")
        assert ran.code == 0, ran.err
        self.run: dict[str, Any] = ran.json
        reported = terminal.run("report", "--format", "json", "--output", "-")
        assert reported.code == 0, reported.err
        self.report: dict[str, Any] = json.loads(reported.out)
        self.truth = Truth(folder / "sms_pipeline.db", self.run["run"])
        terminal.close()

    @property
    def both(self) -> list[dict[str, Any]]:
        """The figures as `run` and as `report` print them."""
        return [self.run, self.report["progress"]]


@pytest.fixture(scope="module", params=[1, "auto"], ids="batches of {}".format)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A run with retries and failures, messages one by one or in batches."""
    return Told(tmp_path_factory.mktemp("truth"), request.param)


def assert_told(shown: dict[str, Any], figures: Figures) -> None:
    """The counts exactly, the times as nearly as they are printed."""
    assert {name: shown[name] for name in figures.counts} == figures.counts
    assert shown["attempts"] == figures.attempts
    assert shown["failed_attempts"] == figures.failed_attempts
    assert shown["failure_rate_seen"] == near(figures.failed_attempts / figures.attempts)
    assert shown["mean_delivery_seconds"] == near(figures.mean_delivery)
    assert shown["mean_transit_seconds"] == near(figures.mean_transit)
    assert shown["mean_send_seconds"] == near(figures.mean_send)
    assert shown["mean_send_in_all_seconds"] == near(figures.mean_send_in_all)


def near(value: float) -> Any:
    return pytest.approx(value, rel=SAME)


def test_the_run_is_one_that_says_something(told: Told) -> None:
    figures = told.truth.figures()
    assert figures.counts["failed"] > 0
    assert figures.failed_attempts > figures.counts["failed"]
    assert sum(figures.counts.values()) == MESSAGES
    assert len(told.truth.profiles) == 2


def test_counts_and_means_of_all_messages(told: Told) -> None:
    for shown in told.both:
        assert_told(shown, told.truth.figures())
        assert shown["reached"] == near(told.truth.figures().counts["delivered"] / MESSAGES)


def test_counts_means_shares_and_efficiency_of_each_profile(told: Told) -> None:
    for shown in told.both:
        profiles = {profile["name"]: profile for profile in shown["profiles"]}
        assert sorted(profiles) == told.truth.profiles
        for name, profile in profiles.items():
            assert_told(profile, told.truth.figures(name))
            assert profile["share"] == near(told.truth.share(name))
            assert profile["efficiency"] == near(told.truth.efficiency(name))
            assert 0 < profile["efficiency"] <= 1


def test_senders_are_those_of_the_workers_that_took_part(told: Told) -> None:
    for shown in told.both:
        for profile in shown["profiles"]:
            workers = [one for one in told.truth.workers if one["profile"] == profile["name"]]
            assert profile["senders"] == sum(one["senders"] for one in workers)
            (rate,) = {one["failure_rate"] for one in workers}
            assert profile["failure_rate"] == rate


def test_time_and_average_rate(told: Told) -> None:
    for shown in told.both:
        assert shown["seconds"] == near(told.truth.seconds)
        assert shown["average_rate"] == near(told.truth.average_rate)


def test_time_until_a_share_is_reached(told: Told) -> None:
    shown = told.report["course"]["time_to_reach"]
    expected = {f"{share:g}": told.truth.time_to_reach(share) for share in SHARES}
    assert shown == {
        share: None if seconds is None else near(seconds) for share, seconds in expected.items()
    }
    assert shown["0.5"] is not None


def test_percentiles_of_the_delivery_time(told: Told) -> None:
    is_exact = len(told.truth.batches) == MESSAGES
    for shown in told.both:
        for name, share in PERCENTILES.items():
            found = shown[f"{name}_delivery_seconds"]
            if is_exact:
                assert found == pytest.approx(told.truth.percentile(share), rel=A_BUCKET)
            end = told.truth.bucket_end(share)
            assert end / (1 + A_BUCKET) * (1 - SAME) <= found <= end + ROUNDING


@pytest.mark.parametrize("told", [1], indirect=True, ids="batches of {}".format)
def test_delivery_times_count_from_the_start_of_the_run(told: Told) -> None:
    # Given batches that have one message each, so that each settlement has that of one message
    assert len(told.truth.batches) == MESSAGES
    queued = {row["number"]: row["queued_at"] for row in told.truth.batches}
    for row in told.truth.settlements:
        if not row["delivered"] + row["failed"]:
            continue
        # Then it is what passed until that settlement; transit counts from its dispatch
        lag = row["settled_at"] - told.truth.run["started_at"] - row["delivery_seconds"]
        assert 0 <= lag < COMMITTED_WITHIN_SECONDS
        waited = row["delivery_seconds"] - row["transit_seconds"]
        assert waited == pytest.approx(
            queued[row["batch"]] - told.truth.run["started_at"], abs=1e-4
        )
