"""Where a server listens."""

from __future__ import annotations

import pytest

from sms_pipeline.config.address import Address, parse_address
from sms_pipeline.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", Address("127.0.0.1", 9464)),
        ("0", Address("127.0.0.1", 0)),
        ("0.0.0.0:9464", Address("0.0.0.0", 9464)),  # noqa: S104 - told to
        ("Box:80", Address("box", 80)),
        ("[::1]:9464", Address("::1", 9464)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text, "--metrics") == address


@pytest.mark.parametrize(
    "text",
    [
        *["", "box", "box:", ":80", "65536", "box:-1", "me@box:80", "box:80/x", "::1:80", "[:80"],
        *["ü..box:80", f"{'ü' * 70}:80"],
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"option --metrics: must be PORT or HOST:PORT .* got "):
        parse_address(text, "--metrics")
