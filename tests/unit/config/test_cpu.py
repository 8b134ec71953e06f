"""CPU time of this process and its threads."""

from __future__ import annotations

import threading

from sms_pipeline.config import cpu

WORK = 0.05


def work() -> None:
    """Use so much CPU."""
    began = cpu.call_seconds()
    while cpu.call_seconds() - began < WORK:
        pass


def test_what_a_thread_does_is_its_own() -> None:
    done, over = threading.Event(), threading.Event()

    def body() -> None:
        work()
        done.set()
        over.wait()

    mine, before = cpu.call_seconds(), cpu.process_seconds()
    thread = threading.Thread(target=body)
    thread.start()
    done.wait()
    found = cpu.thread_seconds([thread])
    over.set()
    thread.join()
    assert found is not None
    assert found >= WORK
    assert cpu.call_seconds() - mine < WORK
    assert cpu.process_seconds() - before >= WORK
