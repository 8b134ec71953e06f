"""Times as people write them: `500ms`, `30s`, `10m`, `2h`. Pure."""

from __future__ import annotations

import re

from sms_pipeline.core.checks import Quantity, from_unit
from sms_pipeline.core.written import Written

TIME = re.compile(rf" *([0-9]+(?:\.[0-9]+)?) *({'|'.join(Quantity.SECONDS.value)}) *")


def parse_time(text: str) -> float:
    """Seconds, of a text such as `10m`.

    Raises:
        ValueError: it is another text.
    """
    found = TIME.fullmatch(text)
    if not found:
        raise ValueError("must be a number of seconds, or a time as in 500ms, 30s, 10m or 2h")
    return from_unit(float(found[1]), found[2])


AS_TIME = Written(parse_time, TIME)
