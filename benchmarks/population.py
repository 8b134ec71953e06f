"""One SMS for everyone in the United States: 340 million messages on one machine, audited.

One call ends after `--minutes` at the latest, in good order; the next call with the same `--folder`
continues the same run (`sms-pipeline resume`). Broker data, ledger and the samples so far are kept
in that folder; remove it to begin anew.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import RESULTS, Record, write_json
from benchmarks.rehearsal import (
    BIN,
    MILLION,
    PROFILE,
    Meter,
    Services,
    Setting,
    command,
    environment_for,
    own_environment,
    size_of,
    start_workers,
    write_config,
)
from benchmarks.scaling import POPULATION
from sms_pipeline.core.errors import UnknownRunError
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.store import Ledger
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

NAME = "population"
SENDERS, FAILURE_RATE = 1_000_000, 0.1
MINUTES = 28.0
#: The audit of the whole run, and ending in good order, are not part of the minutes.
FOLDER = Path("build") / NAME
SAMPLE_SECONDS, _POLL_SECONDS = 5.0, 0.25
REGISTERED_SECONDS, STOP_SECONDS = 60.0, 60.0
_MINUTE = 60

TINY = Setting(messages=20_000, senders=1_000, mean_time=0.1, failure_rate=0.1)
#: The first of two tiny calls is ended in the middle of its run.
TINY_SECONDS, TINY_REST_SECONDS = 1.0, 120.0


@dataclass(frozen=True)
class Sample:
    """Where the run stood at a moment of a call. CPU seconds are since the start of the call."""

    seconds: float
    finished: int
    cpu_seconds: Mapping[str, float]
    resident_mb: Mapping[str, float]
    ledger_bytes: int


class Diary:
    """The results so far, in the run's folder and, once more, where results are kept."""

    def __init__(self, folder: Path, setting: Setting, output: Path | None) -> None:
        """Go on with what the folder has."""
        self._paths = [folder / f"{NAME}.json", *([output] if output else [])]
        self.content: dict[str, Any] = {
            "benchmark": NAME,
            "at": time.time(),
            "machine": harness.machine(),
            "setting": asdict(setting),
            "calls": [],
        }
        if self._paths[0].exists():
            self.content = json.loads(self._paths[0].read_text())

    @property
    def setting(self) -> Setting:
        """That of the first call."""
        return Setting(**self.content["setting"])

    def begin_call(self) -> None:
        """What follows is of another call."""
        self.content["calls"].append({"at": time.time(), "samples": []})

    def add(self, sample: Sample) -> None:
        """A sample of this call."""
        self.content["calls"][-1]["samples"].append(asdict(sample))
        self.write()

    def write(self, **values: Any) -> None:
        """Keep all of it, and these values."""
        self.content.update(values)
        for path in self._paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, self.content)


class Call:
    """One call: the services, a worker, and a producer for as long as the call lasts."""

    def __init__(self, folder: Path, diary: Diary) -> None:
        self._folder = folder
        self._diary = diary
        self._setting = diary.setting

    def run(self, seconds: float) -> bool:
        """Work on the run for so long; True when it is done."""
        config = write_config(self._setting, self._folder)
        database_url = f"sqlite:///{self._folder / 'ledger.db'}"
        with Services(self._folder) as services, ExitStack() as stack:
            environment = environment_for(services.broker.url, database_url, config, self._setting)
            ledger = Ledger.open(database_url)
            stack.callback(ledger.close)
            workers = start_workers(
                [PROFILE] * self._setting.workers, self._folder, environment, stack
            )
            with self._producing(ledger, environment) as (run, producer):
                roles = {
                    "producer": [producer.pid],
                    "worker": [worker.pid for worker in workers],
                    "broker": [services.broker.pid],
                }
                self._diary.begin_call()
                done = self._watch(ledger, run, Meter(roles), database_url, seconds)
            _end(workers)
        return done

    @contextmanager
    def _producing(
        self, ledger: Ledger, environment: dict[str, str]
    ) -> Iterator[tuple[Run, subprocess.Popen[bytes]]]:
        """A producer that starts the run or resumes it; interrupted as a user would."""
        word = "produce" if ledger.latest_run_id() is None else "resume"
        with command(self._folder, environment, word) as producer:
            wait_until(ledger.latest_run_id, REGISTERED_SECONDS, "the run is registered")
            yield ledger.run(), producer
            if producer.poll() is None:
                producer.send_signal(signal.SIGINT)
                producer.wait(STOP_SECONDS)

    def _watch(
        self, ledger: Ledger, run: Run, meter: Meter, database_url: str, seconds: float
    ) -> bool:
        began, sampled, finished = time.monotonic(), 0.0, 0
        meter.start()
        while finished < run.total and time.monotonic() - began < seconds:
            time.sleep(_POLL_SECONDS)
            finished = ledger.snapshot(run).counts.finished
            now = time.monotonic() - began
            if now - sampled >= SAMPLE_SECONDS:
                sampled = now
                self._sample(now, finished, meter, database_url, run.total)
        meter.stop()
        self._sample(time.monotonic() - began, finished, meter, database_url, run.total)
        return finished >= run.total

    def _sample(
        self, seconds: float, finished: int, meter: Meter, database_url: str, total: int
    ) -> None:
        cpu = {role: used.cpu_seconds for role, used in meter.usage().items()}
        sample = Sample(seconds, finished, cpu, dict(meter.resident), size_of(database_url))
        self._diary.add(sample)
        memory = "  ".join(f"{role} {value:,.0f} MB" for role, value in meter.resident.items())
        print(f"{seconds:7.0f} s{finished:>14,} of {total:,}   {memory}", flush=True)


def _end(workers: list[WorkerProcess]) -> None:
    """In good order: what a worker has in hand goes back to the broker."""
    for worker in workers:
        worker.term()
    for worker in workers:
        worker.wait(STOP_SECONDS)


def audit(folder: Path) -> dict[str, Any]:
    """What `sms-pipeline audit` finds, and how long it takes."""
    began = time.monotonic()
    done = subprocess.run(
        [BIN / "sms-pipeline", "audit", "--json"],
        cwd=folder,
        env=own_environment() | {"SMS_DATABASE_URL": f"sqlite:///{folder / 'ledger.db'}"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return {**json.loads(done.stdout), "seconds": time.monotonic() - began}


def summary(calls: list[dict[str, Any]], messages: int) -> dict[str, Any]:
    """The figures of a finished run, over all its calls."""
    lasts = [call["samples"][-1] for call in calls]
    samples = [sample for call in calls for sample in call["samples"]]
    seconds = sum(last["seconds"] for last in lasts)
    roles = lasts[0]["cpu_seconds"]
    million = messages / MILLION
    return {
        "calls": len(calls),
        "seconds": seconds,
        "rate": messages / seconds,
        "cpu_seconds_per_million": {
            role: sum(last["cpu_seconds"][role] for last in lasts) / million for role in roles
        },
        "peak_mb": {role: max(sample["resident_mb"][role] for sample in samples) for role in roles},
        "ledger_bytes_per_million": lasts[-1]["ledger_bytes"] / million,
    }


def work(folder: Path, setting: Setting, seconds: float, output: Path | None) -> bool:
    """One call on the run in `folder`; True when the run is done and audited."""
    folder.mkdir(parents=True, exist_ok=True)
    diary = Diary(folder, setting, output)
    if not _is_done(folder) and not Call(folder, diary).run(seconds):
        print("Not done yet; the same command goes on with it.", flush=True)
        return False
    found = audit(folder)
    content = diary.content
    diary.write(audit=found, summary=summary(content["calls"], diary.setting.messages))
    print(f"audit: {found['verdict']}; {content['summary']['rate']:,.0f}/s", flush=True)
    assert found["verdict"] == "proven", found["problems"]
    return True


def _is_done(folder: Path) -> bool:
    if not (folder / "ledger.db").exists():
        return False
    ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
    try:
        run = ledger.run()
        return ledger.snapshot(run).counts.finished >= run.total
    except UnknownRunError:
        return False
    finally:
        ledger.close()


def measure(record: Record, services: Services) -> None:
    """The tiny run, beside the other tiny benchmarks; its services are its own."""
    assert record.tiny, "the whole run is started by itself"
    run_tiny()


def run_tiny() -> None:
    """A run that is ended in the middle, then continued."""
    with tempfile.TemporaryDirectory(prefix="sms-bench-") as name:
        folder = Path(name) / NAME
        work(folder, TINY, TINY_SECONDS, None)
        assert work(folder, TINY, TINY_REST_SECONDS, None), "the run was not continued to its end"


def main() -> None:
    """One call of the whole run, or the tiny one."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a run of seconds, nothing kept")
    parser.add_argument("--messages", type=int, default=POPULATION)
    parser.add_argument("--failure-rate", type=float, default=FAILURE_RATE)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of this call")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"default: {FOLDER}")
    parser.add_argument("-o", "--output", type=Path, help="default: none unless all are sent")
    chosen = parser.parse_args()
    if chosen.tiny:
        run_tiny()
        return
    setting = Setting(
        messages=chosen.messages,
        senders=SENDERS,
        failure_rate=chosen.failure_rate,
        workers=chosen.workers,
    )
    whole = RESULTS / f"{NAME}.json" if chosen.messages >= POPULATION else None
    work(chosen.folder.resolve(), setting, chosen.minutes * _MINUTE, chosen.output or whole)


if __name__ == "__main__":
    main()
