"""One thread at a time works on an attempt."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from sms_pipeline.core.records import Key


class Turns:
    """Lets one thread at a time work on an attempt; the others learn that it is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: dict[Key, Future[bool]] = {}
        self._put_back: set[Key] = set()

    @property
    def is_idle(self) -> bool:
        """Whether no attempt is in hand."""
        return not self._busy

    @contextmanager
    def turn(self, key: Key) -> Iterator[bool]:
        """True when the caller is to do the work, False when another thread has just done it.

        A caller whose work ends in an error leaves it to one of those that wait, and so does one
        that has put the attempt back.
        """
        mine: Future[bool] = Future()
        while (other := self._claim(key, mine)) is not mine:
            if other.result():
                yield False
                return
        done = False
        try:
            yield True
            done = True
        finally:
            with self._lock:
                del self._busy[key]
                done = done and key not in self._put_back
                self._put_back.discard(key)
            mine.set_result(done)

    def put_back(self, key: Key) -> None:
        """Whose turn it is has given the attempt back to the broker, to be done later.

        One who waits may hold that very message: it must not take the attempt for done.
        """
        with self._lock:
            self._put_back.add(key)

    def _claim(self, key: Key, mine: Future[bool]) -> Future[bool]:
        with self._lock:
            return self._busy.setdefault(key, mine)
