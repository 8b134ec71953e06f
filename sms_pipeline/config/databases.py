"""The URL of a ledger's database."""

from __future__ import annotations

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from sms_pipeline.config.address import MAX_PORT
from sms_pipeline.core.errors import ConfigError

_ALLOWED = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
_POSTGRESQL = "postgresql+psycopg"
#: What SQLAlchemy and psycopg would take from a URL, though no text can say it.
_NO_TEXT = frozenset({"plugin", "autocommit", "context", "cursor_factory", "row_factory"})
#: Options of psycopg itself; all others are libpq's, which knows their names.
_OF_PSYCOPG = frozenset({"prepare_threshold"})
#: What libpq reads as a number only once it has reached the server.
_NUMBERS = (
    *("connect_timeout", "keepalives", "keepalives_count", "keepalives_idle"),
    *("keepalives_interval", "port", "tcp_user_timeout"),
)
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def database_url(text: str) -> URL:
    """The URL, with the driver that is used. No error repeats a password.

    Raises:
        ConfigError: it is not one of a database that can hold a ledger.
    """
    try:
        parsed = make_url(text)
    except (ArgumentError, ValueError):
        raise _refused(f"not a database URL; use {_ALLOWED}") from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername=_POSTGRESQL)
    if parsed.drivername == "sqlite":
        _require_file(parsed)
    elif parsed.drivername == _POSTGRESQL:
        _require_server(parsed)
    else:
        raise _refused(f"got {without_secrets(parsed)!r}; use {_ALLOWED}")
    return parsed


def without_secrets(url: URL) -> str:
    """The URL as it may be shown: the query can hold a password, too."""
    return url.set(query={}).render_as_string(hide_password=True)


def _refused(why: str) -> ConfigError:
    return ConfigError(f"SMS_DATABASE_URL: {why}")


def _require_file(url: URL) -> None:
    if url.host or url.username or url.password:
        raise _refused(f"got {without_secrets(url)!r}; a file is named by sqlite:///FILE")
    if url.database in (None, "", ":memory:"):
        raise _refused("the ledger needs a file; use sqlite:///FILE")
    if "\0" in str(url.database):
        raise _refused("no file has a name with a null byte in it")
    if url.query:
        raise _refused(f"{_first(url)!r}: a ledger in SQLite has no options; use sqlite:///FILE")


def _require_server(url: URL) -> None:
    # Loads the driver, which SQLite does not need.
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    unusable = sorted(_NO_TEXT & url.query.keys())
    if unusable:
        raise _refused(f"option {unusable[0]!r} can't be used")
    if url.port is not None and not 0 < url.port <= MAX_PORT:
        raise _refused(f"a port is a number from 1 to {MAX_PORT}, got {url.port}")
    for name in _NUMBERS:
        _require_numbers(name, url.query.get(name, ()))
    if url.query.get("sslmode", _SSL_MODES[0]) not in _SSL_MODES:
        raise _refused(f"sslmode must be one of {', '.join(_SSL_MODES)}")
    for name in url.query.keys() - _OF_PSYCOPG:
        try:
            make_conninfo(**{name: ""})
        except ProgrammingError:
            raise _refused(f"{name!r} is no option of PostgreSQL's client") from None


def _require_numbers(name: str, given: str | tuple[str, ...]) -> None:
    """Several hosts have several ports, separated by commas."""
    for value in (given,) if isinstance(given, str) else given:
        if not all(part.isascii() and part.isdecimal() for part in value.split(",")):
            raise _refused(f"{name} must be a whole number, got {value!r}")


def _first(url: URL) -> str:
    return next(iter(url.query))
