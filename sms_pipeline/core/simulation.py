"""What to rehearse: a frozen value with a default for everything."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from sms_pipeline.core import checks
from sms_pipeline.core.checks import Threshold
from sms_pipeline.core.dispatch_rate import Rate, most_at_once
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.events import MAX_EVENTS, Event, unknown_profile
from sms_pipeline.core.failover import Failover, endless, problem_of
from sms_pipeline.core.frozen import Frozen
from sms_pipeline.core.hours import Window
from sms_pipeline.core.messages import Alphabet, Columns, PhoneFormat, make_columns
from sms_pipeline.core.profiles import (
    AUTO_BATCH_SECONDS,
    MAX_BATCH_SIZE,
    SenderProfile,
    no_profile,
)
from sms_pipeline.core.recipients import Recipients
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.template import Template
from sms_pipeline.core.times import AS_TIME

#: `auto` batches carry at most about this much text…
AUTO_BATCH_BYTES = 2_280_000
#: … and no batch more than this: RabbitMQ 4 refuses longer messages.
MAX_BATCH_BYTES = 16 * 2**20
#: What a message takes on the wire beside its text: the number, two separators.
_BYTES_BESIDE_TEXT = 14
#: Of a character that is not plain.
_MOST_BYTES = 3
#: In a small run every profile gets at least about this many batches.
MIN_BATCHES_PER_PROFILE = 8
#: No longer text is an SMS (ten concatenated segments).
MAX_TEXT_LENGTH = 1_530
#: Of a text with fields: their names may be longer than what they stand for.
MAX_TEMPLATE_LENGTH = 10_000
#: Of a name, a tag and its value, characters.
MAX_NAME_LENGTH = 64
#: Of a run.
MAX_TAGS = 20
MAX_PROFILES = 1_000
MAX_THRESHOLDS = 100
#: Between two updates, seconds: no reader is faster than the first, none waits for the second.
MIN_PERIOD, MAX_PERIOD = 0.001, 3_600
#: Longest deadline, seconds: a year.
MAX_RUN_SECONDS = 365 * 86_400
RunSeconds = Annotated[float, Field(gt=0, le=MAX_RUN_SECONDS), AS_TIME]
#: Largest run: no alert has more recipients.
MAX_MESSAGES = 4_000_000_000


def _recipients(value: object) -> object:
    """A plain string is short for a mapping with only `file`."""
    return {"file": value} if isinstance(value, str) else value


DEFAULT_SENDERS = (
    SenderProfile(name="fast", count=20, mean_time=0.05, failure_rate=0.05),
    SenderProfile(name="standard", count=10, mean_time=0.1, failure_rate=0.10),
    SenderProfile(name="slow", count=5, mean_time=0.2, failure_rate=0.20),
)


def _require_printable(text: str) -> None:
    if not (text.strip() and text.isprintable() and len(text) <= MAX_NAME_LENGTH):
        raise ValueError(f"must be 1 to {MAX_NAME_LENGTH} printable characters")


#: The same for editors, which know no validators.
_BatchSize = Literal["auto"] | Annotated[int, Field(ge=1, le=MAX_BATCH_SIZE)]


def _batch_size(value: object) -> object:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if value != "auto" and not (is_number and 1 <= value <= MAX_BATCH_SIZE):  # type: ignore[operator]
        raise ValueError(f"must be 'auto' or a whole number from 1 to {MAX_BATCH_SIZE}")
    return value


class Simulation(Frozen):
    """What to rehearse. Every key has a default; a YAML file and options override them."""

    name: str | None = Field(default=None, description="what to call the run", examples=["drill 3"])
    tags: dict[str, str] = Field(
        default={},
        description="words to tell runs by, as `{region: north}`",
        examples=[{"region": "north"}],
    )
    num_messages: int = Field(default=1_000, ge=1, le=MAX_MESSAGES, description="messages to send")
    report_period: Annotated[float, Field(ge=MIN_PERIOD, le=MAX_PERIOD), AS_TIME] = Field(
        default=2.0, description="seconds between two updates of the monitor"
    )
    senders: Annotated[tuple[SenderProfile, ...], Field(strict=False)] = Field(
        default=DEFAULT_SENDERS, description="the sender profiles"
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**63,
        description="the same seed makes the same messages; null = drawn at random",
        examples=[7],
    )
    batch_size: Annotated[
        Literal["auto"] | int, BeforeValidator(_batch_size, json_schema_input_type=_BatchSize)
    ] = Field(default="auto", description="messages per task, 1 to 20000, or `auto`")
    urgent: bool = Field(
        default=False, description="workers take the run's batches before those of other runs"
    )
    rate: Rate = Field(
        default=None,
        description="most messages dispatched per second, as 500/s, 10k/s or 600/min; null = "
        "no limit",
        examples=["10k/s"],
    )
    window: Annotated[
        Window | None,
        BeforeValidator(Window.from_text, json_schema_input_type=str | Window | None),
    ] = Field(
        default=None,
        description="hours in which messages are sent, as 08:00-21:00 Europe/Berlin; null = always",
        examples=["08:00-21:00 Europe/Berlin"],
    )
    routing: Literal["adaptive", "static"] = Field(
        default="adaptive",
        description="`adaptive` follows the backlog, `static` publishes all at once",
    )
    max_text_length: int = Field(
        default=100, ge=1, le=MAX_TEXT_LENGTH, description="longest text, characters"
    )
    recipients: Annotated[
        Recipients | None,
        BeforeValidator(_recipients, json_schema_input_type=str | Recipients | None),
    ] = Field(
        default=None,
        description="a file with who the messages go to; null = random numbers and texts",
    )
    text: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_TEMPLATE_LENGTH,
        description="what they say, as `Evacuate {zone} now.`, with columns of the file",
    )
    alphabet: Alphabet = Field(
        default="plain",
        description="of random texts: `plain`, `gsm-7`, `ucs-2` (Cyrillic), or `mixed`",
    )
    phone_format: PhoneFormat = Field(
        default="xxx-xxx-xxxx",
        description="`xxx-xxx-xxxx`, `e164` (+1xxxxxxxxxx), or `any` (0 to 9 in each place)",
    )
    deadline: RunSeconds | None = Field(
        default=None,
        description="seconds from the start of the run after which messages expire; null = never",
        examples=[600],
    )
    stuck_after: RunSeconds = Field(
        default=300.0, description="seconds after which an unsettled batch is reported as stuck"
    )
    retry: RetryPolicy = Field(default=RetryPolicy(), description="retry policy")
    failover: Annotated[
        Failover | None,
        BeforeValidator(Failover.switched, json_schema_input_type=bool | Failover | None),
    ] = Field(
        default=Failover(),
        description="when messages go from their profile to another one; `false` = never",
        examples=[{"attempts": 2, "to": "standard", "unattended": 10}],
    )
    messages_from: Literal["seed", "caller", "recipients", "measure", "forecast"] = Field(
        default="seed",
        description="`seed`; `caller` (`send_sms.delay(number, text)`), `recipients`, `measure` "
        "and `forecast` (`forecast --save`) are set by the program, never in a file",
    )
    thresholds: Annotated[
        tuple[
            Annotated[
                Threshold,
                BeforeValidator(Threshold.spelt_out, json_schema_input_type=str | Threshold),
            ],
            ...,
        ],
        Field(strict=False),
    ] = Field(
        default=(),
        description="conditions the run must meet; the exit code is 3 if it misses one",
        examples=[["failed < 1%", "reached 99% < 2m"]],
    )
    events: Annotated[tuple[Event, ...], Field(strict=False)] = Field(
        default=(),
        description="what goes wrong during the run",
        examples=[[{"at": 5, "for": 10, "outage": True}]],
    )

    @field_validator("name")
    @classmethod
    def _can_be_called(cls, name: str | None) -> str | None:
        if name is not None:
            _require_printable(name)
        return name

    @field_validator("tags")
    @classmethod
    def _can_be_told_by(cls, tags: dict[str, str]) -> dict[str, str]:
        if len(tags) > MAX_TAGS:
            raise ValueError(f"must be at most {MAX_TAGS} tags")
        for word in (*tags, *tags.values()):
            _require_printable(word)
        return tags

    @field_validator("thresholds")
    @classmethod
    def _can_be_judged(cls, thresholds: tuple[Threshold, ...]) -> tuple[Threshold, ...]:
        if len(thresholds) > MAX_THRESHOLDS:
            raise ValueError(f"must be at most {MAX_THRESHOLDS} thresholds")
        return thresholds

    @field_validator("events")
    @classmethod
    def _can_travel(cls, events: tuple[Event, ...]) -> tuple[Event, ...]:
        if len(events) > MAX_EVENTS:
            raise ValueError(f"must be at most {MAX_EVENTS} events")
        return events

    @field_validator("text")
    @classmethod
    def _can_be_filled(cls, text: str | None) -> str | None:
        if text is not None:
            Template(text)
        return text

    @field_validator("senders")
    @classmethod
    def _named(cls, senders: tuple[SenderProfile, ...]) -> tuple[SenderProfile, ...]:
        if not senders:
            raise ValueError("must have at least 1 sender profile")
        if len(senders) > MAX_PROFILES:
            raise ValueError(f"must be at most {MAX_PROFILES} sender profiles")
        named = tuple(
            sender if sender.name else sender.model_copy(update={"name": f"sender-{number}"})
            for number, sender in enumerate(senders, start=1)
        )
        names = [sender.name for sender in named]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"names must differ, but {twice[0]!r} is used twice")
        return named

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.recipients and self.text is None:
            raise ValueError("recipients need a text: what to tell them")
        if self.text is not None and not self.recipients:
            raise ValueError("text needs recipients: the file with those it goes to")
        return self

    @model_validator(mode="after")
    def _fits_the_broker(self) -> Self:
        largest = MAX_BATCH_BYTES // self._message_bytes
        if self.batch_size != "auto" and self.batch_size > largest:
            raise ValueError(
                f"batch_size {self.batch_size} with {self._longest_text} makes "
                f"messages longer than the broker takes; use a batch_size of at most {largest}"
            )
        return self

    @property
    def _longest_text(self) -> str:
        if self.recipients and self.recipients.contents:
            return f"messages of up to {self.recipients.contents.message_bytes} bytes"
        return f"max_text_length {self.max_text_length}"

    @model_validator(mode="after")
    def _names_profiles_that_are_there(self) -> Self:
        names = [sender.name for sender in self.senders]
        if unknown := unknown_profile(self.events, names):
            place, name = unknown
            raise ValueError(f"events[{place}].profile: {no_profile(name, names)}")
        if self.failover and (problem := problem_of(self.failover, names, self.retry)):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _receipts_come(self) -> Self:
        if not any(sender.receipts for sender in self.senders):
            for number, one in enumerate(self.thresholds):
                if checks.parse(one.check).of_receipts:
                    raise ValueError(
                        f"thresholds[{number}]: {one.check!r} needs delivery receipts, but no "
                        "sender profile has 'receipts'"
                    )
        return self

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if never := endless(self.senders, self.failover, self.retry):
            raise ValueError(
                f"sender {never[0]!r} has failure_rate 1 and retry.max_attempts is null, so the "
                "run could never end; lower the failure rate or set retry.max_attempts"
            )
        return self

    @property
    def is_forecast(self) -> bool:
        """Whether it is of a run that was forecast: no message of it was ever sent."""
        return self.messages_from == "forecast"

    @property
    def is_measurement(self) -> bool:
        """Whether it is of a run that only measures this machine."""
        return self.messages_from == "measure"

    def takes_as_long_as(self, other: Simulation) -> bool:
        """Whether nothing differs but what has no influence on the times of a run."""
        same = {name: getattr(other, name) for name in _WITHOUT_INFLUENCE}
        return self.model_copy(update=same) == other

    def profile(self, name: str) -> SenderProfile:
        """The profile called `name`.

        Raises:
            ConfigError: there is none; the message lists those there are.
        """
        for sender in self.senders:
            if sender.name == name:
                return sender
        known = ", ".join(sender.name for sender in self.senders)
        raise ConfigError(f"unknown profile {name!r}: the configuration has {known}")

    def columns(self, seed: int, first_index: int, count: int) -> Columns:
        """Random messages of a run with this seed: see `messages.make_columns`."""
        return make_columns(
            seed, first_index, count, self.max_text_length, self.phone_format, self.alphabet
        )

    def batch_size_for(self, profile: SenderProfile) -> int:
        """Messages per batch of `profile` in this run.

        `auto` is half a second of work, cut finer in a small run so that each profile's share of
        it comes to about `MIN_BATCHES_PER_PROFILE` batches, where texts are long, and where no
        more may be dispatched in that time. None holds more than may be dispatched in a second.
        """
        if self.batch_size != "auto":
            return int(min(self.batch_size, most_at_once(self.rate)))
        fair = math.ceil(self.num_messages * self._share(profile) / MIN_BATCHES_PER_PROFILE)
        fitting = AUTO_BATCH_BYTES // self._message_bytes
        paced = most_at_once(self.rate, AUTO_BATCH_SECONDS)
        return max(1, int(min(profile.batch_size, fair, fitting, paced)))

    @property
    def _message_bytes(self) -> int:
        """Most that one message takes on the wire."""
        if self.recipients and self.recipients.contents:
            return self.recipients.contents.message_bytes
        each = 1 if self.alphabet == "plain" else _MOST_BYTES
        return each * self.max_text_length + _BYTES_BESIDE_TEXT

    def _share(self, profile: SenderProfile) -> float:
        unlimited = [sender for sender in self.senders if math.isinf(sender.capacity)]
        if unlimited:
            return 1 / len(unlimited) if profile in unlimited else 1 / len(self.senders)
        if math.isinf(profile.capacity):
            # Only a worker's command line says so; beside it the configured ones take nothing.
            return 1.0
        return profile.capacity / sum(sender.capacity for sender in self.senders)


_WITHOUT_INFLUENCE = (
    "name",
    "tags",
    "seed",
    "urgent",
    "report_period",
    "phone_format",
    "stuck_after",
    "thresholds",
    "messages_from",
)


def parse_simulation(text: str) -> Simulation:
    """The frozen configuration as the ledger keeps it, JSON."""
    return Simulation.model_validate_json(text, strict=False)
