"""Times as people write them: `500ms`, `30s`, `10m`, `2h`. Pure."""

from __future__ import annotations

import re
from typing import Any, cast

from pydantic import (
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticKnownError, core_schema
from pydantic_core.core_schema import ErrorType

from sms_pipeline.core.checks import Quantity, from_unit

#: Editors know no names of groups, and take 0 to 9 only for digits.
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


def _in_seconds(value: object, check: ValidatorFunctionWrapHandler) -> object:
    if not isinstance(value, str):
        return check(value)
    try:
        return check(parse_time(value))
    except ValidationError as error:
        # What was written is told, not how many seconds that is.
        (detail,) = error.errors(include_url=False)
        kind = cast(ErrorType, detail["type"])
        raise PydanticKnownError(kind, detail.get("ctx")) from None


class _AsTime:
    """Lets a number of seconds be written as a time, and tells editors so."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(_in_seconds, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "string", "pattern": f"^{TIME.pattern}$"}]}


#: After the bounds of a number of seconds, as in `Annotated[float, Field(gt=0), AS_TIME]`.
AS_TIME = _AsTime()
