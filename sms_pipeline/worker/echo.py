"""Prints each SMS when it is sent, for `--echo`."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.errors import OutputError
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.messages import split

#: Instead of a line break: every SMS is printed on a line of its own.
_LINE_BREAK = "\\n"

_Sent = tuple[Batch, Outcomes, NDArray[np.intp]]


class Echo:
    """Prints in a thread of its own, so that no sender ever waits for a terminal or a pipe.

    An output that can't be written to any more ends the printing. `on_error` is told at once; the
    error is raised when the block ends. A reader that has left is no error.
    """

    def __init__(self, print_line: Callable[[str], None]) -> None:
        """`print_line` writes a line; it is called in the thread."""
        self._print = print_line
        #: Called in the thread.
        self.on_error: Callable[[], None] | None = None
        self._sent: queue.SimpleQueue[_Sent | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="echo", daemon=True)
        self._error: Exception | None = None

    def start(self) -> None:
        """Print from now on."""
        self._thread.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sent.put(None)
        self._thread.join()
        if self._error and error is None:
            raise self._error

    @property
    def error(self) -> Exception | None:
        """Why nothing is printed any more, if that is so."""
        return self._error

    def __call__(self, batch: Batch, outcomes: Outcomes, positions: NDArray[np.intp]) -> None:
        """See `EchoHook`."""
        self._sent.put((batch, outcomes, positions))

    def _run(self) -> None:
        try:
            while sent := self._sent.get():
                for line in lines(*sent):
                    self._print(line)
        except BrokenPipeError:
            self._drop_rest()
        except (OSError, OutputError) as error:
            self._error = error
            if self.on_error:
                self.on_error()
            self._drop_rest()

    def _drop_rest(self) -> None:
        """What nobody prints is not kept: a long run would fill the memory with it."""
        while self._sent.get():
            pass


def lines(batch: Batch, outcomes: Outcomes, positions: NDArray[np.intp]) -> Iterator[str]:
    """A line for each of the messages at `positions`: its outcome, its recipient, its text."""
    otherwise = "failed, to be retried" if batch.may_be_retried else "failed"
    recipients, texts = split(batch.to), split(batch.text)
    for position in positions.tolist():
        outcome = "delivered" if outcomes.delivered[position] else otherwise
        text = texts[position].replace("\n", _LINE_BREAK)
        yield f"{outcome}: {recipients[position]}  {text}"
