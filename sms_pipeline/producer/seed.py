"""The seed of a run for which nobody chose one."""

from __future__ import annotations

import secrets

#: The ledger holds signed 64-bit integers.
_BITS = 63


def draw_seed() -> int:
    """A number that nobody can guess."""
    return secrets.randbits(_BITS)
