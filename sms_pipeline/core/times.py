"""Times as people write them: `500ms`, `30s`, `10m`, `2h`. Pure."""

from __future__ import annotations

import re
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

#: Seconds of each unit; milliseconds are divided, as 0.3 is not the float nearest to 300 * 0.001.
_SECONDS = {"s": 1, "m": 60, "h": 3_600}
_MILLISECONDS = 1_000
#: Without named groups, which editors do not know.
TIME = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h)")


def parse_time(text: str) -> float:
    """Seconds, of a text such as `10m`.

    Raises:
        ValueError: it is another text.
    """
    found = TIME.fullmatch(text.strip())
    if not found:
        raise ValueError("must be a number of seconds, or a time as in 500ms, 30s, 10m or 2h")
    number, unit = float(found[1]), found[2]
    return number / _MILLISECONDS if unit == "ms" else number * _SECONDS[unit]


def _in_seconds(value: object) -> object:
    return parse_time(value) if isinstance(value, str) else value


class _AsTime:
    """Lets a number of seconds be written as a time, and tells editors so."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_in_seconds, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "string", "pattern": f"^{TIME.pattern}$"}]}


#: After the bounds of a number of seconds, as in `Annotated[float, Field(gt=0), AS_TIME]`.
AS_TIME = _AsTime()
