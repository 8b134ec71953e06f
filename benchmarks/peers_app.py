"""Plain Celery: one task per SMS, sent by sleeping. The peers' worker runs this app."""

from __future__ import annotations

import os
import random
import time

from celery import Celery
from kombu import Exchange, Queue

TASK_NAME = "peers.send_sms"
QUEUE, WARM_UP_QUEUE = "peers", "warm-up"
#: Where the benchmark says what the worker is to be like.
VARIABLES = ("PEERS_MEAN_TIME", "PEERS_PREFETCH", "PEERS_SAFE")
#: As `sms_pipeline` draws them: gamma, bell-like, never negative.
SHAPE = 16

MEAN_TIME = float(os.environ.get("PEERS_MEAN_TIME", "0.001"))
IS_SAFE = os.environ.get("PEERS_SAFE", "yes") == "yes"


def queue(name: str, is_safe: bool = IS_SAFE) -> Queue:
    """Durable and replicated as ours are; or neither, for those who need not care."""
    if is_safe:
        exchange = Exchange(name, type="topic", durable=True)
        arguments = {"x-queue-type": "quorum"}
        return Queue(name, exchange, routing_key=name, queue_arguments=arguments)
    exchange = Exchange(name, type="direct", durable=False, delivery_mode="transient")
    return Queue(name, exchange, routing_key=name, durable=False)


app = Celery("peers", broker=os.environ.get("CELERY_BROKER_URL"))
app.conf.update(
    task_queues=[queue(WARM_UP_QUEUE), queue(QUEUE)],
    task_default_queue=WARM_UP_QUEUE,
    task_create_missing_queues=False,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    task_acks_late=IS_SAFE,
    task_serializer="json",
    worker_prefetch_multiplier=int(os.environ.get("PEERS_PREFETCH", "4")),
    worker_send_task_events=False,
    worker_enable_remote_control=True,
    # Each task would otherwise be logged, twice.
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    # Native delayed delivery is not used: nothing is retried here.
    worker_detect_quorum_queues=True,
)


@app.task(name=TASK_NAME)  # type: ignore[untyped-decorator]
def send_sms(to: str, text: str) -> None:
    """Keep one sender busy for as long as an SMS takes."""
    time.sleep(random.gammavariate(SHAPE, MEAN_TIME / SHAPE))
