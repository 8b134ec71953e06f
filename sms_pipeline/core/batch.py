"""The batch: what one task carries, and its form on the wire."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sms_pipeline.core.bitmap import Offsets, pack_offsets, unpack_offsets
from sms_pipeline.core.clock import MAX_BOOT
from sms_pipeline.core.errors import BadBatchError
from sms_pipeline.core.events import MAX_EVENTS, Spell
from sms_pipeline.core.failover import Failover, profile_of
from sms_pipeline.core.hours import Window
from sms_pipeline.core.messages import SEPARATOR
from sms_pipeline.core.profiles import MAX_BATCH_SIZE, PROFILE_NAME
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import MAX_MESSAGES

#: Celery's name of the one task.
TASK_NAME = "sms_pipeline.send_sms"

#: What the ledger's integer columns hold.
MAX_INTEGER = 2**31 - 1


class Batch(BaseModel):
    """One attempt at a contiguous range of messages, or at the remainder of one; the wire form."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    ledger: str = Field(min_length=1, max_length=64)
    run: int = Field(ge=1, le=MAX_INTEGER)
    number: int = Field(ge=0, le=MAX_INTEGER)
    first_index: int = Field(ge=0, le=MAX_MESSAGES)
    #: Messages of the whole batch, also where this attempt takes only a remainder.
    size: int = Field(ge=1, le=MAX_BATCH_SIZE)
    profile: str = Field(pattern=f"^{PROFILE_NAME.pattern}$")
    attempt: int = Field(ge=0, le=MAX_INTEGER)
    #: When the run was started, seconds since the epoch; the same in every batch.
    started_at: float = Field(ge=0)
    #: When the batch was dispatched, seconds since the epoch; the same in every attempt.
    queued_at: float = Field(ge=0)
    #: By which timeline these times go: see `clock.Timeline`.
    boot: str | None = Field(default=None, max_length=MAX_BOOT)
    offset: float = 0.0
    seed: int = Field(ge=0, lt=2**63)
    retry: RetryPolicy
    #: Seconds after `started_at` in which a message must be sent; None = no limit.
    deadline: float | None = Field(default=None, gt=0)
    #: Whether it goes before those that are not, in a queue of its own.
    urgent: bool = False
    #: Hours in which its messages may be sent.
    window: Window | None = None
    #: Attempts that these hours cut short: they do not count.
    spared: int = Field(default=0, ge=0, le=MAX_INTEGER)
    #: When it goes to another profile; None = never.
    failover: Failover | None = None
    #: The profile that the batch was dispatched to, where that is not the one of this attempt.
    came_from: str | None = Field(default=None, pattern=f"^{PROFILE_NAME.pattern}$")
    #: What goes wrong, and when, for whichever profile plays it.
    events: Annotated[tuple[Spell, ...], Field(strict=False, max_length=MAX_EVENTS)] = ()
    to: str
    text: str
    #: Base64 of the bitmap of the messages this attempt takes; None = the whole batch.
    offsets: str | None = None

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        count = self.count
        if _entries(self.to) != count or _entries(self.text) != count:
            raise ValueError("the columns do not fit the number of messages")
        return self

    @model_validator(mode="after")
    def _goes_where_it_should(self) -> Self:
        if self.profile != profile_of(self.home, self.attempt, self.failover):
            raise ValueError("this attempt is not one of its profile")
        return self

    @property
    def home(self) -> str:
        """The profile that the batch was dispatched to."""
        return self.came_from or self.profile

    @property
    def may_be_taken_over(self) -> bool:
        """Whether workers of other profiles may play it."""
        return self.failover is not None and self.failover.unattended is not None

    @property
    def may_be_retried(self) -> bool:
        """Whether another attempt may follow this one."""
        return self.retry.allows_after(self.attempt - self.spared)

    @property
    def key(self) -> tuple[int, int, int]:
        """What its settlement is known by: (run, batch number, attempt)."""
        return self.run, self.number, self.attempt

    @property
    def count(self) -> int:
        """Messages that this attempt takes."""
        return self.size if self.offsets is None else len(self.positions())

    def positions(self) -> Offsets:
        """Offsets within the batch of the messages that this attempt takes, ascending."""
        if self.offsets is None:
            return np.arange(self.size)
        return unpack_offsets(_from_base64(self.offsets), self.size)

    def remainder(self, left: Offsets) -> Batch:
        """The next attempt, at the messages whose offsets in the batch are `left`."""
        return self.at_attempt(self.attempt + 1, left)

    def at_attempt(self, attempt: int, left: Offsets) -> Batch:
        """A later attempt, at the messages whose offsets in the batch are `left`."""
        taken = np.searchsorted(self.positions(), left)
        profile = profile_of(self.home, attempt, self.failover)
        return self.model_copy(
            update={
                "attempt": attempt,
                "profile": profile,
                "came_from": None if profile == self.home else self.home,
                "to": _pick(self.to, taken),
                "text": _pick(self.text, taken),
                "offsets": base64.b64encode(pack_offsets(left, self.size)).decode("ascii"),
            }
        )

    def to_wire(self) -> dict[str, Any]:
        """JSON types only."""
        return self.model_dump()

    @classmethod
    def from_wire(cls, body: object) -> Batch:
        """Check a task's argument.

        Raises:
            BadBatchError: it is not a batch. The message names the field, never its content.
        """
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            # The name of an unknown field is content, too.
            is_ours = first["type"] != "extra_forbidden"
            field = (".".join(map(str, first["loc"])) if is_ours else "") or "the batch"
            raise BadBatchError(f"{field}: {first['msg']}") from None

    def describe(self) -> str:
        """What logs and Flower may show."""
        again = f", attempt {self.attempt + 1}" if self.attempt else ""
        return f"run {self.run}, batch {self.number}: {self.count} SMS{again}"


def is_batch_of(body: object, ledger: str, run: int) -> bool:
    """Whether a message's body is a task with a batch of that run of that ledger."""
    try:
        ((batch,), *_) = json.loads(body)  # type: ignore[arg-type]
        return bool(batch["ledger"] == ledger and batch["run"] == run)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _entries(column: str) -> int:
    return int(np.count_nonzero(_is_break(_encode(column)))) + 1


def _pick(column: str, taken: Offsets) -> str:
    """The column with the entries at the positions `taken` only; of an empty column, nothing."""
    if not column:
        return column
    data = _encode(column)
    breaks = np.flatnonzero(_is_break(data))
    starts = np.concatenate(([0], breaks + 1))[taken].tolist()
    ends = np.concatenate((breaks, [len(data)]))[taken].tolist()
    picked = [data[start:end] for start, end in zip(starts, ends, strict=True)]
    return SEPARATOR.encode().join(picked).decode("utf-8", _SURROGATES)


def _is_break(data: bytes) -> NDArray[np.bool_]:
    """Which bytes separate entries; `str.split` would create an object for every entry."""
    is_break: NDArray[np.bool_] = np.frombuffer(data, np.uint8) == ord(SEPARATOR)
    return is_break


#: JSON can hold half a character (a lone surrogate); odd, but no reason to fail.
_SURROGATES = "surrogatepass"


def _encode(column: str) -> bytes:
    return column.encode("utf-8", _SURROGATES)


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadBatchError("the offsets are not base64") from None
