"""The configuration as a JSON schema, by which editors complete keys and mark mistakes.

It is made from the models that check a configuration, so that nothing is written down twice.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from sms_pipeline.core.presets import presets
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.simulation import Simulation

#: What the schema is called where it lies beside a configuration.
SCHEMA_FILE = "sms-pipeline.schema.json"
#: What a file can't say, though the ledger can.
_ONLY_IN_A_FILE = {"messages_from": "seed"}


def configuration_schema() -> dict[str, Any]:
    """The JSON schema of a configuration (draft 2020-12)."""
    schema = Simulation.model_json_schema(schema_generator=_Generator)
    for key, allowed in _ONLY_IN_A_FILE.items():
        described = schema["properties"][key]
        described.pop("enum")
        described["const"] = allowed
    profile = schema["$defs"][SenderProfile.__name__]
    _ask_for_mean_or_times(profile)
    profile["properties"]["preset"]["anyOf"][0]["enum"] = list(presets())
    return {"$schema": _Generator.schema_dialect, "title": "sms-pipeline", **schema}


def _ask_for_mean_or_times(profile: dict[str, Any]) -> None:
    """A profile has its mean from its times, where it has them."""
    profile["required"].remove("mean_time")
    profile["anyOf"] = [{"required": ["mean_time"]}, {"required": ["times"]}]


class _Generator(GenerateJsonSchema):
    """Without titles: they would only repeat the keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """See `GenerateJsonSchema.field_title_should_be_set`."""
        return False

    def generate(self, schema: Any, mode: JsonSchemaMode = "validation") -> dict[str, Any]:
        """See `GenerateJsonSchema.generate`."""
        made = super().generate(schema, mode)
        for model in (made, *made.get("$defs", {}).values()):
            model.pop("title", None)
        return made
