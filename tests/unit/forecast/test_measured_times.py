"""Forecasts of profiles with measured times."""

from __future__ import annotations

import pytest

from sms_pipeline.core.empirical import mean_of, shape_of
from sms_pipeline.forecast.setting import exact_setting
from sms_pipeline.forecast.thinning import Budget, thin
from tests.unit import make

TIMES = (1.0, 1.1, 1.2, 9.0)
MEAN = mean_of(TIMES)


def test_a_message_that_stands_for_many_varies_as_their_sum_does() -> None:
    sender = make.profile(count=1_000, mean_time=MEAN, times=TIMES)
    whole = exact_setting(make.simulation(num_messages=1_000_000, senders=(sender,)), None)
    found = thin(whole, Budget(messages=30, batches=1_000))
    (thinned,) = found.simulation.senders
    bundle = found.factor * thinned.count / sender.count
    assert bundle > 2
    assert thinned.times is None
    assert thinned.mean_time == pytest.approx(MEAN * bundle)
    assert thinned.shape == pytest.approx(shape_of(TIMES) * bundle)
