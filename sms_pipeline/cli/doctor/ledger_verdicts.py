"""What was seen at the ledger's database, and the remedy. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sms_pipeline.cli.doctor.check import Check, fault, ok, warning
from sms_pipeline.cli.doctor.ledger_probes import (
    ClockReading,
    Connections,
    Contents,
    Pooling,
    ServerState,
)
from sms_pipeline.core.counts import how_many
from sms_pipeline.ledger.database import POOL_SIZE
from sms_pipeline.ledger.schema import SCHEMA_VERSION

LEDGER = "ledger"
RIGHTS = "ledger rights"
DURABILITY = "durability"
COMMITS = "commit time"
SPACE = "disk space"
CONNECTIONS = "connections"
POOLING = "pooling"
CLOCKS = "clocks"
HOSTS = "hosts"

#: A worker settles what ended during one commit in the next one.
_SLOW_COMMIT_SECONDS = 0.25
_LOW_BYTES = 1_000_000_000
_LEAST_BYTES = 50_000_000
_GIGA = 1e9
#: Deadlines and delivery times across hosts are wrong by as much.
_CLOCK_WARNING_SECONDS = 0.5
_CLOCK_FAULT_SECONDS = 10.0
_NAMED = 4
_VARIABLE = "SMS_DATABASE_URL"
_ANOTHER = f"name another ledger: export {_VARIABLE}=sqlite:///FILE or postgresql://USER@HOST/NAME"
#: Words of libpq, and what helps.
_REMEDIES = (
    ("password authentication failed", f"correct user and password in {_VARIABLE}"),
    ("no password supplied", f"add the password to {_VARIABLE}"),
    ("no pg_hba.conf entry", "let this host in: a line in pg_hba.conf, then pg_ctl reload"),
    ("does not exist", f"create what is missing (createuser, createdb), or correct {_VARIABLE}"),
    ("too many", "raise max_connections in postgresql.conf, or stop workers"),
    ("remaining connection slots", "raise max_connections in postgresql.conf, or stop workers"),
    ("refused", f"start PostgreSQL (make services installs it), or correct {_VARIABLE}"),
    ("starting up", "wait until PostgreSQL has started"),
    ("translate host name", f"correct the host in {_VARIABLE}"),
    ("resolve host", f"correct the host in {_VARIABLE}"),
    ("timeout", "check that the host is up and that a firewall lets the port through"),
)
_OTHER_REMEDY = f"check that the database is up, and correct {_VARIABLE}"


def unreachable(words: str) -> Check:
    """There is no connection; `words` are libpq's."""
    known = (remedy for part, remedy in _REMEDIES if part in words)
    return fault(LEDGER, words, next(known, _OTHER_REMEDY))


def bad_url(words: str) -> Check:
    """It is not the URL of a ledger."""
    return fault(LEDGER, words, f"correct {_VARIABLE}")


def no_file_yet(where: str, folder_exists: bool, is_writable: bool, folder: str) -> Check:
    """SQLite's file is not there; whether it can be made."""
    if not folder_exists:
        return fault(LEDGER, f"{where}: there is no folder {folder}", f"mkdir -p {folder}")
    if not is_writable:
        return fault(LEDGER, f"{where}: can't be made in {folder}", f"chmod u+w {folder}")
    return ok(LEDGER, f"{where}: not there yet, the first run makes it")


def not_a_database(where: str, words: str) -> Check:
    """SQLite can't read the file."""
    return fault(LEDGER, f"{where}: {words}", _ANOTHER)


def holds(where: str, contents: Contents) -> Check:
    """What the database holds, and whether this version can use it."""
    if contents.version is None:
        if contents.ledger_tables:
            return fault(LEDGER, f"{where}: holds a part of a ledger only", _ANOTHER)
        return ok(LEDGER, f"{where}: no ledger yet, the first run makes it")
    if contents.version != SCHEMA_VERSION:
        return fault(
            LEDGER,
            f"{where}: made by another version of sms-pipeline (tables {contents.version}, "
            f"expected {SCHEMA_VERSION})",
            _ANOTHER,
        )
    return ok(LEDGER, f"{where}: tables of version {contents.version}")


def can_be_written(where: str) -> Check:
    """SQLite's file can be locked for writing."""
    return ok(RIGHTS, f"{where} can be written")


def can_not_be_written(where: str, words: str) -> Check:
    """It can't be; `words` are SQLite's."""
    if "locked" in words:
        return warning(
            RIGHTS,
            f"{where}: another process has been writing for seconds",
            f"end the process that holds it (fuser {where}), or use PostgreSQL",
        )
    return fault(RIGHTS, f"{where}: {words}", f"chmod u+w {where} and its folder")


def rights(missing: Sequence[str]) -> Check:
    """Whether the user may do what a run does; `missing` are rights such as "INSERT on runs"."""
    if not missing:
        return ok(RIGHTS, "the user may make, read and write what a run needs")
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return fault(
        RIGHTS,
        f"the user lacks {', '.join(missing[:_NAMED])}{more}",
        "as the owner, in psql: GRANT CREATE ON SCHEMA public TO the user; "
        "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO the user; "
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO the user",
    )


def durability(state: ServerState) -> Check:
    """Whether what is committed is written, and stays."""
    if state.is_read_only:
        return fault(
            DURABILITY,
            "the database is read-only: a standby, or a demoted primary",
            f"name the primary in {_VARIABLE}, or all hosts: "
            "postgresql:///NAME?host=A,B&target_session_attrs=read-write",
        )
    if state.encoding != "UTF8":
        return fault(
            DURABILITY,
            f"the database's encoding is {state.encoding}",
            "createdb --encoding UTF8 --template template0 NAME",
        )
    if not state.is_durable:
        return warning(
            DURABILITY,
            "a crash can lose what was committed: fsync or synchronous_commit is off",
            "ALTER SYSTEM SET fsync = on; ALTER SYSTEM SET synchronous_commit = on; "
            "SELECT pg_reload_conf()",
        )
    return ok(DURABILITY, f"PostgreSQL {state.version} keeps what is committed")


def commits(seconds: float) -> Check:
    """How long a commit takes."""
    told = f"{seconds * 1_000:.1f} ms"
    if seconds > _SLOW_COMMIT_SECONDS:
        return warning(
            COMMITS,
            f"{told}, which limits the rate of every worker",
            "put the database on a faster or nearer disk",
        )
    return ok(COMMITS, told)


def space(free: int) -> Check:
    """Space on the disk of SQLite's file."""
    told = f"{free / _GIGA:.1f} GB left"
    if free < _LEAST_BYTES:
        return fault(SPACE, f"{free / 1e6:.0f} MB left", "free some space: df -h")
    if free < _LOW_BYTES:
        return warning(SPACE, told, "free some space: df -h")
    return ok(SPACE, told)


def connections(found: Connections, processes: int) -> Check:
    """Whether enough are left; `processes` are those of a small set-up."""
    left = found.allowed - found.used
    enough = left // POOL_SIZE
    told = f"{left} of {found.allowed} left, enough for {how_many(enough, 'process', 'processes')}"
    if enough < processes:
        return warning(
            CONNECTIONS,
            f"{told}; a worker for each profile, a producer and a monitor are {processes}",
            "ALTER SYSTEM SET max_connections = 200, then restart PostgreSQL; "
            "or raise the limit of the database or the user: ALTER ROLE … CONNECTION LIMIT 100",
        )
    return ok(CONNECTIONS, told)


def pooling(found: Pooling) -> Check:
    """Whether something shares connections out. The ledger prepares nothing behind a pooler."""
    if not found.is_pooled:
        return ok(POOLING, "none: connections go to PostgreSQL itself")
    kind = "by transaction" if found.by_transaction else "by session"
    return ok(POOLING, f"a pooler such as pgbouncer shares connections {kind}")


def clocks(reading: ClockReading) -> Check:
    """How far this host's clock is from the database's."""
    off = max(abs(reading.ahead) - reading.exactness, 0.0)
    side = "behind" if reading.ahead > 0 else "ahead of"
    told = f"this host is {off:.3f} s {side} the database"
    remedy = "let both hosts keep time: timedatectl set-ntp true"
    if off > _CLOCK_FAULT_SECONDS:
        return fault(CLOCKS, f"{told}: deadlines and delivery times would be wrong", remedy)
    if off > _CLOCK_WARNING_SECONDS:
        return warning(CLOCKS, f"{told}: delivery times are wrong by as much", remedy)
    return ok(CLOCKS, f"this host and the database agree to {max(off, reading.exactness):.3f} s")


def sqlite_for_hosts(remote_broker: str | None) -> Check | None:
    """Whether workers on other hosts would need a ledger that is a file on this one.

    None if that goes without saying: the broker, too, is on this host.
    """
    if remote_broker is None:
        return None
    return warning(
        HOSTS,
        f"the broker is on {remote_broker}, the ledger is a file on this host: workers on other "
        "hosts can't reach it",
        f"use PostgreSQL: export {_VARIABLE}=postgresql://USER:PASSWORD@HOST/NAME",
    )
