"""Simulation (from YAML) and Settings (from the environment), validated once, then frozen."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from sms_pipeline.core import checks
from sms_pipeline.errors import ConfigError

#: A profile's name is part of a queue name and of a topic routing key, where dots separate words.
PROFILE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: Largest batch. What a batch costs hardly depends on its size: at 5,000 a run with 10 % failures
#: took 2.6 times the CPU of one at 20,000; above that little is gained, and each one in hand takes
#: memory.
MAX_BATCH_SIZE = 20_000
#: `auto` batches carry at most about this much text…
AUTO_BATCH_BYTES = 2_280_000
#: … and no batch more than this: RabbitMQ 4 refuses longer messages.
MAX_BATCH_BYTES = 16 * 2**20
#: What a message takes on the wire beside its text: the number, two separators.
_BYTES_BESIDE_TEXT = 14
#: `auto` batches hold about this many seconds of work for the profile's senders.
AUTO_BATCH_SECONDS = 0.5
#: In a small run every profile gets at least about this many batches.
MIN_BATCHES_PER_PROFILE = 8
#: Longer texts are not SMS any more (ten concatenated segments).
MAX_TEXT_LENGTH = 1_530
#: Largest run: a message index fits a 32-bit field of the message generator's counter.
MAX_MESSAGES = 4_000_000_000
#: One process holds its senders in one array; ten million take 80 MB.
MAX_SENDERS = 10_000_000


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SenderProfile(_Frozen):
    """A kind of sender: how long it takes, how often it fails, how many there are."""

    name: str = ""
    mean_time: float = Field(ge=0, description="mean seconds one sender needs for one message")
    failure_rate: float = Field(ge=0, le=1, description="share of attempts that fail, 0 to 1")
    count: int = Field(
        default=1, ge=1, le=MAX_SENDERS, description="number of identical senders per worker"
    )
    shape: float = Field(
        default=16.0, gt=0, description="shape of the gamma distribution of sending times"
    )
    max_time: float | None = Field(
        default=None, gt=0, description="cap in seconds on one sending time"
    )

    @field_validator("name")
    @classmethod
    def _queue_safe(cls, name: str) -> str:
        if name and not PROFILE_NAME.fullmatch(name):
            raise ValueError("must be 1 to 64 letters, digits, '-' or '_'")
        return name

    @property
    def capacity(self) -> float:
        """Messages per second its senders can attempt; infinite when sending takes no time."""
        return self.count / self.mean_time if self.mean_time else math.inf

    @property
    def batch_size(self) -> int:
        """Messages in about half a second of its work: clamp(capacity * 0.5, 1, 20000)."""
        return round(min(max(self.capacity * AUTO_BATCH_SECONDS, 1), MAX_BATCH_SIZE))


class RetryPolicy(_Frozen):
    """How often, and after which pause, a failed message is tried again."""

    max_attempts: int | None = Field(
        default=4, ge=1, description="attempts in all; 1 = never retry, null = until sent"
    )
    backoff: float = Field(default=1.0, ge=0, description="seconds before the first retry")
    backoff_max: float = Field(default=60.0, ge=0, le=86_400, description="longest pause, seconds")
    jitter: float = Field(
        default=0.5, ge=0, le=1, description="share of the pause that is random, 0 to 1"
    )

    def allows_after(self, attempt: int) -> bool:
        """Whether a message that failed in `attempt` (0 is the first) is tried again."""
        return self.max_attempts is None or attempt + 1 < self.max_attempts


#: The type of a validation error that points into an expression.
_BAD_CHECK = "bad_check"


class Threshold(_Frozen):
    """What the run must keep to, and whether missing it ends the run."""

    check: str = Field(description="metric, comparison, limit: see below")
    abort: bool = Field(default=False, description="missed for good, it cancels the run")

    @field_validator("check")
    @classmethod
    def _parsed(cls, text: str) -> str:
        try:
            checks.parse(text)
        except checks.BadCheckError as error:
            context = {"what": error.what, "pointed": error.pointed}
            raise PydanticCustomError(_BAD_CHECK, "{what}", context) from error
        return text


def _threshold(value: object) -> object:
    """A string stands for a mapping with nothing but `check`."""
    return {"check": value} if isinstance(value, str) else value


DEFAULT_SENDERS = (
    SenderProfile(name="fast", count=20, mean_time=0.05, failure_rate=0.05),
    SenderProfile(name="standard", count=10, mean_time=0.1, failure_rate=0.10),
    SenderProfile(name="slow", count=5, mean_time=0.2, failure_rate=0.20),
)


def _batch_size(value: object) -> object:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if value != "auto" and not (is_number and 1 <= value <= MAX_BATCH_SIZE):  # type: ignore[operator]
        raise ValueError(f"must be 'auto' or a whole number from 1 to {MAX_BATCH_SIZE}")
    return value


class Simulation(_Frozen):
    """What to rehearse. Every key has a default; a YAML file and options override them."""

    num_messages: int = Field(default=1_000, ge=1, le=MAX_MESSAGES, description="messages to send")
    report_period: float = Field(
        default=2.0, gt=0, le=3_600, description="seconds between two reports of the monitor"
    )
    senders: Annotated[tuple[SenderProfile, ...], Field(strict=False)] = Field(
        default=DEFAULT_SENDERS, description="the sender profiles"
    )
    seed: int | None = Field(
        default=None, ge=0, lt=2**63, description="same seed, same messages; null = drawn at start"
    )
    batch_size: Annotated[Literal["auto"] | int, BeforeValidator(_batch_size)] = Field(
        default="auto", description="messages per task, 1 to 20000, or `auto`"
    )
    routing: Literal["adaptive", "static"] = Field(
        default="adaptive",
        description="`adaptive` follows the backlog, `static` publishes all at once",
    )
    max_text_length: int = Field(
        default=100, ge=1, le=MAX_TEXT_LENGTH, description="longest text, characters"
    )
    phone_format: Literal["xxx-xxx-xxxx", "e164"] = Field(
        default="xxx-xxx-xxxx", description="`xxx-xxx-xxxx` or `e164` (+1xxxxxxxxxx)"
    )
    deadline: float | None = Field(
        default=None,
        gt=0,
        description="seconds after dispatch until which a message may be sent; null = for ever",
    )
    stuck_after: float = Field(
        default=300.0, gt=0, description="seconds after which an unsettled batch is named as stuck"
    )
    retry: RetryPolicy = Field(default=RetryPolicy(), description="retry policy")
    thresholds: Annotated[
        tuple[Annotated[Threshold, BeforeValidator(_threshold)], ...], Field(strict=False)
    ] = Field(default=(), description="what the run must keep to, else it ends with 3")

    @field_validator("senders")
    @classmethod
    def _named(cls, senders: tuple[SenderProfile, ...]) -> tuple[SenderProfile, ...]:
        if not senders:
            raise ValueError("must have at least 1 sender profile")
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
    def _fits_the_broker(self) -> Self:
        largest = MAX_BATCH_BYTES // self._message_bytes
        if self.batch_size != "auto" and self.batch_size > largest:
            raise ValueError(
                f"batch_size {self.batch_size} with max_text_length {self.max_text_length} makes "
                f"messages longer than the broker takes; use a batch_size of at most {largest}"
            )
        return self

    @model_validator(mode="after")
    def _ends(self) -> Self:
        never = [sender.name for sender in self.senders if sender.failure_rate == 1]
        if self.retry.max_attempts is None and never:
            raise ValueError(
                f"sender {never[0]!r} has failure_rate 1 and retry.max_attempts is null, so the "
                "run could never end; lower the failure rate or set retry.max_attempts"
            )
        return self

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

    def batch_size_for(self, profile: SenderProfile) -> int:
        """Messages per batch of `profile` in this run.

        `auto` is half a second of work, cut finer in a small run so that each profile's share of
        it comes to about `MIN_BATCHES_PER_PROFILE` batches, and where texts are long.
        """
        if self.batch_size != "auto":
            return self.batch_size
        fair = math.ceil(self.num_messages * self._share(profile) / MIN_BATCHES_PER_PROFILE)
        return max(1, min(profile.batch_size, fair, AUTO_BATCH_BYTES // self._message_bytes))

    @property
    def _message_bytes(self) -> int:
        """Most that one message takes on the wire."""
        return self.max_text_length + _BYTES_BESIDE_TEXT

    def _share(self, profile: SenderProfile) -> float:
        unlimited = [sender for sender in self.senders if math.isinf(sender.capacity)]
        if unlimited:
            return 1 / len(unlimited) if profile in unlimited else 1 / len(self.senders)
        return profile.capacity / sum(sender.capacity for sender in self.senders)


_MERGE_TAG = "tag:yaml.org,2002:merge"


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys in silence; this loader refuses them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE_TAG:
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue
            if key in seen:
                line = key_node.start_mark.line + 1
                raise ConfigError(f"line {line}: key {key!r} is given twice; keep one")
            seen.add(key)
        self.flatten_mapping(node)
        return super().construct_mapping(node, deep)


def load_simulation(path: Path | None, overrides: Mapping[str, Any] | None = None) -> Simulation:
    """Read `path` (None: the defaults) and lay `overrides` (from options) over it, key by key.

    Raises:
        ConfigError: unreadable file, broken YAML, or a value that is not allowed.
    """
    content = _read_mapping(path) if path else {}
    simulation = _validate(content, str(path) if path else "configuration")
    if not overrides:
        return simulation
    merged = dict(content)
    for key, value in overrides.items():
        merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return _validate(merged, "option")


def override_simulation(simulation: Simulation, overrides: Mapping[str, Any]) -> Simulation:
    """`simulation` with `overrides` (from options), validated again.

    Raises:
        ConfigError: a value is not allowed.
    """
    return _validate({**simulation.model_dump(), **overrides}, "option")


def with_thresholds(simulation: Simulation, checks: Sequence[str]) -> Simulation:
    """`simulation` with more thresholds than it has, from `--threshold`.

    Raises:
        ConfigError: one of `checks` is not a check; the message points at the mistake.
    """
    try:
        added = tuple(Threshold(check=check) for check in checks)
    except ValidationError as error:
        raise ConfigError(_first_problem(error, "--threshold")) from error
    return simulation.model_copy(update={"thresholds": (*simulation.thresholds, *added)})


def parse_simulation(text: str) -> Simulation:
    """The frozen configuration as the ledger keeps it, JSON."""
    return Simulation.model_validate_json(text, strict=False)


def override_profile(profile: SenderProfile, **changes: Any) -> SenderProfile:
    """`profile` with those of `changes` that are not None, validated again.

    Raises:
        ConfigError: a value is not allowed.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    try:
        return SenderProfile.model_validate({**profile.model_dump(), **given})
    except ValidationError as error:
        raise ConfigError(_first_problem(error, f"option for profile {profile.name!r}")) from error


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)  # noqa: S506 - safe
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {_yaml_problem(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise ConfigError(f"{path}: must be a mapping of keys to values, got a {kind}")
    return content


def _yaml_problem(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split()) or type(error).__name__


def _validate(content: Mapping[str, Any], source: str) -> Simulation:
    try:
        return Simulation.model_validate(dict(content))
    except ValidationError as error:
        raise ConfigError(_first_problem(error, source)) from error


#: Pydantic speaks of Python's types; a user wrote YAML.
_IN_YAML_WORDS = {
    "tuple_type": "should be a list",
    "model_type": "should be a mapping of keys to values",
    "model_attributes_type": "should be a mapping of keys to values",
}


def _first_problem(error: ValidationError, source: str) -> str:
    problems = error.errors(include_url=False)
    first = problems[0]
    key = _dotted(first["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{source}: unknown key {key!r}; allowed here: {_allowed_keys(first['loc'])}{more}"
    if first["type"] == "missing":
        return f"{source}: {key}: is required{more}"
    if first["type"] == _BAD_CHECK:
        where = ": ".join(filter(None, (source, key.removesuffix("check").rstrip("."))))
        return f"{where}: {first['msg']}{more}\n{first['ctx']['pointed']}"
    what = _IN_YAML_WORDS.get(first["type"])
    what = what or first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if not key:
        return f"{source}: {what}{more}"
    return f"{source}: {key}: {what}, got {_shown(first['input'])}{more}"


def _dotted(location: tuple[int | str, ...]) -> str:
    dotted = ""
    for part in location:
        if isinstance(part, int):
            dotted += f"[{part}]"
        else:
            dotted += f".{part}" if dotted else part
    return dotted


def _allowed_keys(location: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = Simulation
    if "senders" in location[:1]:
        model = SenderProfile
    elif "retry" in location[:1]:
        model = RetryPolicy
    elif "thresholds" in location[:1]:
        model = Threshold
    return ", ".join(model.model_fields)


#: Longest part of a bad value that an error repeats.
_SHOWN_LENGTH = 60


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"


#: Where the ledger lives when nothing else is said.
DEFAULT_DATABASE_URL = "sqlite:///sms_pipeline.db"
#: Kombu's in-process broker, for a first run without a server.
EMBEDDED_BROKER_URL = "memory://localhost"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
QUEUE_TYPES = ("quorum", "classic")


def is_embedded(broker_url: str) -> bool:
    """Whether the broker of that URL lives in the process that connects to it."""
    return broker_url.startswith("memory:")


class Settings(_Frozen):
    """Where things are: read from the environment and `.env`, once."""

    broker_url: str = EMBEDDED_BROKER_URL
    database_url: str = DEFAULT_DATABASE_URL
    config: Path | None = None
    log_level: str = "WARNING"
    queue_type: str = "quorum"
    dashboard_password: str | None = Field(default=None, repr=False)

    @property
    def embedded(self) -> bool:
        """Whether the broker lives in this process."""
        return is_embedded(self.broker_url)


#: The variables that are read, and the field each one sets.
ENVIRONMENT = {
    "CELERY_BROKER_URL": "broker_url",
    "SMS_DATABASE_URL": "database_url",
    "SMS_CONFIG": "config",
    "SMS_LOG_LEVEL": "log_level",
    "SMS_QUEUE_TYPE": "queue_type",
    "SMS_DASHBOARD_PASSWORD": "dashboard_password",
}


def dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of nested mappings, each under the dotted key that errors name it by."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `environment` (None: the process's), over `.env` of this folder or a parent.

    Raises:
        ConfigError: a variable has a value that is not allowed.
    """
    environment = os.environ if environment is None else environment
    merged = {**_read_dotenv(), **environment}
    given = {field: value for name, field in ENVIRONMENT.items() if (value := merged.get(name))}
    _require_text(merged)
    _require_broker_url(given.get("broker_url"))
    if "log_level" in given:
        given["log_level"] = given["log_level"].upper()
    _require("SMS_LOG_LEVEL", given.get("log_level"), LOG_LEVELS)
    _require("SMS_QUEUE_TYPE", given.get("queue_type"), QUEUE_TYPES)
    return Settings.model_validate(given, strict=False)


def _read_dotenv() -> Mapping[str, str | None]:
    import dotenv

    file = ".env"
    try:
        file = dotenv.find_dotenv(usecwd=True)
        return dotenv.dotenv_values(file) if file else {}
    except OSError as error:
        raise ConfigError(f"{file}: can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8 text") from error


def _require_text(values: Mapping[str, str | None]) -> None:
    """Only a file may have a name that is no text."""
    for name in ENVIRONMENT.keys() - {"SMS_CONFIG"}:
        try:
            (values.get(name) or "").encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{name}: is not UTF-8 text") from None


def _require(name: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise ConfigError(f"{name}: must be one of {', '.join(allowed)}, got {value!r}")


#: Schemes of brokers that keep what was confirmed, and the one inside the process.
_BROKER_SCHEMES = ("amqp", "amqps", "pyamqp", "memory")


def _require_broker_url(url: str | None) -> None:
    """The message does not repeat the URL: there is a password in it."""
    if url is None:
        return
    try:
        known = urlsplit(url).scheme in _BROKER_SCHEMES and urlsplit(url).port != 0
    except ValueError:
        known = False
    if known:
        return
    raise ConfigError(
        "CELERY_BROKER_URL: is not the URL of a broker that can be used; "
        "must be amqp://USER:PASSWORD@HOST:PORT/VHOST, or memory:// for none"
    )
