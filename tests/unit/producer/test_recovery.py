"""When what is not settled is lost, and what `resume` does then."""

from __future__ import annotations

from sms_pipeline.core.records import Run
from sms_pipeline.producer.recovery import QUIET_SECONDS, quiet_seconds
from tests.unit import make


def test_quiet_is_longer_where_batches_are(run: Run) -> None:
    assert quiet_seconds(make.simulation()) == QUIET_SECONDS
    slow = make.simulation(senders=(make.profile(mean_time=30.0),), batch_size=2)
    assert quiet_seconds(slow) == 2 * (2 * 30 + 4 * 30)
