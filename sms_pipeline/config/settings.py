"""Where things are: settings from the environment, checked once, then frozen."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from sms_pipeline.config.brokers import checked_urls, is_embedded
from sms_pipeline.config.reading import read_text
from sms_pipeline.config.secrets import read_secrets
from sms_pipeline.core.errors import ConfigError, NeedsBrokerError
from sms_pipeline.core.frozen import Frozen
from sms_pipeline.core.profiles import MAX_SENDERS

#: Where the ledger is kept by default.
DEFAULT_DATABASE_URL = "sqlite:///sms_pipeline.db"
#: Kombu's in-process broker, for a first run without a server.
EMBEDDED_BROKER_URL = "memory://localhost"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
QUEUE_TYPES = ("quorum", "classic")


class Settings(Frozen):
    """Where things are: read from the environment and `.env`, once."""

    broker_url: str = EMBEDDED_BROKER_URL
    database_url: str = DEFAULT_DATABASE_URL
    config: Path | None = None
    log_level: str = "WARNING"
    queue_type: str = "quorum"
    dashboard_password: str | None = Field(default=None, repr=False)
    #: What a worker plays if no option says so, and with how many senders.
    profile: str | None = None
    senders: int | None = None

    @property
    def embedded(self) -> bool:
        """Whether the broker lives in this process."""
        return is_embedded(self.broker_url)

    def require_broker(self, why: str, otherwise: str = "") -> None:
        """Refuse what works with processes elsewhere, where the broker is inside this one.

        Args:
            why: what needs a broker, as a sentence without its end.
            otherwise: what else to do, after a comma.

        Raises:
            NeedsBrokerError: no broker is configured.
        """
        if self.embedded:
            raise NeedsBrokerError(
                f"{why}: set CELERY_BROKER_URL=amqp://USER:PASSWORD@HOST{otherwise}"
            )


#: The variables that are read, and the field each one sets.
ENVIRONMENT = {
    "CELERY_BROKER_URL": "broker_url",
    "SMS_DATABASE_URL": "database_url",
    "SMS_CONFIG": "config",
    "SMS_LOG_LEVEL": "log_level",
    "SMS_QUEUE_TYPE": "queue_type",
    "SMS_DASHBOARD_PASSWORD": "dashboard_password",
    "SMS_PROFILE": "profile",
    "SMS_SENDERS": "senders",
}


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `environment` (None: the process's), over `.env` of this folder or a parent.

    Raises:
        ConfigError: a variable has a value that is not allowed.
    """
    environment = os.environ if environment is None else environment
    merged = {**_read_dotenv(), **environment}
    merged |= read_secrets(merged)
    given = {field: value for name, field in ENVIRONMENT.items() if (value := merged.get(name))}
    _require_text(merged)
    if "broker_url" in given:
        given["broker_url"] = checked_urls(given["broker_url"])
    if "log_level" in given:
        given["log_level"] = given["log_level"].upper()
    _require("SMS_LOG_LEVEL", given.get("log_level"), LOG_LEVELS)
    _require("SMS_QUEUE_TYPE", given.get("queue_type"), QUEUE_TYPES)
    _require_senders("SMS_SENDERS", given.get("senders"))
    return Settings.model_validate(given, strict=False)


def _read_dotenv() -> Mapping[str, str | None]:
    import dotenv

    try:
        file = dotenv.find_dotenv(usecwd=True)
    except OSError as error:
        raise ConfigError(f".env: can't be read: {error.strerror or error}") from error
    return dotenv.dotenv_values(stream=io.StringIO(read_text(Path(file)))) if file else {}


def _require_text(values: Mapping[str, str | None]) -> None:
    """Only a file name may be something other than text."""
    for name in ENVIRONMENT.keys() - {"SMS_CONFIG"}:
        try:
            (values.get(name) or "").encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{name}: is not UTF-8 text") from None


def _require(name: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise ConfigError(f"{name}: must be one of {', '.join(allowed)}, got {value!r}")


def _require_senders(name: str, value: str | None) -> None:
    if value is None:
        return
    digits = value.isascii() and value.isdecimal() and len(value) <= len(str(MAX_SENDERS))
    if not digits or not 1 <= int(value) <= MAX_SENDERS:
        raise ConfigError(f"{name}: must be a whole number from 1 to {MAX_SENDERS}, got {value!r}")
