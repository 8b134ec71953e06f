"""Numbers that may be written as people write them, such as `2h` or `10k/s`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Written:
    """After the bounds of a number: lets it be written as a text, and tells editors so.

    As in `Annotated[float, Field(gt=0), AS_TIME]`.
    """

    #: Makes the number of the text; raises ValueError if it is another text.
    parse: Callable[[str], float]
    #: Of the texts. Editors know no names of groups, and take 0 to 9 only for digits.
    pattern: re.Pattern[str]

    def _number(self, value: object, check: ValidatorFunctionWrapHandler) -> object:
        if not isinstance(value, str):
            return check(value)
        try:
            return check(self.parse(value))
        except ValidationError as error:
            # What was written is told, not the number that it stands for.
            (detail,) = error.errors(include_url=False)
            kind = cast(ErrorType, detail["type"])
            raise PydanticKnownError(kind, detail.get("ctx")) from None

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._number, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        text = {"type": "string", "pattern": f"^{self.pattern.pattern}$"}
        return {"anyOf": [handler(schema), text]}
