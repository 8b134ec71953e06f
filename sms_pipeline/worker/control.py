"""Celery's remote control: what may be asked of a worker, and what is refused."""

from __future__ import annotations

from typing import Any

from celery.utils.log import get_logger
from celery.worker.control import Panel

log = get_logger(__name__)

#: Commands that only look, those of events and of other workers, and the one that ends a worker:
#: what it has in hand goes back to the broker.
HARMLESS = frozenset(
    {
        "active",
        "active_queues",
        "clock",
        "conf",
        "disable_events",
        "enable_events",
        "heartbeat",
        "hello",
        "memdump",
        "memsample",
        "objgraph",
        "ping",
        "query_task",
        "registered",
        "report",
        "reserved",
        "revoked",
        "scheduled",
        "shutdown",
        "stats",
    }
)


def refuse_what_strands() -> None:
    """Refuse the commands that lose batches, or leave them waiting in a worker or a queue.

    A revoked batch would be acknowledged and never settled; one whose rate is limited waits in
    memory; a queue that nobody consumes any more waits for ever.
    """
    harmless = {id(handle) for name, handle in Panel.data.items() if name in HARMLESS}
    for name, handle in Panel.data.items():
        # A command's other names stand for the same function.
        if id(handle) not in harmless:
            Panel.data[name] = _refusal(name)


def _refusal(name: str) -> Any:
    def refuse(state: Any, **_: Any) -> dict[str, str]:
        log.warning("refused: remote control command %s", name)
        return {
            "error": f"{name} is refused: it could lose or strand batches. Use sms-pipeline pause, "
            "continue or cancel"
        }

    return refuse
