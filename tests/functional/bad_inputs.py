"""Hundreds of inputs that are wrong: options, variables, URLs, files, ledgers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import annotated_types
import click
import yaml
from pydantic import BaseModel

from sms_pipeline.cli.main import cli
from sms_pipeline.config.problems import MAX_LISTED
from sms_pipeline.config.reading import MAX_BYTES
from sms_pipeline.config.settings import ENVIRONMENT
from sms_pipeline.core.checks import Threshold
from sms_pipeline.core.errors import EXIT_BROKEN, EXIT_FAILURE, EXIT_USAGE
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.recipients import Recipients
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import Simulation

#: A broker at which nobody listens: what is wrong must be noticed before it is asked.
AWAY = "amqp://guest:secret@127.0.0.1:1//"
#: Of the ledger that commands find: its runs are 1 and 2, with ten messages each.
LEDGER = "sms_pipeline.db"
#: A provider's log, right in itself.
LOG = "log.csv"
#: A file of recipients, right in itself.
PEOPLE = "people.csv"


@dataclass(frozen=True)
class BadInput:
    """A command that can't be done, and what its one line must say."""

    name: str
    arguments: tuple[str, ...]
    #: At least one of these words.
    says: tuple[str, ...]
    codes: tuple[int, ...] = (EXIT_USAGE,)
    #: At most; an expression that is pointed into takes two more, and a list of problems many.
    lines: int = 1
    variables: Mapping[str, str] = field(default_factory=dict)
    #: Makes what the command finds in its folder.
    prepare: Callable[[Path], object] | None = None
    program: str = "sms-pipeline"


# Values

ESCAPE, NOT_TEXT = "\x1b[31mred", "\udcff"
NO_NUMBERS = ("", " ", "abc", "1,5", "nan%", "0x10", "--", "1 2", "null", "½", ESCAPE, NOT_TEXT)
NO_INTEGERS = (*NO_NUMBERS, "1.5", "nan", "inf", "-inf", "1e3", "9" * 5_000)
NO_PERIODS = (*NO_NUMBERS, "nan", "inf", "-inf", "1e400", "0", "-1", "1e-9", "3601")
NO_NAMES = ("", " ", "x" * 65, "a\nb", "a\tb", "\x7f", "\u202eevil", ESCAPE, NOT_TEXT)
NO_CHECKS = (
    *("", "failed", "failed <", "< 1%", "failed < x", "failed ~ 1%", "failed << 1", "fail < 1"),
    *("failed < 101%", "failed < -1", "failed < 1s", "p95 delivery < 30", "reached < 2m"),
    *("reached 101% < 2m", "reached 0% < 2m", "lost == 1%", "duration == 1s", "failed < nan"),
    *("failed < 1e3", f"failed < {'9' * 100}", f"failed{ESCAPE} < 1", f"failed < 1{NOT_TEXT}"),
)
LONG_CHECK = f"failed < {'1' * 300}"
NO_ADDRESSES = (
    *("", " ", "abc", ":80", "70000", "-1", "1.5", "host:", "host:x", "host:70000", "[::1"),
    *("[::1]:x", "::1:80", "a:b:c", "http://x:1", "user@x:1", "x/y:1", "9" * 5_000, "a..b:1"),
    *(f"{ESCAPE}:1", f"{NOT_TEXT}:1", "nowhere.invalid:80", "192.0.2.1:0"),
)
NO_HOSTS = ("nowhere.invalid", "999.1.1.1", "a..b", "x" * 300, "a b", ESCAPE, "http://x", "[::1]")
NO_OUTPUTS = ("none/x.html", ".", "/dev/full", "x" * 300, f"none/{ESCAPE}", "a\nb/c")


def _missing(folder: Path) -> None:
    """There is nothing of that name."""


def _pipe(folder: Path) -> None:
    import os

    os.mkfifo(folder / "bad")


def _device(folder: Path) -> None:
    (folder / "bad").symlink_to("/dev/zero")


def _loop(folder: Path) -> None:
    (folder / "bad").symlink_to("bad")


def _socket(folder: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "bad"))


def _folder(folder: Path) -> None:
    (folder / "bad").mkdir()


def content(text: str | bytes) -> Callable[[Path], None]:
    """A file with that content."""

    def make(folder: Path) -> None:
        (folder / "bad").write_bytes(text if isinstance(text, bytes) else text.encode())

    return make


#: What can't be read as a text file, however the file is named.
NO_FILES: dict[str, Callable[[Path], None]] = {
    "missing": _missing,
    "folder": _folder,
    "pipe": _pipe,
    "device": _device,
    "loop": _loop,
    "socket": _socket,
    "binary": content(b"\xff\xfe\x00"),
    "endless line": content(b"a" * (MAX_BYTES + 1)),
}


# Options


@dataclass(frozen=True)
class Wrong:
    """Values that an option can't have."""

    values: tuple[str, ...]
    #: What the line may say instead of the option's name.
    key: str = ""
    lines: int = 1
    codes: tuple[int, ...] = (EXIT_USAGE,)


WRONG = {
    "--messages": Wrong((*NO_INTEGERS, "0", "-1", "4000000001", str(2**64)), "num_messages"),
    "--seed": Wrong((*NO_INTEGERS, "-1", str(2**63), str(2**64)), "seed"),
    "--batch-size": Wrong((*NO_INTEGERS, "0", "-1", "20001", "AUTO"), "batch_size"),
    "--rate": Wrong(("", "5", "0/s", "-1/s", "5/day", "5e9/s", "9" * 400 + "/s", ESCAPE), "rate"),
    "--routing": Wrong(("", "best", "ADAPTIVE", "static ", ESCAPE, NOT_TEXT), "routing"),
    "--max-attempts": Wrong(
        (*NO_INTEGERS, "0", "-1", "1000001", str(2**64), "UNLIMITED"), "max_attempts"
    ),
    "--name": Wrong(NO_NAMES, "name"),
    "--tag": Wrong(("", "a", "=", "a=", "=b", "a= ", f"{'k' * 65}=v", f"a={ESCAPE}"), "tags"),
    "--threshold": Wrong(NO_CHECKS, lines=3),
    "--every": Wrong(NO_PERIODS, "report_period"),
    "--metrics": Wrong(NO_ADDRESSES, "can't listen"),
    "--host": Wrong(NO_HOSTS),
    "--port": Wrong((*NO_INTEGERS, "-1", "65536", str(2**64))),
    "--workers": Wrong((*NO_INTEGERS, "0", "-1", "10001")),
    "--message": Wrong((*NO_INTEGERS, "-1", "10", str(2**64)), "no message"),
    "--format": Wrong(("", "pdf", "html ", ESCAPE, NOT_TEXT)),
    "--output": Wrong(NO_OUTPUTS, "can't be written", codes=(EXIT_FAILURE, EXIT_USAGE)),
    "--columns": Wrong(("", "a", "=", "sent=", "sent=nope", "nope=a", "sent=a,sent=b", ESCAPE)),
    "--status": Wrong(("", "a", "=", "OK=", "OK=maybe", f"OK={ESCAPE}")),
    "--within": Wrong(("", "abc", "0", "-1s", "10x", "nan", "9" * 400 + "s", ESCAPE)),
    "--share": Wrong(("", "abc", "10", "0%", "101%", "-1%", "nan%", ESCAPE)),
    "--profile": Wrong(("nope", "a b", ESCAPE, NOT_TEXT)),
    "--recipients": Wrong(("", "nope.csv", ".", "/dev/zero", LOG, ESCAPE, NOT_TEXT), "recipients"),
    "--column": Wrong(("", "nope", "+12025550100", ESCAPE, NOT_TEXT), "recipients.file", 3),
    "--text": Wrong(("", "{", "now", "x" * 10_001, NOT_TEXT)),
    "--to": Wrong(("", "failed", "failed:0", "lost:1", "failed:1", "failed:99", ESCAPE), "no run"),
    "--country": Wrong(("", "U", "USA", "12", ESCAPE, NOT_TEXT)),
    "--suppress": Wrong(("", "nope.csv", ".", "/dev/zero", LOG, ESCAPE), "file"),
    "--rejects": Wrong(("", "none/x.csv", ".", "/dev/full", PEOPLE, "x" * 300), "written"),
    "--log-level": Wrong(("", "LOUD", "10", ESCAPE, NOT_TEXT)),
}
#: Options that name a text file.
FILES = {"--config", "--password-file"}
#: Options that may have any value.
FREE = {"--password", "--allow-host", "--seal", "--help", "--version"}
#: What makes the rest of a command right, and lets it end soon if what is wrong is not noticed.
RIGHT = {
    "monitor": ("--once",),
    "dashboard": ("--port", "0"),
    "compare": ("1", "2"),
    "run": ("-n", "1"),
    "forecast": ("-n", "1"),
    "calibrate": (LOG,),
    "recipients": (PEOPLE, "-o", "clean.csv"),
    "plan": ("--within", "10m", "-n", "1"),
}


#: Commands that list what is wrong with a file, among other things.
TELLING = {"doctor"}
#: Noticed only when the rest is done and printed, or where there is something left to do.
LATE = {("plan", "--output"), ("resume", "--recipients")}
#: Commands that share their options with `run` get every third value only.
SAMPLED = {"produce": 3, "forecast": 3, "plan": 3, "resume": 3}


def _option(param: click.Option) -> str:
    return max(param.opts, key=len)


def options() -> Iterator[BadInput]:
    """Each option of each command with each wrong value."""
    commands = {"": cli, **cli.commands}
    for name, command in sorted(commands.items()):
        given = (name, *RIGHT.get(name, ())) if name else ()
        for param in command.params:
            if isinstance(param, click.Option):
                rest = () if name else ("runs",)
                yield from _wrong_values(name, param, given, rest)
        yield BadInput(f"{name} --nope", (*given, "--nope"), ("--nope",))
        yield BadInput(
            f"{name} extra", (*given, *["1"] * 3, ESCAPE), ("argument", "command", "RUN")
        )


def _wrong_values(
    command: str, param: click.Option, given: tuple[str, ...], rest: tuple[str, ...]
) -> Iterator[BadInput]:
    option = _option(param)
    says: tuple[str, ...] = (option, option.lstrip("-"))
    if param.is_flag:
        if option not in FREE:
            yield BadInput(f"{command} {option}=5", (*given, f"{option}=5", *rest), says)
    elif option in FILES:
        if command in TELLING:
            return
        for kind, prepare in NO_FILES.items():
            arguments = (*given, option, "bad", *rest)
            variables = {"CELERY_BROKER_URL": AWAY} if command == "produce" else {}
            yield BadInput(
                f"{command} {option} {kind}",
                arguments,
                ("bad: ",),
                prepare=prepare,
                variables=variables,
            )
    elif option in WRONG and (command, option) not in LATE:
        wrong = WRONG[option]
        says += (wrong.key,) if wrong.key else ()
        for value in wrong.values[:: SAMPLED.get(command, 1)]:
            yield BadInput(
                f"{command} {option} {value[:20]!a}",
                (*given, f"{option}={value}", *rest),
                says,
                lines=wrong.lines,
                codes=wrong.codes,
                variables={"CELERY_BROKER_URL": AWAY} if command == "produce" else {},
            )


#: Commands that a run is named to.
OF_A_RUN = ("audit", "cancel", "continue", "failures", "monitor", "pause", "report", "resume")
NO_RUNS = (*NO_INTEGERS[1:6], "0", "1.5", "9" * 5_000, str(2**31), str(2**64), "3", "99", "'1'")


def run_numbers() -> Iterator[BadInput]:
    """Runs that can't be, or are not."""
    for command in (*OF_A_RUN, "trace"):
        for value in NO_RUNS:
            arguments = (command, *RIGHT.get(command, ()), value)
            yield BadInput(f"{command} {value[:20]!a}", arguments, ("RUN", "no run", "argument"))
    for value in NO_RUNS:
        yield BadInput(f"compare 1 {value[:20]!a}", ("compare", "1", value), ("RUN", "no run"))


# Configuration


def _yaml(values: Any) -> Callable[[Path], None]:
    return content(yaml.safe_dump(values))


def _in_place(model: type[BaseModel], key: str, value: object) -> dict[str, Any]:
    """A configuration in which only this value is wrong."""
    if model is SenderProfile:
        return {"senders": [{"mean_time": 0.1, "failure_rate": 0.1, key: value}]}
    if model is RetryPolicy:
        return {"retry": {key: value}}
    if model is Threshold:
        return {"thresholds": [{"check": "lost == 0", key: value}]}
    if model is Recipients:
        return {"recipients": {"file": "people.csv", key: value}, "text": "Go"}
    return {key: value}


def kinds_of(info: Any) -> dict[Any, list[Any]]:
    """By type that a field may have: its bounds."""
    is_union = get_origin(info.annotation) in (Union, UnionType)
    found: dict[Any, list[Any]] = {}
    for kind in get_args(info.annotation) if is_union else (info.annotation,):
        bounds = [*info.metadata]
        for one in getattr(kind, "__metadata__", ()):
            bounds += getattr(one, "metadata", [one])
        found[getattr(kind, "__origin__", kind)] = bounds
    return found


def _beyond(info: Any) -> Iterator[object]:
    """Numbers just outside the bounds of a field."""
    for bound in next(iter(kinds_of(info).values())):
        if isinstance(bound, annotated_types.Ge):
            yield bound.ge - 1  # type: ignore[operator]
        if isinstance(bound, annotated_types.Gt):
            yield bound.gt
        if isinstance(bound, annotated_types.Le):
            yield bound.le + 1  # type: ignore[operator]
        if isinstance(bound, annotated_types.Lt):
            yield bound.lt


def is_number(info: Any) -> bool:
    """Whether a field of a model is one."""
    return kinds_of(info).keys() - {NoneType} in ({int}, {float})


MODELS = (Simulation, SenderProfile, RetryPolicy, Threshold, Recipients)
#: Wrong for each field that is no number.
NO_VALUES: dict[str, tuple[object, ...]] = {
    "name": (5, True, [], {}, "x" * 65, "a\nb", ESCAPE),
    "tags": (5, "a", [], {"a": 5}, {5: "a"}, {"a": ""}, {"": "a"}, {ESCAPE: "a"}, {"a": None}),
    "senders": (None, 5, "a", {}, [], [5], [None], [[]], [{}], [{"name": "a"}]),
    "batch_size": (None, 0, -1, 20_001, 1.5, True, "", "big", [], {}, 2**64, float("nan")),
    "window": (5, True, "", "08:00-21:00", "8-9 UTC", "08:00-08:00 UTC", "08:00-21:00 X", [], {}),
    "urgent": (None, 5, "yes", "", [], {}),
    "routing": (None, 5, True, "", "best", [], {}, ESCAPE),
    "phone_format": (None, 5, True, "", "us", [], {}),
    "alphabet": (None, 5, True, "", "latin", [], {}),
    "messages_from": (None, 5, True, "", "caller", [], {}),
    "recipients": (5, True, "", [], {}, {"file": ""}, {"column": "to"}, {"file": "a.csv"}, "a.csv"),
    "text": (5, True, "", [], {}, "{", "{}", "now", "x" * 10_001),
    "file": (None, 5, True, "", [], {}, "x" * 5_000),
    "column": (None, 5, True, "", [], {}, "x" * 300),
    "only": (5, True, "", "failed", "failed:0", "lost:1", [], {}),
    "contents": (5, True, "", [], {}, {"rows": 5}),
    "failover": (5, "", "yes", [], [5], {"attempts": 2}, {"to": "fast"}, {"attempts": 0}),
    "receipts": (5, True, "", [], {}, [5], {"missing": 0.1}, {"mean_time": -1}, {"mean": 2}),
    "sha256": (5, True, "", "abc", [], {}, "x" * 64),
    "retry": (None, 5, True, "", [], {"tries": 5}),
    "thresholds": (None, 5, True, "failed < 1%", {}, [5], [{}], [None], ["lost == 0"] * 101),
    "events": (None, 5, True, "", {}, [5], [{}], [None], [{"at": 1, "for": 1}]),
    "preset": (5, True, "", "nope", [], {}),
    "times": (
        *(5, True, "", "abc", {}, [], [1], [None], ["a"], [float("nan"), 1], [1, float("inf")]),
        *([2, 1], [-1, 1], [1, 2**64], [0.1] * 10_000, [[1], [2]]),
    ),
    "check": (None, 5, True, [], {}, LONG_CHECK),
    "abort": (None, 5, "yes", [], {}),
}


def configuration() -> Iterator[BadInput]:
    """Each key of a file with wrong types and values."""
    for model in MODELS:
        for key, info in model.model_fields.items():
            for value in _wrong_for(model, key, info):
                yield _in_file(
                    f"{model.__name__}.{key}: {value!a:.30}",
                    _yaml(_in_place(model, key, value)),
                    key,
                )
    for model in MODELS:
        for key in ("nope", "Name", "", "a\nb", ESCAPE):
            values = _in_place(model, key, 5)
            yield _in_file(f"{model.__name__}: key {key!a}", _yaml(values), "key")


def _wrong_for(model: type[BaseModel], key: str, info: Any) -> Iterator[object]:
    if not is_number(info):
        wrong = NO_VALUES[key]
        # A profile's name is no run's; without one it gets a number.
        yield from (None, *wrong, "a b") if model is SenderProfile and key == "name" else wrong
        return
    yield from ("", "5", "abc", "2d", "-1s", True, [], [5], {}, float("nan"), float("inf"))
    yield -float("inf")
    yield from (2**64, -(2**64), 10**300, ESCAPE)
    yield from _beyond(info)
    kinds = kinds_of(info)
    if NoneType not in kinds:
        yield None
    if int in kinds:
        yield 1.5


def _in_file(name: str, prepare: Callable[[Path], None], *says: str) -> BadInput:
    lines = MAX_LISTED + 2
    return BadInput(f"file {name}", ("run", "bad"), says, prepare=prepare, lines=lines)


BOMB = "\n".join(
    ["x0: &x0 [a, a, a, a, a, a, a, a, a, a]"]
    + [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 10)]
)
NO_YAML = (
    *("senders: [", "a: b: c", "a:\n\t- b", "a: *b", "? [1]\n: 2", "{", "}", "'", '"\\x"', "@"),
    *("a: !!python/object/apply:os.getcwd []", "!!set {a}", "%YAML 9.9\n---\na: 1", "a: |9\n b"),
    *("seed: 2020-13-45", "[" * 5_000, "{" * 5_000, "seed: " + "1" * 5_000, "5", "hello", "true"),
    *("- 1", "a: 1\n---\nb: 2", "seed: 1\nseed: 2", "1: 2", "null: 1", "true: 1", "2020-01-01: 1"),
    *("seed: 0x" + "f" * 5_000, "seed: \x00", b"seed: \x1b", b"\xef\xbb\xbf\xff", b"\x80", b"\x00"),
    *(f"{BOMB}\nnum_messages: *x9", f"{BOMB}\nname: *x9", f"{BOMB}\nsenders: *x9", "a: &a [*a]"),
    *("&a {a: *a}", "<<: 5", "<<: [5]", "senders: [{<<: {}}]", "? {a: b}\n: c", "a: 1e400: 2"),
    *(
        "a" * 2_000,
        "- " * 3_000,
        "name: !!binary '%'",
        "name: !!int x",
        "seed: !!float x",
        "tags: !!omap 5",
    ),
)


def broken_files() -> Iterator[BadInput]:
    """Files that are no configuration at all."""
    for number, text in enumerate(NO_YAML):
        yield _in_file(f"yaml {number} {text[:20]!a}", content(text), "bad: ")
    for kind, prepare in NO_FILES.items():
        yield _in_file(kind, prepare, "bad: ")
        yield BadInput(
            f"SMS_CONFIG {kind}",
            ("run",),
            ("bad: ",),
            variables={"SMS_CONFIG": "bad"},
            prepare=prepare,
        )


# Variables


def _named(text: str) -> Callable[[Path], None]:
    """`.env`, with that content."""
    return lambda folder: (folder / ".env").write_text(text) and None


NO_VARIABLES = {
    "SMS_LOG_LEVEL": ("LOUD", "10", " ", "INFO,DEBUG", ESCAPE, NOT_TEXT),
    "SMS_QUEUE_TYPE": ("stream", "Quorum", "5", " ", ESCAPE, NOT_TEXT),
    "SMS_DASHBOARD_PASSWORD": (NOT_TEXT,),
    "SMS_SENDERS": ("0", "-1", "1.5", "abc", "nan", "²", " ", "9" * 5_000, ESCAPE, NOT_TEXT),
    "SMS_PROFILE": (NOT_TEXT,),
}
#: Their wrong values are files or URLs.
NO_PLAIN_VARIABLES = {"SMS_CONFIG", "CELERY_BROKER_URL", "SMS_DATABASE_URL"}


def variables() -> Iterator[BadInput]:
    """Variables of the environment, and of `.env`."""
    for name, values in NO_VARIABLES.items():
        for value in values:
            given = {name: value}
            yield BadInput(f"{name}={value[:20]!a}", ("runs",), (name,), variables=given)
    for name in ("SMS_LOG_LEVEL", "SMS_QUEUE_TYPE", "SMS_SENDERS", "CELERY_BROKER_URL"):
        prepare = _named(f"{name}=nope\n")
        yield BadInput(f".env {name}", ("runs",), (name,), prepare=prepare)
    for name in ("CELERY_BROKER_URL", "SMS_DATABASE_URL", "SMS_DASHBOARD_PASSWORD"):
        for kind, prepare in NO_FILES.items():
            given = {f"{name}_FILE": "bad"}
            yield BadInput(
                f"{name}_FILE {kind}", ("runs",), (name,), variables=given, prepare=prepare
            )


# URLs

NO_DATABASES = (
    *(
        "hello",
        " ",
        "/",
        "://",
        "sqlite",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
    ),
    *("mysql://x/y", "oracle://x", "http://x", "postgresql+asyncpg://x/y", "sqlite+aiosqlite:///x"),
    *("sqlite://host/x.db", "sqlite:///a.db?foo=1", "sqlite:///a.db?timeout=abc"),
    *(
        "sqlite:///a.db?check_same_thread=x",
        "sqlite:///a.db?detect_types=x",
        "sqlite:///a.db?uri=x",
    ),
    *("sqlite:///a.db?isolation_level=x", "sqlite:///a.db?plugin=x", "sqlite:///a.db?mode=ro"),
    *("sqlite:///a.db?cached_statements=999999999999", "sqlite:///file:a.db?mode=memory&uri=true"),
    *(
        "sqlite:///file::memory:?cache=shared&uri=true",
        "sqlite:///a%00b.db",
        "sqlite:////a\x1bb%00",
    ),
    *("postgresql://h:port/x", "postgresql://[::1/x", "postgresql://h/x?plugin=foo", "\x1b[31m"),
    *("postgresql://u:secret@h:99999/x", "postgresql://u:secret@h/x?foo=1", NOT_TEXT),
    *("postgresql://127.0.0.1:1/x?sslmode=foo", "postgresql://127.0.0.1:1/x?autocommit=1"),
    *("postgresql://127.0.0.1:1/x?row_factory=1", "postgresql://127.0.0.1:1/x?cursor_factory=1"),
    *("postgresql://127.0.0.1:1/x?context=1", "postgresql://127.0.0.1:1/x?connect_timeout=abc"),
    *("postgresql://127.0.0.1:1/x?port=abc", "postgresql://127.0.0.1:1/x?keepalives_idle=x"),
)
#: Databases that may well be, but not here.
AWAY_DATABASES = (
    *("sqlite:////no/such/folder/a.db", "sqlite:////dev/null", "sqlite:////dev/zero"),
    *("sqlite:////", "sqlite:///.", f"sqlite:///{'a' * 300}", "sqlite:////dev/full"),
    *("postgresql://user:secret@127.0.0.1:1/x", "postgresql://nowhere.invalid/x"),
)
NO_BROKERS = (
    *("hello", " ", "redis://x", "http://x", "sqs://x", "filesystem://", "amqp", "amqp://[::1"),
    *("amqp://h:99999", "amqp://h:port", "amqp://h:0", "amqp://a,b", "amqp://a;memory://", ";"),
    *("amqp://h?heartbeat=abc", "amqp://h?heartbeat=-1", "amqp://h?foo=1", "memory://?x=1"),
    *("memory://x?heartbeat=abc", "amqps://h?ssl_cert_reqs=foo", "amqp://h?connect_timeout=x"),
    *("amqp://h?login_method=x", "amqp://h?ssl=abc", "amqp://ü..x", "amqp://a b", "amqp://h/%00"),
    *(f"amqp://{ESCAPE}", NOT_TEXT, "amqp://h?transport=memory", "amqp://h?hostname=x"),
    *("amqp://user:secret@h?heartbeat=nan", "amqp://a?heartbeat=5;amqp://b?heartbeat=x"),
)


def urls() -> Iterator[BadInput]:
    """URLs of databases and brokers."""
    for url in NO_DATABASES:
        given = {"SMS_DATABASE_URL": url}
        yield BadInput(f"database {url!a:.60}", ("runs",), ("SMS_DATABASE_URL",), variables=given)
    for url in AWAY_DATABASES:
        given = {"SMS_DATABASE_URL": url}
        codes = (EXIT_FAILURE, EXIT_USAGE, EXIT_BROKEN)
        yield BadInput(f"away {url!a:.60}", ("runs",), ("ledger",), codes, variables=given)
    for url in NO_BROKERS:
        for command in ("run", "produce", "runs"):
            given = {"CELERY_BROKER_URL": url}
            name = f"{command} by broker {url!a:.60}"
            yield BadInput(name, (command,), ("CELERY_BROKER_URL",), variables=given)


# Ledgers


def _ledger(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """The ledger that commands find, made by `make`, which gets its path."""

    def prepare(folder: Path) -> None:
        path = folder / LEDGER
        if path.is_file():
            path.unlink()
        make(path)

    return prepare


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        for table in ("runs", "workers"):
            connection.execute(f"CREATE TABLE {table} (id TEXT)")


_IDENTITY = "row INTEGER PRIMARY KEY, id TEXT, schema_version INTEGER"


def _foreign_version(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE ledger_identity ({_IDENTITY})")
        connection.execute("INSERT INTO ledger_identity VALUES (1, 'x', 9999)")


NO_LEDGERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("hello\n" * 1_000),
    "random bytes": lambda path: path.write_bytes(bytes(range(256)) * 64),
    "header only": lambda path: path.write_bytes(b"SQLite format 3\0"),
    "header and zeros": lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(8_176)),
    "json": lambda path: path.write_text(json.dumps({"a": list(range(1_000))})),
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path),
    "other tables": _foreign,
    "other version": _foreign_version,
}
#: Commands that open a ledger first.
OPENING = (*OF_A_RUN, "trace", "runs", "senders", "run")


def ledgers() -> Iterator[BadInput]:
    """Files that are no ledgers."""
    for kind, make in NO_LEDGERS.items():
        for command in OPENING:
            yield BadInput(
                f"{command} of a ledger that is {kind}",
                (command, *RIGHT.get(command, ())),
                ("ledger",),
                (EXIT_FAILURE, EXIT_USAGE, EXIT_BROKEN),
                prepare=_ledger(make),
            )


# Workers

WORKER = ("-A", "sms_pipeline", "worker")
NO_WORKERS: dict[str, tuple[str, ...]] = {
    "--profile": ("", "nope", "a b", ESCAPE, NOT_TEXT, "x" * 65),
    "--profile=fast --senders": ("0", "-1", "10000001", str(2**64)),
    "--profile=fast --mean-time": ("-1", "nan", "inf", "1e400", "86401"),
    "--profile=fast --failure-rate": ("-1", "1.1", "nan", "inf"),
    "--profile=fast --config": ("none", "/dev/zero", "."),
    "--profile=fast --pool": ("prefork", "solo"),
}


def workers() -> Iterator[BadInput]:
    """Options of `celery worker` that are ours; what has the wrong type Celery refuses itself."""
    for option, values in NO_WORKERS.items():
        for value in values:
            yield BadInput(
                f"worker {option} {value[:20]!a}",
                (*WORKER, *f"{option}={value}".split(" ", option.count(" "))),
                (
                    "profile",
                    option.rpartition(" ")[2],
                    "can't be read",
                    "mean_time",
                    "failure_rate",
                ),
                variables={"CELERY_BROKER_URL": AWAY},
                program="celery",
            )


def without_wrong_values() -> set[str]:
    """Options that no table here knows."""
    found = {
        _option(param)
        for command in (cli, *cli.commands.values())
        for param in command.params
        if isinstance(param, click.Option) and not param.is_flag
    }
    return found - FREE - FILES - WRONG.keys()


def bad_inputs() -> list[BadInput]:
    """All of them."""
    kinds = (
        *(options, run_numbers, configuration, broken_files, variables, urls, ledgers, workers),
    )
    return [one for kind in kinds for one in kind()]


assert set(ENVIRONMENT) == set(NO_VARIABLES) | NO_PLAIN_VARIABLES
