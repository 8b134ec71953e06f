"""Where a ledger is: what can't work is refused before anything is opened."""

from __future__ import annotations

import pytest

from sms_pipeline.config.databases import database_url
from sms_pipeline.core.errors import ConfigError


@pytest.mark.parametrize("url", ["sqlite:///ledger.db", "sqlite:////tmp/a b.db"])
def test_a_file_can_hold_a_ledger(url: str) -> None:
    assert database_url(url).drivername == "sqlite"


@pytest.mark.parametrize(
    "url",
    [
        "postgres://user:secret@host/db",
        "postgresql://user:secret@host:5432/db?sslmode=require",
        "postgresql://db?host=a,b&port=5432,5433&target_session_attrs=read-write",
        "postgresql://h/db?host=a&host=b&port=1&port=2",
        "postgresql+psycopg://h/db?prepare_threshold=0&connect_timeout=3",
    ],
)
def test_a_server_can_hold_a_ledger(url: str) -> None:
    assert database_url(url).drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("sqlite://", "needs a file"),
        ("sqlite://user:secret@host/a.db", "sqlite:///FILE"),
        ("sqlite:///a.db?timeout=abc", "'timeout'"),
        ("sqlite:///file:a.db?mode=memory&uri=true", "no options"),
        ("sqlite:///a%00b.db", "null byte"),
        ("mysql://u:secret@h/db", "mysql"),
        ("postgresql://u:secret@h/db?plugin=x", "'plugin'"),
        ("postgresql://u:secret@h/db?autocommit=1", "'autocommit'"),
        ("postgresql://u:secret@h/db?foo=1", "'foo'"),
        ("postgresql://u:secret@h:99999/db", "99999"),
        ("postgresql://u:secret@h/db?port=5432,x", "port must be"),
        ("postgresql://u:secret@h/db?connect_timeout=abc", "connect_timeout must be"),
        ("postgresql://u:secret@h/db?sslmode=foo", "verify-full"),
    ],
)
def test_what_can_not_is_refused_without_a_secret(url: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        database_url(url)
    assert str(caught.value).startswith("SMS_DATABASE_URL: ")
    assert word in str(caught.value)
    assert "secret" not in str(caught.value)
