"""The URLs of brokers: one, or several of one cluster for fail-over."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from sms_pipeline.core.errors import ConfigError

#: Between the URLs of a list, as Celery has it.
SEPARATOR = ";"
#: The scheme of the broker inside the process.
EMBEDDED_SCHEME = "memory"
#: Schemes of brokers that keep what was confirmed, and their ports.
_PORTS = {"amqp": 5672, "pyamqp": 5672, "amqps": 5671}
#: Options of a URL, and what they may be.
_OPTIONS = {
    "heartbeat": r"\d{1,5}(\.\d{1,3})?",
    "login_method": "PLAIN|AMQPLAIN|EXTERNAL",
    "ssl_ca_certs": r"[^\0]+",
    "ssl_certfile": r"[^\0]+",
    "ssl_keyfile": r"[^\0]+",
    "ssl_cert_reqs": "CERT_(NONE|OPTIONAL|REQUIRED)|none|optional|required",
    "ssl_check_hostname": "(?i:true|false)",
}
#: The virtual host `/`, as a path.
_DEFAULT_VHOST = "//"


def is_embedded(broker_url: str) -> bool:
    """Whether the broker of that URL lives in the process that connects to it."""
    return broker_url.startswith(f"{EMBEDDED_SCHEME}:")


def split_urls(value: str) -> list[str]:
    """The URLs of a list."""
    return [url.strip() for url in value.split(SEPARATOR) if url.strip()]


def checked_urls(value: str) -> str:
    """The list with each URL in full: kombu takes what one does not say from the one before.

    A single URL stays as it is. No message repeats a URL: there is a password in it.

    Raises:
        ConfigError: one of them can't be used.
    """
    urls = split_urls(value)
    for number, url in enumerate(urls, 1):
        _require_usable(url, f" (URL {number} of {len(urls)})" if len(urls) > 1 else "")
    if len(urls) == 1:
        return urls[0]
    if not urls or any(is_embedded(url) for url in urls):
        raise _refused("is not a list of brokers")
    return SEPARATOR.join(_in_full(url) for url in urls)


def _require_usable(url: str, which: str) -> None:
    try:
        parts = urlsplit(url)
        _require_options(parts)
        if "," in parts.netloc.rpartition("@")[2]:
            raise ConfigError(
                f"CELERY_BROKER_URL: separate several brokers with {SEPARATOR!r}, not with a "
                "comma: amqp://USER:PASSWORD@HOST1;amqp://USER:PASSWORD@HOST2"
            )
        known = parts.scheme in (*_PORTS, EMBEDDED_SCHEME) and parts.port != 0
        if known and _is_name(parts.hostname or "") and unquote(parts.path).isprintable():
            return
    except ValueError:
        pass
    raise _refused(f"is not the URL of a broker that can be used{which}")


def _is_name(host: str) -> bool:
    """Whether a name server can be asked for it.

    Raises:
        ValueError: it can't.
    """
    host.encode("idna")
    return host.isprintable() and " " not in unquote(host)


def _require_options(parts: SplitResult) -> None:
    """Kombu takes any option, and fails when it comes to use it."""
    allowed = _OPTIONS if parts.scheme in _PORTS else {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in allowed:
            known = f"known are {', '.join(allowed)}" if allowed else "there are none"
            raise ConfigError(f"CELERY_BROKER_URL: unknown option {name!r}; {known}")
        if not re.fullmatch(allowed[name], value):
            raise ConfigError(f"CELERY_BROKER_URL: option {name}: {value!r} is not allowed")


def _refused(why: str) -> ConfigError:
    return ConfigError(
        f"CELERY_BROKER_URL: {why}; "
        "must be amqp://USER:PASSWORD@HOST:PORT/VHOST, or memory:// for none"
    )


def _in_full(url: str) -> str:
    parts = urlsplit(url)
    place = parts.netloc if parts.port else f"{parts.netloc.rstrip(':')}:{_PORTS[parts.scheme]}"
    path = parts.path if parts.path.strip("/") else _DEFAULT_VHOST
    return parts._replace(netloc=place, path=path).geturl()
