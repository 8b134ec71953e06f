"""Plain Celery, one task per SMS, beside `sms_pipeline`: same broker, same run, same texts.

Plain Celery gets every chance: warm workers, the best of several settings for each pool, nothing
logged, no events, no ledger, no retries, a publisher of several threads, and messages that take a
millisecond, so that its senders are never the limit. As ours, its queue is a durable quorum queue,
publishes are confirmed and tasks acknowledged late. Three rates are measured of each pool:
publishing alone, consuming a filled queue alone, and both at once from the first publish to the
last acknowledgement, which is the rate to compare.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from celery import Celery
from kombu import Connection

from benchmarks import harness, peers_app
from benchmarks.harness import Record
from benchmarks.rehearsal import (
    MILLION,
    Meter,
    Services,
    Setting,
    Usage,
    rehearse,
)
from tests.services.processes import GuardedProcess

NAME = "peers"
MEAN_SECONDS = 0.001
MESSAGES, TRIAL_MESSAGES, WARM_UP_MESSAGES = 6_000, 1_500, 300
TINY_MESSAGES = 100
PUBLISHERS = 4
TIMEOUT_SECONDS = 120.0
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05
_ROOT = Path(__file__).parents[1]
#: Ours has far more to send in the same time, or it would end before it had begun.
OURS = Setting(messages=4_000_000, senders=2_000, mean_time=MEAN_SECONDS)
OURS_SINGLE = replace(OURS, messages=6_000, batch_size=1)
#: Celery's word for a prefetch without limit.
NO_LIMIT = 0
#: Prints how many messages are in one queue, ready and unacknowledged. (The worker declares many
#: queues more, for delays; to ask all of them would take the broker's time.)
QUEUE_DEPTH = """
{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)),
Count = case amqqueue:get_type(Queue) of
  rabbit_quorum_queue ->
    {{ok, Total, _}} = ra:consistent_query(
      amqqueue:get_pid(Queue), fun rabbit_fifo:query_messages_total/1, 15000),
    Total;
  _ -> proplists:get_value(messages, rabbit_amqqueue:info(Queue, [messages]))
end,
io:format("~b~n", [Count])"""


@dataclass(frozen=True)
class Peer:
    """A plain Celery worker and how it is set."""

    pool: str
    concurrency: int
    prefetch: int
    #: Durable quorum queue, confirmed publishes, late acknowledgement; else none of them.
    is_safe: bool = True

    @property
    def title(self) -> str:
        """For the table."""
        return f"Celery, {self.pool}{'' if self.is_safe else ', unsafe'}"

    @property
    def chosen(self) -> str:
        """What was chosen."""
        return f"concurrency {self.concurrency}, prefetch multiplier {self.prefetch}"


#: What is tried of each pool before the best is measured.
CANDIDATES = (
    Peer("threads", 10, 4),
    Peer("threads", 20, 10),
    Peer("threads", 50, 4),
    Peer("gevent", 20, 10),
    Peer("gevent", 50, 4),
    Peer("gevent", 200, 4),
    Peer("prefork", 4, 10),
    Peer("prefork", 4, 100),
    Peer("prefork", 8, 20),
)
POOLS = ("threads", "gevent", "prefork")


class Worker:
    """A plain Celery worker that runs, warm, on a virtual host of its own."""

    def __init__(self, services: Services, peer: Peer, url: str, folder: Path) -> None:
        """Start it."""
        self._services = services
        self._peer = peer
        self._url = url
        self._environment = {
            **os.environ,
            "CELERY_BROKER_URL": url,
            "PEERS_MEAN_TIME": str(MEAN_SECONDS),
            "PEERS_PREFETCH": str(peer.prefetch),
            "PEERS_SAFE": "yes" if peer.is_safe else "no",
        }
        self._control = Celery(broker=url).control
        self.process = GuardedProcess(
            worker_command(peer),
            cwd=_ROOT,
            environment=self._environment,
            log=folder / f"{peer.pool}.log",
        )

    def warm_up(self, messages: int) -> None:
        """Let it work until all that is loaded at first use has been."""
        self.publish(messages, peers_app.WARM_UP_QUEUE)
        self.await_empty(peers_app.WARM_UP_QUEUE)

    def publish(self, messages: int, queue: str = peers_app.QUEUE) -> dict[str, float]:
        """Publish from a process of its own; return its own times."""
        done = subprocess.run(
            publisher_command(messages, queue),
            cwd=_ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        times: dict[str, float] = json.loads(done.stdout)
        return times

    def await_empty(self, queue: str = peers_app.QUEUE) -> float:
        """Wait until everything in the queue is acknowledged; return when."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self._depth(queue):
            assert self.process.running, self.process.log_tail()
            assert time.monotonic() < deadline, f"{self._peer.title} is too slow"
            time.sleep(_POLL_SECONDS)
        return time.time()

    def stop_consuming(self) -> None:
        """Leave the queue alone; it is still there."""
        assert self._control.cancel_consumer(peers_app.QUEUE, reply=True), "no answer"

    def consume(self) -> None:
        """Take from the queue again."""
        self._control.add_consumer(peers_app.QUEUE)

    def meter(self) -> Meter:
        """Of this worker, with its children, and of the broker."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        worker = [self.process.pid, *(child.pid for child in children)]
        return Meter({"worker": worker, "broker": [self._services.broker.pid]})

    def _depth(self, queue: str) -> int:
        vhost = urlsplit(self._url).path[1:]
        return int(self._services.broker.evaluate(QUEUE_DEPTH.format(vhost=vhost, queue=queue)))


def worker_command(peer: Peer) -> list[str]:
    """Without all that a worker does beside its tasks."""
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.peers_app", "worker"]
    command += ["--pool", peer.pool, "--concurrency", str(peer.concurrency)]
    command += ["--loglevel", "WARNING"]
    return [*command, "--without-gossip", "--without-mingle", "--without-heartbeat"]


def publisher_command(messages: int, queue: str) -> list[str]:
    """A publisher for so many messages."""
    command = [sys.executable, "-m", "benchmarks.peers_publish", str(messages)]
    return [*command, "--queue", queue, "--threads", str(PUBLISHERS)]


def declare_queues(url: str, is_safe: bool) -> None:
    """Before the worker does: what waits for an empty queue must find one."""
    with Connection(url) as connection:
        for name in (peers_app.WARM_UP_QUEUE, peers_app.QUEUE):
            peers_app.queue(name, is_safe)(connection.default_channel).declare()


@contextmanager
def working(services: Services, peer: Peer, warm_up: int) -> Iterator[Worker]:
    """A warm worker."""
    with services.vhost() as url:
        declare_queues(url, peer.is_safe)
        worker = Worker(services, peer, url, services.new_folder())
        try:
            if warm_up:
                worker.warm_up(warm_up)
            yield worker
        finally:
            worker.process.end(signal.SIGTERM, STOP_SECONDS)


def one_by_one(worker: Worker, messages: int) -> dict[str, float]:
    """Fill the queue, then empty it: what publisher and worker can do alone."""
    worker.stop_consuming()
    times = worker.publish(messages)
    began_at = time.time()
    worker.consume()
    return {
        "publish_rate": messages / (times["ended_at"] - times["began_at"]),
        "consume_rate": messages / (worker.await_empty() - began_at),
    }


def both_at_once(worker: Worker, messages: int) -> dict[str, Any]:
    """Publish while the worker works: from the first publish to the last acknowledgement."""
    meter = worker.meter()
    meter.start()
    times = worker.publish(messages)
    seconds = worker.await_empty() - times["began_at"]
    usage = {"producer": Usage(times["cpu_seconds"]), **meter.stop()}
    million = messages / MILLION
    return {
        "messages": messages,
        "seconds": seconds,
        "rate": messages / seconds,
        "usage": {role: asdict(used) for role, used in usage.items()},
        "cpu_seconds_per_million": {
            role: used.cpu_seconds / million for role, used in usage.items()
        },
    }


def measure_peer(services: Services, peer: Peer, messages: int, warm_up: int) -> dict[str, Any]:
    """A row of the table."""
    with working(services, peer, warm_up) as worker:
        both = both_at_once(worker, messages)
        return {**asdict(peer), "chosen": peer.chosen, **both, **one_by_one(worker, messages)}


def best_of(record: Record, services: Services, pool: str) -> Peer:
    """The candidate of this pool that empties a queue fastest."""
    candidates = [peer for peer in CANDIDATES if peer.pool == pool]
    if record.tiny:
        return candidates[0]
    rates: dict[Peer, float] = {}
    for peer in candidates:
        with working(services, peer, WARM_UP_MESSAGES) as worker:
            rates[peer] = one_by_one(worker, TRIAL_MESSAGES)["consume_rate"]
        record.add("trials", f"{pool}, {peer.chosen}", {"consume_rate": rates[peer]})
        print(f"  tried: {pool}, {peer.chosen}: {rates[peer]:,.0f}/s consumed", flush=True)
    return max(rates, key=lambda peer: rates[peer])


def measure_ours(record: Record, services: Services) -> dict[str, float]:
    """`sms_pipeline` in batches, and with one SMS per task; rates by title."""
    rates = {}
    rows = {"sms_pipeline": OURS, "sms_pipeline, batch 1": OURS_SINGLE}
    for title, setting in rows.items():
        if record.tiny and setting is OURS_SINGLE:
            continue  # `throughput` has a tiny row of it.
        messages = TINY_MESSAGES if record.tiny else setting.messages
        result = rehearse(services, replace(setting, messages=messages))
        rates[title] = result.rate
        record.add("rows", title, result.to_json())
        print(f"{title:<24}{result.rate:>12,.0f}/s", flush=True)
    return rates


def measure(record: Record, services: Services) -> None:
    """Ours, then each pool at its best, then the best pool without any care."""
    ours = measure_ours(record, services)
    messages = TINY_MESSAGES if record.tiny else MESSAGES
    warm_up = 0 if record.tiny else WARM_UP_MESSAGES
    found: dict[Peer, float] = {}

    def add(peer: Peer) -> None:
        row = measure_peer(services, peer, messages, warm_up)
        row["ratios"] = {title: rate / row["rate"] for title, rate in ours.items()}
        found[peer] = row["rate"]
        record.add("rows", peer.title, row)
        print(line(peer, row), flush=True)

    for pool in POOLS:
        if record.wants(pool):
            add(best_of(record, services, pool))
    if found and not record.tiny:
        fastest = max(found, key=lambda peer: found[peer])
        add(replace(fastest, is_safe=False, prefetch=NO_LIMIT))


def line(peer: Peer, row: dict[str, Any]) -> str:
    """A line of the table."""
    return (
        f"{peer.title:<24}{row['rate']:>12,.0f}/s  (publishing alone {row['publish_rate']:,.0f}/s, "
        f"consuming alone {row['consume_rate']:,.0f}/s; {peer.chosen})  "
        f"sms_pipeline: {row['ratios']['sms_pipeline']:,.0f} x"
    )


if __name__ == "__main__":
    harness.run(NAME, __doc__, measure)
