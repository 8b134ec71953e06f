"""What Celery's remote control may do to a worker."""

from __future__ import annotations

import pytest
from celery.worker.control import Panel

from sms_pipeline.worker import control

REFUSED = (
    "add_consumer",
    "autoscale",
    "cancel_consumer",
    "election",
    "pool_grow",
    "pool_restart",
    "pool_shrink",
    "rate_limit",
    "revoke",
    "revoke_by_stamped_headers",
    "terminate",
    "time_limit",
)


@pytest.fixture(autouse=True)
def _all_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Panel, "data", dict(Panel.data))
    control.refuse_what_strands()


@pytest.mark.parametrize("name", REFUSED)
def test_what_loses_or_strands_batches_is_refused(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = Panel.data[name](None, task_id="1", anything="else")
    assert answer["error"].startswith(f"{name} is refused")
    assert caplog.messages == [f"refused: remote control command {name}"]


def test_what_only_looks_is_answered_also_by_its_other_names() -> None:
    assert Panel.data["ping"](None) == {"ok": "pong"}
    assert Panel.data["dump_active"] is Panel.data["active"]


def test_every_command_is_either_harmless_or_refused() -> None:
    # A command that a later Celery brings is refused until somebody has looked at it.
    assert set(Panel.meta) == set(control.HARMLESS) | set(REFUSED)
