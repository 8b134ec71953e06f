"""What is wrong with a configuration, in the words of the one who wrote it."""

from __future__ import annotations

import reprlib

from pydantic import BaseModel, ValidationError

from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import BAD_CHECK, Simulation, Threshold

#: Pydantic speaks of Python's types; a user wrote YAML.
_IN_YAML_WORDS = {
    "tuple_type": "should be a list",
    "model_type": "should be a mapping of keys to values",
    "model_attributes_type": "should be a mapping of keys to values",
}


def first_problem(error: ValidationError, source: str) -> str:
    """The first problem in one line, and how many others there are."""
    problems = error.errors(include_url=False)
    first = problems[0]
    key = _dotted(first["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{source}: unknown key {key!r}; allowed here: {_allowed_keys(first['loc'])}{more}"
    if first["type"] == "missing":
        return f"{source}: {key}: is required{more}"
    if first["type"] == BAD_CHECK:
        where = ": ".join(filter(None, (source, key.removesuffix("check").rstrip("."))))
        return f"{where}: {first['msg']}{more}\n{first['ctx']['pointed']}"
    what = _IN_YAML_WORDS.get(first["type"])
    what = what or first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if not key:
        return f"{source}: {what}{more}"
    return f"{source}: {key}: {what}, got {_shown(first['input'])}{more}"


def _dotted(location: tuple[int | str, ...]) -> str:
    dotted = ""
    for part in location:
        if isinstance(part, int):
            dotted += f"[{part}]"
        else:
            dotted += f".{part}" if dotted else part
    return dotted


def _allowed_keys(location: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = Simulation
    if "senders" in location[:1]:
        model = SenderProfile
    elif "retry" in location[:1]:
        model = RetryPolicy
    elif "thresholds" in location[:1]:
        model = Threshold
    return ", ".join(model.model_fields)


#: Longest part of a bad value that an error repeats.
_SHOWN_LENGTH = 60
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 2 * _SHOWN_LENGTH


def _shown(value: object) -> str:
    # Not `repr`: aliases can make a few lines of YAML into billions of values.
    try:
        text = " ".join(_SHORT.repr(value).split())
    except ValueError:
        text = "a number that is too long to show"
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"
