"""The URLs of brokers: which can be used, alone and in a list."""

from __future__ import annotations

import pytest

from sms_pipeline.config.brokers import checked_urls, is_embedded, split_urls
from sms_pipeline.core.errors import ConfigError

#: A password must not be in any message.
HIDDEN = "hunter2"


@pytest.mark.parametrize(
    "url",
    ["amqp://host", "amqps://u:p@host:5671/vhost", "pyamqp://", "memory://", "amqp://u:a,b@h"],
)
def test_a_single_url_stays_as_it_is(url: str) -> None:
    assert checked_urls(url) == url


def test_urls_of_a_list_are_written_in_full() -> None:
    # Kombu takes port and virtual host from the URL before, where one has none.
    assert checked_urls("amqp://a:5673;amqp://u:p@b/;amqps://c/x; pyamqp://[::1] ;") == (
        "amqp://a:5673//;amqp://u:p@b:5672//;amqps://c:5671/x;pyamqp://[::1]:5672//"
    )


def test_a_list_is_split_where_it_was_joined() -> None:
    assert split_urls("amqp://a;amqp://b") == ["amqp://a", "amqp://b"]
    assert not is_embedded("amqp://a;amqp://b")


@pytest.mark.parametrize(
    ("urls", "told"),
    [
        (f"amqp://u:{HIDDEN}@a,amqp://u:{HIDDEN}@b", "separate several brokers with ';'"),
        (f"amqp://u:{HIDDEN}@a,b", "separate several brokers with ';'"),
        (f"amqp://u:{HIDDEN}@a;http://u:{HIDDEN}@b", r"can be used \(URL 2 of 2\)"),
        (f"amqp://u:{HIDDEN}@a;amqp://u:{HIDDEN}@b:port", r"can be used \(URL 2 of 2\)"),
        (f"amqp://u:{HIDDEN}@a:0;amqp://b", r"can be used \(URL 1 of 2\)"),
        ("a:5672;b:5672", r"can be used \(URL 1 of 2\)"),
        (f"amqp://u:{HIDDEN}@a;memory://", "is not a list of brokers"),
        (";", "is not a list of brokers"),
        (f"redis://u:{HIDDEN}@a", "can be used; must be amqp://"),
    ],
)
def test_a_list_with_a_url_that_cannot_be_used_is_refused(urls: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"^CELERY_BROKER_URL: .*{told}") as refusal:
        checked_urls(urls)
    assert HIDDEN not in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://h?heartbeat=10",
        "amqp://h?heartbeat=2.5&login_method=PLAIN",
        "amqps://h?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=/a/b.pem&ssl_check_hostname=false",
    ],
)
def test_options_that_the_broker_knows_are_kept(url: str) -> None:
    assert checked_urls(url) == url


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("amqp://u:secret@h?heartbeat=abc", "heartbeat"),
        ("amqp://u:secret@h?heartbeat=-1", "heartbeat"),
        ("amqp://a?heartbeat=5;amqp://b?heartbeat=x", "heartbeat"),
        ("amqp://u:secret@h?foo=1", "'foo'"),
        ("amqps://h?ssl_cert_reqs=foo", "ssl_cert_reqs"),
        ("memory://x?heartbeat=5", "there are none"),
        ("amqp://a b", "can't be used"),
        ("amqp://ü..x", "must be amqp://"),
        ("amqp://h/%00", "must be amqp://"),
    ],
)
def test_options_and_names_that_would_fail_later_are_refused(url: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked_urls(url)
    assert word in str(caught.value) or "that can be used" in str(caught.value)
    assert "secret" not in str(caught.value)
