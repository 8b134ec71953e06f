"""A producer in a thread: what goes wrong there is told here."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sms_pipeline.core.errors import BrokerUnavailableError, StoppingError
from sms_pipeline.producer.background import Dispatch

PATIENCE_SECONDS = 30
PRODUCER: Any = object()


def worked(error: BaseException | None) -> Dispatch:
    """A thread whose work has ended, well or not."""
    ended = threading.Event()

    def work(producer: object) -> None:
        assert producer is PRODUCER
        if error:
            raise error

    dispatch = Dispatch(PRODUCER, work, ended)
    dispatch.start()
    dispatch.join(PATIENCE_SECONDS)
    assert not dispatch.is_alive()
    assert dispatch._ended is ended
    return dispatch


@pytest.mark.parametrize("error", [BrokerUnavailableError("away"), AssertionError(), SystemExit(1)])
def test_error_is_kept_and_whoever_waits_is_told(error: BaseException) -> None:
    dispatch = worked(error)
    assert dispatch.error is error
    assert dispatch._ended.is_set()


@pytest.mark.parametrize("error", [None, StoppingError("told to stop")])
def test_end_that_was_asked_for_is_no_error(error: BaseException | None) -> None:
    dispatch = worked(error)
    assert dispatch.error is None
    # The workers go on with what was dispatched.
    assert not dispatch._ended.is_set()


def test_thread_holds_no_process_up() -> None:
    dispatch = Dispatch(PRODUCER, lambda _: None, threading.Event())
    assert (dispatch.name, dispatch.daemon) == ("producer", True)
    assert dispatch.producer is PRODUCER
