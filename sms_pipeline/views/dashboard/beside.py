"""A process beside the server, for questions that may take too long."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from typing import Any

from sms_pipeline.core.errors import PipelineError
from sms_pipeline.views.format import exact_seconds

#: `-P`: no file of the current folder stands in for a module.
COMMAND = (sys.executable, "-P", "-m", "sms_pipeline.views.dashboard.drafts")
#: So many may wait for an answer; others are told to try again.
MAX_WAITING = 8
#: Longest answer.
_LINE_BYTES = 2**22


class TooMuchError(PipelineError):
    """The answer takes too long, or too many wait for one."""


class NoAnswerError(PipelineError):
    """The process ended, or did not answer in full."""


class Beside:
    """Answers one question at a time, each within a time; then the process is stopped."""

    def __init__(self, seconds: float, command: tuple[str, ...] = COMMAND) -> None:
        self._seconds = seconds
        self._command = command
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def ask(self, question: str, **values: Any) -> dict[str, Any]:
        """What the function of that name answers.

        Raises:
            TooMuchError: it takes too long, or too many others wait.
            NoAnswerError: the process failed.
        """
        if self._waiting >= MAX_WAITING:
            raise TooMuchError("too many questions at once; try again in a moment")
        self._waiting += 1
        try:
            async with self._turn:
                return await self._answered({"question": question, **values})
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Stop the process."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _answered(self, asked: dict[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._seconds):
                line = await self._line(asked)
        except TimeoutError:
            await self.close()
            raise TooMuchError(f"this takes more than {exact_seconds(self._seconds)}") from None
        except (ConnectionError, ValueError):
            line = b""
        except asyncio.CancelledError:
            # Its answer would be taken for that of the next question.
            await self.close()
            raise
        if not line.endswith(b"\n"):
            await self.close()
            raise NoAnswerError(
                "no answer came: the process that works it out failed, or took too much memory; "
                "what the dashboard logs may say why"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _line(self, asked: dict[str, Any]) -> bytes:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=PIPE, stdout=PIPE, limit=_LINE_BYTES, start_new_session=True
            )
        process = self._process
        assert process.stdin and process.stdout  # noqa: S101 - they are pipes
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        await process.stdin.drain()
        return await process.stdout.readline()
