"""What to do with a batch of another ledger. Pure.

Either the batch is left over from another ledger, or this worker is connected to the wrong one: its
queue is then full of such batches, and they are not its to dispose of. A worker can't tell which by
one batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

#: So often a batch goes back to its queue before it is put aside.
MOST_RETURNS = 3
#: Where RabbitMQ counts the returns of a message to a quorum queue; by version.
_COUNTS = ("x-delivery-count", "x-acquired-count")


class Fate(Enum):
    """Of a batch of another ledger, and of the worker that received it."""

    #: To the dead-letter queue. Its ledger's `resume` dispatches it again.
    ASIDE = auto()
    #: Back to its queue, for a worker of its own ledger. This one goes on.
    BACK = auto()
    #: Back to its queue; this worker has seen no batch of its own ledger, so it ends.
    BACK_AND_END = auto()


def fate_of(returns: int, at_home: bool) -> Fate:
    """What becomes of it.

    Args:
        returns: how often it went back to its queue.
        at_home: whether the worker has received a batch of its own ledger.
    """
    if returns >= MOST_RETURNS:
        return Fate.ASIDE
    return Fate.BACK if at_home else Fate.BACK_AND_END


def returns_of(headers: Mapping[str, Any], redelivered: bool) -> int:
    """How often a message went back to its queue. Classic queues tell only whether it did.

    There a second return is one too many, or nothing would ever be put aside.
    """
    counts = [count for name in _COUNTS if isinstance(count := headers.get(name), int)]
    if counts:
        return max(counts)
    return MOST_RETURNS if redelivered else 0
