"""What the columns and the status words of a delivery log mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from sms_pipeline.core.errors import ConfigError
from sms_pipeline.producer.table import masked


class Status(IntEnum):
    """What a log says of an attempt."""

    FAILED = 0
    DELIVERED = 1
    #: Nothing final: its receipt is missing.
    PENDING = 2


class Columns(NamedTuple):
    """The names of the columns, as in the header."""

    sent: str
    ended: str
    status: str
    #: None if the whole log is one profile.
    profile: str | None
    #: Keys of those that nobody named.
    guessed: tuple[str, ...]

    def __str__(self) -> str:
        named = {"sent": self.sent, "ended": self.ended, "status": self.status}
        if self.profile is not None:
            named["profile"] = self.profile
        return ", ".join(f"{key}={column}" for key, column in named.items())


#: What each column is for, in an error.
_MEANINGS = {
    "sent": "when an attempt began",
    "ended": "when its receipt came",
    "status": "what came of it",
    "profile": "whose senders made it",
}
_OPTIONAL = "profile"
#: Names that providers give their columns; the first that a header has is taken.
_USUAL = {
    "sent": (
        "sent sent_at date_sent sent_date sent_time time_sent send_time submitted submitted_at "
        "submit_time submit_date date_submitted started_at start_time start queued_at created_at "
        "date_created"
    ),
    "ended": (
        "ended ended_at end_time end done done_at done_date done_time delivered_at date_delivered "
        "delivery_time completed_at finished_at finalized_at received_at receipt_at dlr_time "
        "updated_at date_updated"
    ),
    "status": (
        "status state outcome result message_status delivery_status dlr_status final_status"
    ),
    "profile": (
        "profile carrier carrier_name operator network network_name route gateway provider channel"
    ),
}
#: Words of providers and of SMPP receipts; case does not matter.
_WORDS = {
    Status.DELIVERED: "delivered delivrd success successful succeeded ok read true yes 1",
    Status.FAILED: (
        "failed failure fail undelivered undeliv undeliverable not_delivered rejected rejectd "
        "expired error deleted canceled cancelled blocked bounced false no 0"
    ),
    Status.PENDING: (
        "sent sending queued accepted acceptd submitted enroute scheduled buffered pending "
        "in_progress unknown"
    ),
}
#: Columns that an error lists.
_SHOWN_COLUMNS = 12


def choose_columns(header: Sequence[str], chosen: Sequence[str]) -> Columns:
    """The columns of a log with this header; `chosen` are the values of --columns.

    Raises:
        ConfigError: one that is needed isn't there; the message says how to name it.
    """
    named = _named(chosen)
    found = {}
    for key in _USUAL:
        column = _column(header, key, named[key]) if key in named else _usual(header, key)
        if column is not None:
            found[key] = column
        elif key != _OPTIONAL:
            raise ConfigError(
                f"no column for '{key}' ({_MEANINGS[key]}); the header has {_listed(header)}: "
                f"name it by --columns {key}=COLUMN"
            )
    guessed = tuple(key for key in found if key not in named)
    return Columns(
        found["sent"], found["ended"], found["status"], found.get(_OPTIONAL), guessed=guessed
    )


def _named(chosen: Sequence[str]) -> dict[str, str]:
    """The columns that a user named, by key."""
    found = {}
    for pair in ",".join(chosen).split(",") if chosen else ():
        key, equals, column = (part.strip() for part in pair.partition("="))
        if not (equals and column and key in _USUAL):
            raise ConfigError(
                f"option --columns: must be KEY=COLUMN with KEY one of {', '.join(_USUAL)}, "
                f"got {masked(pair)}"
            )
        found[key] = column
    return found


def _column(header: Sequence[str], key: str, name: str) -> str:
    same = [column for column in header if column.strip() == name] or [
        column for column in header if _plain(column) == _plain(name)
    ]
    if len(same) == 1:
        return same[0]
    what = "there is no" if not same else "there is more than one"
    raise ConfigError(
        f"option --columns: {key}: {what} column {masked(name)}; the header has {_listed(header)}"
    )


def _usual(header: Sequence[str], key: str) -> str | None:
    plain = [_plain(column) for column in header]
    for name in _USUAL[key].split():
        if plain.count(name) == 1:
            return header[plain.index(name)]
    return None


def _plain(name: str) -> str:
    """`Date Sent` and `date-sent` are the same name."""
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")


def _listed(header: Sequence[str]) -> str:
    more = ", …" if len(header) > _SHOWN_COLUMNS else ""
    return ", ".join(masked(column) for column in header[:_SHOWN_COLUMNS]) + more


def status_words(chosen: Sequence[str]) -> dict[str, Status]:
    """The words that a log may use, as `plain_word` writes them; `chosen` are those of --status.

    Raises:
        ConfigError: one of `chosen` says nothing.
    """
    found = {word: status for status, words in _WORDS.items() for word in words.split()}
    meanings = {status.name.lower(): status for status in Status}
    for pair in chosen:
        word, equals, meaning = pair.rpartition("=")
        if not equals or meaning.strip().lower() not in meanings:
            raise ConfigError(
                f"option --status: must be WORD=MEANING with MEANING one of {', '.join(meanings)}, "
                f"got {masked(pair)}"
            )
        found[plain_word(word)] = meanings[meaning.strip().lower()]
    return found


def plain_word(word: str) -> str:
    """A status word without case, and with underscores for blanks."""
    return "_".join(word.casefold().split())


def unknown_word(word: str, known: Mapping[str, Status]) -> str:
    """What is wrong with a status word."""
    usual = ", ".join(word for word in ("delivered", "failed", "sent") if word in known)
    return (
        f"unknown status {masked(word)}; known are {usual} and the like: "
        "say what it means by --status WORD=delivered, =failed or =pending"
    )
