"""What a delivery log says is told in words, and written as comments that are only comments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sms_pipeline.config.files import load_simulation
from sms_pipeline.core.calibration import Bursts, Estimate, Misfit
from sms_pipeline.forecast.calibration import CalibratedProfile, Calibration
from sms_pipeline.forecast.delivery_log import Attempts, DeliveryLog
from sms_pipeline.forecast.log_columns import Columns
from sms_pipeline.views.calibration import load, notes, to_json
from sms_pipeline.views.fleet_file import save_fleet
from tests.unit import make

MISFIT = Misfit(level=0.95, measured=9.1, fitted=7.0)
BURSTS = Bursts(
    dispersion=48.0,
    found=True,
    minutes=60,
    bad_minutes=3,
    worst_at=1_790_000_040.0,
    worst_rate=0.92,
    rate_outside=0.02,
)


def calibrated(**values: Any) -> CalibratedProfile:
    """A profile of which nothing is doubtful, but for the values."""
    return CalibratedProfile(
        **{
            "profile": make.profile("att", count=95, mean_time=0.95, shape=3.0),
            "attempts": 1_000,
            "timed": 1_000,
            "missing": 0,
            "final": 1_000,
            "failed": 100,
            "mean_time": Estimate(0.951, 0.948, 0.954),
            "shape": Estimate(3.02, 2.98, 3.05),
            "failure_rate": Estimate(0.1, 0.09, 0.11),
            "rates": {1.0: 130.0, 10.0: 102.0, 60.0: 100.0},
            "misfit": None,
            "bursts": None,
            "whole_seconds": False,
            "mean_delivered": 0.95,
            "mean_failed": 0.96,
            **values,
        }
    )


def calibration(*profiles: CalibratedProfile, **values: Any) -> Calibration:
    """Of a log with guessed columns."""
    columns = Columns("sent_at", "done_at", "state", "carrier", ("sent", "ended"))
    nothing = Attempts(np.array([]), np.array([]), np.array([], np.int8))
    log = DeliveryLog(Path("log.csv"), columns, 1_000, {"att": nothing}, {})
    return Calibration(log._replace(**values), profiles or (calibrated(),), {"dark": "no light"})


def test_nothing_is_said_of_a_log_that_is_sound() -> None:
    assert notes(calibrated()) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"timed": 12}, ["only 12 attempts"]),
        ({"mean_time": Estimate(0, 0, 0)}, ["no attempt took any time"]),
        ({"missing": 50, "final": 950}, ["50 attempts (5.0%) have no receipt", "15.0%"]),
        ({"missing": 50}, ["50 attempts (5.0%) have no end"]),
        ({"missing": 1}, ["1 attempt (0.1%) has no end; its time is not counted"]),
        ({"missing": 1, "final": 950}, ["1 attempt (0.1%) has no receipt", "If it was not"]),
        (
            {"bursts": BURSTS},
            [
                "outages, not a rate",
                "48 times",
                "3 of 60 minutes are bad",
                "2026-09-21T14:14:00.000+00:00 with 92.0%",
                "in the others 2.0% fail",
            ],
        ),
        ({"bursts": BURSTS._replace(found=False)}, []),
        ({"misfit": MISFIT}, ["95.0% of them are below 9.1 s, where it has 7 s", "--empirical"]),
        (
            {"misfit": MISFIT, "profile": make.profile(count=95, times=(0.5, 1.4))},
            ["the measured times are used"],
        ),
        ({"whole_seconds": True}, ["whole seconds", "shape is too low"]),
        ({"whole_seconds": True, "mean_time": Estimate(30, 29, 31)}, []),
        ({"mean_failed": 4.2}, ["failed attempts take 4.2 s, delivered ones 0.95 s"]),
        ({"mean_failed": None}, []),
        ({"rates": {10.0: 500.0}}, ["500/s began in the busiest 10 s", "100/s"]),
    ],
)
def test_what_is_doubtful_is_told(values: dict[str, Any], words: list[str]) -> None:
    found = notes(calibrated(**values))
    assert len(found) == bool(words)
    for word in words:
        assert word in found[0]


@pytest.mark.parametrize(
    ("rates", "judged"),
    [
        ({1.0: 130.0, 10.0: 102.0, 60.0: 100.0}, "kept for a minute"),
        ({1.0: 130.0, 10.0: 102.0, 60.0: 50.0}, "the limit may be higher"),
        ({1.0: 130.0, 10.0: 102.0}, "too short to tell"),
    ],
)
def test_the_rate_is_told_with_whether_it_is_a_limit(
    rates: dict[float, float], judged: str
) -> None:
    told = load(calibrated(rates=rates))
    assert "busiest second 130/s, 10 s 102/s" in told
    assert judged in told


def written(path: Path, found: Calibration) -> str:
    """The file that `run` would read; it must be one."""
    save_fleet(found, path / "fleet.yml")
    assert len(load_simulation(path / "fleet.yml").senders) == len(found.profiles)
    return (path / "fleet.yml").read_text()


def test_the_file_says_where_its_figures_are_from(tmp_path: Path) -> None:
    text = written(tmp_path, calibration(calibrated(missing=50, final=950)))
    for word in (
        "# Senders as in log.csv.",
        "columns sent=sent_at, ended=done_at, status=state, profile=carrier",
        "(guessed:",
        "# dark is left out: no light.",
        "  # mean time 0.951 s (0.948 s to 0.954 s), shape 3.02 (2.98 to 3.05)",
        "  # failure rate 10.0% (9.0% to 11.0%)",
        "  # 50 attempts (5.0%) have no receipt",
    ):
        assert word in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", ["true", "null", "123", "1e5", "-", "att"])
def test_any_name_of_a_profile_is_a_name(tmp_path: Path, name: str) -> None:
    one = calibrated(profile=make.profile(name, count=95, mean_time=0.95))
    written(tmp_path, calibration(one))
    assert load_simulation(tmp_path / "fleet.yml").senders[0].name == name


@pytest.mark.parametrize("value", [1e-7, 1e-05, 0.1, 3.0, 12_345.6, 40_000.0])
def test_any_time_is_a_number(tmp_path: Path, value: float) -> None:
    one = make.profile(count=95, mean_time=value, failure_rate=1e-5)
    other = make.profile("measured", times=(value, 2 * value))
    written(tmp_path, calibration(calibrated(profile=one), calibrated(profile=other)))
    found = load_simulation(tmp_path / "fleet.yml").senders
    assert (found[0].mean_time, found[0].failure_rate) == (value, 1e-5)
    assert found[1].times == (value, 2 * value)


def test_many_times_are_folded(tmp_path: Path) -> None:
    times = tuple(float(number) for number in range(1, 201))
    text = written(tmp_path, calibration(calibrated(profile=make.profile(times=times))))
    assert max(map(len, text.splitlines())) <= 100
    assert load_simulation(tmp_path / "fleet.yml").senders[0].times == times


def test_names_in_a_log_cant_leave_their_comment(tmp_path: Path) -> None:
    evil = "x\nsenders: []\r\u2028num_messages: 5\x85#"
    columns = Columns(evil, evil, evil, None, ())
    found = calibration(columns=columns, path=Path(evil), renamed={evil: "att"})
    text = written(tmp_path, found)
    assert load_simulation(tmp_path / "fleet.yml").num_messages == 1_000
    assert text.count("\nsenders:") == 1


def test_json_has_the_parameters_and_what_is_doubtful() -> None:
    found = to_json(calibration(calibrated(misfit=MISFIT, bursts=BURSTS)))
    (profile,) = found["profiles"]
    assert (profile["name"], profile["count"], profile["mean_time"]) == ("att", 95, 0.95)
    assert profile["intervals"]["shape"] == [2.98, 3.05]
    assert profile["bursts"]["dispersion"] == 48
    assert profile["misfit"]["level"] == 0.95
    assert profile["busiest"][1] == {"seconds": 10, "attempts_per_second": 102}
    assert profile["rate_held"] is True
    assert len(profile["notes"]) == 2
    assert found["left_out"] == {"dark": "no light"}
