"""Forecasts of configurations with nothing to divide by, or with no last attempt."""

from __future__ import annotations

from sms_pipeline.core.retry import RetryPolicy, full_pause
from sms_pipeline.forecast.setting import exact_setting, work_seconds
from sms_pipeline.forecast.thinning import shares_of
from sms_pipeline.forecast.whole import _tail
from tests.unit import make


def test_senders_that_take_no_time_and_deliver_nothing_get_their_share() -> None:
    # Given one that fails every time at once, beside one that delivers
    never = make.profile(name="never", mean_time=0.0, failure_rate=1.0)
    some = make.profile(name="some", mean_time=0.1, failure_rate=0.0)
    both = make.simulation(senders=(never, some))
    # Then all the work is the other's
    assert shares_of(both) == {"never": 0.0, "some": 1.0}
    assert work_seconds(both, 1) > 0
    # And alone it gets everything
    assert shares_of(make.simulation(senders=(never,))) == {"never": 1.0}
    assert exact_setting(make.simulation(senders=(never,)), None).simulation.senders == (never,)


def test_a_message_with_no_last_attempt_has_a_tail() -> None:
    # Given retries that are still likely after thousands of attempts
    retry = RetryPolicy(max_attempts=None, backoff=1.0, backoff_max=60.0)
    profile = make.profile(mean_time=0.1, failure_rate=0.99)
    seconds = _tail(1e9, 0, profile, retry)
    assert 60.0 * 1_000 < seconds < 60.1 * 10_000
    assert full_pause(retry, 100_000) == 60.0
