"""The grammar of thresholds: `failed < 1%`, `p95 delivery < 30s`, `reached 99% < 2m`. Pure."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from sms_pipeline.core.frozen import Frozen

#: Of a threshold, characters.
MAX_CHECK_LENGTH = 200
#: The type of a validation error that points into an expression.
BAD_CHECK = "bad_check"


class BadCheckError(ValueError):
    """An expression that is not a check."""

    def __init__(self, what: str, text: str, column: int) -> None:
        super().__init__(what)
        self.what = what
        # A shell or a YAML file may hold bytes that are not text; this must still be printable.
        self._text = text.encode(errors="replace").decode()
        self._column = column

    @property
    def pointed(self) -> str:
        """Two lines: the expression, and a caret under the mistake."""
        shown = re.sub(r"\s", " ", self._text)
        return f"    {shown}\n    {' ' * self._column}^"


class Quantity(Enum):
    """What a metric is measured in, with the units that a limit of it may have."""

    #: Messages, or their share of the run's; attempts, or their share of those made.
    COUNT = ("", "%")
    SECONDS = ("ms", "s", "m", "h")
    PER_SECOND = ("/s",)
    #: What the audit counts.
    AUDITED = ("",)


#: What a check can be about.
METRICS = {
    **dict.fromkeys(("delivered", "failed", "expired", "cancelled"), Quantity.COUNT),
    "failed attempts": Quantity.COUNT,
    **dict.fromkeys(("mean send", "mean delivery"), Quantity.SECONDS),
    **dict.fromkeys(("p50 delivery", "p95 delivery", "p99 delivery"), Quantity.SECONDS),
    **dict.fromkeys(("p50 on phone", "p95 on phone", "p99 on phone"), Quantity.SECONDS),
    "without receipt": Quantity.COUNT,
    "average rate": Quantity.PER_SECOND,
    **dict.fromkeys(("duration", "reached"), Quantity.SECONDS),
    **dict.fromkeys(("lost", "doubled"), Quantity.AUDITED),
}


_OF_RECEIPTS = {"p50 on phone", "p95 on phone", "p99 on phone", "without receipt"}


@dataclass(frozen=True, slots=True)
class Check:
    """A metric, a comparison and a limit."""

    text: str
    metric: str
    quantity: Quantity
    comparison: str
    limit: float
    unit: str
    #: Of `reached N%`: N, 0 to 1.
    share: float | None = None

    @property
    def of_receipts(self) -> bool:
        """Whether only senders with delivery receipts can tell."""
        return self.metric in _OF_RECEIPTS

    @property
    def audited(self) -> bool:
        """Whether only the audit can tell."""
        return self.quantity is Quantity.AUDITED

    def messages(self, total: int) -> int:
        """How many messages make the share of `reached N%`."""
        return messages_for(self.share or 0.0, total)

    def keeps(self, value: float) -> bool:
        """Whether `value` satisfies it."""
        return _COMPARISONS[self.comparison](value, self.limit)

    def seen(self, value: float | None) -> str:
        """In words, with `value` in the limit's own unit."""
        if value is None:
            return "share not reached" if self.share else "nothing seen"
        return f"seen {self._show(value, self.unit)}"

    def _show(self, value: float, unit: str) -> str:
        """With as many digits as it takes to be on the same side of the limit as `value`."""
        if unit in _SMALLER and value < _FACTORS[unit]:
            return self._show(value, _SMALLER[unit])
        number = value / _FACTORS.get(unit, 1) * _DIVISORS.get(unit, 1)
        digits = 0 if unit in ("", "ms", "/s") else 2
        while digits < _MOST_DIGITS:
            if self.keeps(from_unit(round(number, digits), unit)) is self.keeps(value):
                break
            digits += 1
        return f"{number:,.{digits}f}{unit}"


def messages_for(share: float, total: int) -> int:
    """How many messages are at least `share` of `total`, and at least 1."""
    # Rounded first: 7 % of 100 is 7.000000000000001 in floating point.
    return max(math.ceil(round(share * total, 6)), 1)


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
PERCENT = 100
#: More than anything that is measured comes to, in any unit.
MAX_LIMIT = 1e15
_MINUTE, _HOUR = 60, 3_600
#: What a number in a unit is multiplied with; percent and milliseconds are divided, since 2.3 / 100
#: is the float nearest to 0.023 and 2.3 * 0.01 is not.
_FACTORS = {"m": _MINUTE, "h": _HOUR}
#: Below one of the unit, what was seen is shown in the next smaller.
_SMALLER = {"m": "s", "h": "m"}
_DIVISORS = {"%": PERCENT, "ms": 1_000}
#: Of a shown number, behind the point: no float has more that tell anything.
_MOST_DIGITS = 15
_MULTIPLES = {"": 1, "k": 1_000, "M": 1_000_000}


def from_unit(number: float, unit: str) -> float:
    """Seconds, messages, or a share of them from 0 to 1, as a limit is compared."""
    return number * _FACTORS.get(unit, 1) / _DIVISORS.get(unit, 1)


# Parsing

_COMPARISON = re.compile(r"[<>=!]+")
_SHARE = re.compile(r"reached\b\s*(?P<number>[\d.]*)\s*(?P<unit>%?)\s*(?P<rest>.*)", re.DOTALL)
_NUMBER = re.compile(r"\d[\d_]*(?:\.\d+)?")
_MULTIPLE = re.compile(r"[kM](?![a-z])")


@lru_cache(maxsize=256)
def parse(text: str) -> Check:
    """The check that `text` says.

    Raises:
        BadCheckError: it is not a check; the error knows where the mistake is.
    """
    found = _COMPARISON.search(text)
    if not found:
        raise BadCheckError(f"needs a comparison: {_listed(_COMPARISONS)}", text, len(text))
    comparison = found[0]
    if comparison not in _COMPARISONS:
        raise BadCheckError(
            f"{comparison!r} is not a comparison; use {_listed(_COMPARISONS)}", text, found.start()
        )
    metric, share = _parse_metric(text, found.start())
    quantity = METRICS[metric]
    if quantity in (Quantity.SECONDS, Quantity.PER_SECOND) and comparison == "==":
        raise BadCheckError(
            f"{metric} is never exactly equal to a limit; use <, <=, > or >=", text, found.start()
        )
    if share is not None and not comparison.startswith("<"):
        raise BadCheckError("a share is reached within a time; use < or <=", text, found.start())
    limit, unit = _parse_limit(text, found.end(), quantity)
    return Check(" ".join(text.split()), metric, quantity, comparison, limit, unit, share)


def _parse_metric(text: str, end: int) -> tuple[str, float | None]:
    """The metric that stands before `end`; with its share if it is `reached`."""
    start = _skip(text, 0)
    written = text[start:end]
    metric = " ".join(written.lower().split())
    if metric.startswith("reached"):
        return "reached", _parse_share(text, start, written)
    if metric not in METRICS:
        what = f"unknown metric {metric!r}" if metric else "needs a metric"
        raise BadCheckError(f"{what}; use {_listed(_NAMES)}", text, start)
    return metric, None


def _parse_share(text: str, start: int, written: str) -> float:
    found = _SHARE.fullmatch(written.lower())
    if not found or not _NUMBER.fullmatch(found["number"]) or not found["unit"] or found["rest"]:
        raise BadCheckError(
            "reached needs a share, as in 'reached 99% < 2m'", text, start + len("reached")
        )
    share = float(found["number"]) / PERCENT
    if not 0 < share <= 1:
        raise BadCheckError(
            "a share is above 0 % and at most 100 %", text, start + found.start("number")
        )
    return share


def _parse_limit(text: str, start: int, quantity: Quantity) -> tuple[float, str]:
    start = _skip(text, start)
    number = _NUMBER.match(text, start)
    if not number:
        raise BadCheckError(f"needs a number{_after(quantity)}", text, start)
    multiple = _MULTIPLE.match(text, number.end()) if quantity is not Quantity.SECONDS else None
    unit_at = _skip(text, multiple.end() if multiple else number.end())
    unit = text[unit_at:].rstrip()
    if unit not in quantity.value:
        what = f"{unit!r} is not a unit here" if unit else "needs a unit"
        raise BadCheckError(f"{what}; use {_units(quantity)}", text, unit_at)
    value = float(number[0].replace("_", "")) * _MULTIPLES[multiple[0] if multiple else ""]
    if unit == "%" and value > PERCENT:
        raise BadCheckError("a share is at most 100 %", text, start)
    if value > MAX_LIMIT:
        raise BadCheckError(f"a limit is at most {MAX_LIMIT:,.0f}", text, start)
    return from_unit(value, unit), unit


def _after(quantity: Quantity) -> str:
    return "" if "" in quantity.value else f" and a unit: {_units(quantity)}"


def _units(quantity: Quantity) -> str:
    plain = ["no unit"] if "" in quantity.value else []
    return _listed([*(unit for unit in quantity.value if unit), *plain])


#: The metrics as a message lists them.
_NAMES = [f"{name} N%" if name == "reached" else name for name in METRICS]


def _listed(words: Mapping[str, object] | list[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _skip(text: str, start: int) -> int:
    """Where the next word begins."""
    return start + len(text[start:]) - len(text[start:].lstrip())


class Threshold(Frozen):
    """A condition that the run must meet, and whether missing it cancels the run."""

    check: str = Field(
        max_length=MAX_CHECK_LENGTH, description="metric, comparison, limit: see below"
    )
    abort: bool = Field(
        default=False, description="cancel the run as soon as the threshold can no longer be met"
    )

    @field_validator("check")
    @classmethod
    def _parsed(cls, text: str) -> str:
        try:
            parse(text)
        except BadCheckError as error:
            context = {"what": error.what, "pointed": error.pointed}
            raise PydanticCustomError(BAD_CHECK, "{what}", context) from error
        return text

    @staticmethod
    def spelt_out(value: object) -> object:
        """A plain string is short for a mapping with only `check`."""
        return {"check": value} if isinstance(value, str) else value
