"""Publishes N single messages to the plain Celery app, from several threads; prints when.

Each thread has a connection of its own; a safe publish waits for the broker's confirmation.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Sequence

from kombu import Connection

from benchmarks import peers_app
from sms_pipeline.core.messages import SEPARATOR, make_columns

MAX_TEXT_LENGTH = 100
_SEED = 1


def publish(messages: Sequence[tuple[str, str]], queue: str, is_safe: bool) -> None:
    """One task for each message."""
    options = {"confirm_publish": is_safe}
    url = os.environ["CELERY_BROKER_URL"]
    with Connection(url, transport_options=options) as connection:
        producer = connection.Producer(serializer="json")
        for to, text in messages:
            peers_app.send_sms.apply_async(
                (to, text), producer=producer, queue=queue, argsrepr="", kwargsrepr="", retry=False
            )


def make_messages(count: int) -> list[tuple[str, str]]:
    """Random numbers and texts, as the producer makes them."""
    columns = make_columns(_SEED, 0, count, MAX_TEXT_LENGTH, "xxx-xxx-xxxx")
    return list(zip(columns.to.split(SEPARATOR), columns.text.split(SEPARATOR), strict=True))


def main() -> None:
    """Print one JSON object: when the first publish began, when the last was done, CPU seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("messages", type=int)
    parser.add_argument("--queue", default=peers_app.QUEUE)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    messages = make_messages(chosen.messages)
    threads = [
        threading.Thread(
            target=publish, args=(messages[part :: chosen.threads], chosen.queue, peers_app.IS_SAFE)
        )
        for part in range(chosen.threads)
    ]
    began_at, cpu = time.time(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cpu = time.process_time() - cpu
    found = {"began_at": began_at, "ended_at": time.time(), "cpu_seconds": cpu}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
