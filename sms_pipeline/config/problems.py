"""What is wrong with a configuration, in the words of the one who wrote it."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Callable, Iterator, Mapping
from textwrap import indent
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sms_pipeline.core.checks import BAD_CHECK
from sms_pipeline.core.simulation import Simulation

#: Where a value stands in a configuration: keys, and places in lists.
Location = tuple[int | str, ...]
#: The line of a file on which a value stands, if that is known.
LineOf = Callable[[Location], int | None]

#: More problems than these are counted, not listed.
MAX_LISTED = 20
#: Pydantic speaks of Python's types; a user wrote YAML.
_IN_YAML_WORDS = {
    "tuple_type": "should be a list",
    "model_type": "should be a mapping of keys to values",
    "model_attributes_type": "should be a mapping of keys to values",
}


class Problem(NamedTuple):
    """One thing that is wrong."""

    #: Under dotted keys; empty: what is wrong are several values together.
    key: str
    #: What is wrong with it.
    what: str
    #: Of the file that the value is in.
    line: int | None = None
    #: The value, and a caret under the mistake in it.
    pointed: str = ""

    def text(self) -> str:
        """In one line; an expression that is pointed into takes two more."""
        line = f"line {self.line}" if self.line else ""
        said = ": ".join(filter(None, (line, self.key, self.what)))
        return f"{said}\n{self.pointed}" if self.pointed else said


def problems_in_file(error: ValidationError, line_of: LineOf) -> list[Problem]:
    """All that is wrong with a file, from its first line to its last."""
    found = [_problem(detail, line_of) for detail in error.errors(include_url=False)]
    return sorted(found, key=lambda problem: problem.line or 0)


def problems_of_options(error: ValidationError, named: Mapping[str, str]) -> list[Problem]:
    """All that is wrong with options; `named` has the option for each key that one was given for.

    What is wrong is blamed on the options: without them the configuration was right.
    """
    together = ", ".join(named.values())
    found = [_problem(detail, lambda _: None) for detail in error.errors(include_url=False)]
    return [problem._replace(key=_option(problem.key, named) or together) for problem in found]


def _option(key: str, named: Mapping[str, str]) -> str:
    """The option that set `key`, or what contains it; the key itself if no option did."""
    for setting, option in named.items():
        if key == setting or key.startswith((f"{setting}.", f"{setting}[")):
            return option
    return key


def told(problems: list[Problem], source: str) -> str:
    """The one problem of a source in one line, or a list of them."""
    if len(problems) == 1:
        return _joined(source, problems[0].text())
    listed = [indent(problem.text(), "  ") for problem in problems[:MAX_LISTED]]
    if len(problems) > MAX_LISTED:
        listed.append(f"  and {len(problems) - MAX_LISTED} more")
    return "\n".join([_joined(source or "options", f"{len(problems)} problems"), *listed])


def _joined(source: str, text: str) -> str:
    return f"{source}: {text}" if source else text


def _problem(detail: ErrorDetails, line_of: LineOf) -> Problem:
    location = detail["loc"]
    key, line = dotted_location(location), line_of(location)
    if detail["type"] == "extra_forbidden":
        return Problem("", f"unknown key {key!r}; {_instead(location)}", line)
    if detail["type"] == "missing":
        return Problem(key, "is required", line)
    if detail["type"] == BAD_CHECK:
        check = key.removesuffix("check").rstrip(".")
        return Problem(check, detail["msg"], line, detail["ctx"]["pointed"])
    what = _IN_YAML_WORDS.get(detail["type"])
    what = what or detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if not key:
        return Problem("", what, line)
    return Problem(key, f"{what}, got {_shown(detail['input'])}{_meant(detail)}", line)


def dotted_location(location: Location) -> str:
    """A location as messages show it: `senders[0].mean_time`."""
    dotted = ""
    for part in location:
        if isinstance(part, int):
            dotted += f"[{part}]"
        else:
            dotted += f".{part}" if dotted else part
    return dotted


def _instead(location: Location) -> str:
    """What to write instead of an unknown key."""
    written, allowed = str(location[-1]), _keys_at(location[:-1])
    elsewhere = [key for key in _all_keys(Simulation) if key.rpartition(".")[2] == written]
    close = elsewhere or difflib.get_close_matches(written, allowed, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"allowed here: {', '.join(allowed)}"


def _meant(detail: ErrorDetails) -> str:
    """The allowed word that is like the one that was written."""
    if detail["type"] != "literal_error":
        return ""
    words = [word.strip("' ") for word in detail["ctx"]["expected"].replace(" or ", ",").split(",")]
    close = difflib.get_close_matches(str(detail["input"]).lower(), words, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model, by the keys that a file has for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _keys_at(location: Location) -> list[str]:
    model: type[BaseModel] = Simulation
    for part in location:
        field = fields_of(model).get(str(part))
        inner = next(_models_in(field.annotation), None) if field else None
        model = inner or model
    return list(fields_of(model))


def _all_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of a model and of the models in it, dotted."""
    for name, field in fields_of(model).items():
        inner = next(_models_in(field.annotation), None)
        many = "[0]" if get_origin(field.annotation) is tuple else ""
        yield f"{prefix}{name}"
        if inner:
            yield from _all_keys(inner, f"{prefix}{name}{many}.")


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


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
