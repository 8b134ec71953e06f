"""The reference: one process, an asyncio.Queue, N coroutines that sleep about a second.

This is the crude test that an earlier implementation was sized with. It has no broker, no record,
no retry: it is the least that any asyncio version must do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import time
from typing import Any

MEAN_SECONDS, DEVIATION_SECONDS = 1.0, 0.1
MESSAGES_PER_SENDER = 10


def measure(senders: int, messages_per_sender: int = MESSAGES_PER_SENDER) -> dict[str, Any]:
    """Send `senders * messages_per_sender` messages; rates in messages a second."""
    messages = senders * messages_per_sender
    began = time.perf_counter()
    asyncio.run(_send(senders, messages))
    seconds = time.perf_counter() - began
    return {
        "senders": senders,
        "messages": messages,
        "seconds": seconds,
        "rate": messages / seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


async def _send(senders: int, messages: int) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    for message in range(messages):
        queue.put_nowait(message)
    await asyncio.gather(*(_sender(queue) for _ in range(senders)))


async def _sender(queue: asyncio.Queue[int]) -> None:
    while True:
        try:
            queue.get_nowait()
        except asyncio.QueueEmpty:
            return
        await asyncio.sleep(max(random.gauss(MEAN_SECONDS, DEVIATION_SECONDS), 0))


def main() -> None:
    """Print one JSON object a number of senders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("senders", type=int, nargs="+")
    parser.add_argument("--messages-per-sender", type=int, default=MESSAGES_PER_SENDER)
    arguments = parser.parse_args()
    for senders in arguments.senders:
        print(json.dumps(measure(senders, arguments.messages_per_sender)), flush=True)


if __name__ == "__main__":
    main()
