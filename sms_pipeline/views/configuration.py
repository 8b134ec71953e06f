"""A configuration as a file that commands take. Pure."""

from __future__ import annotations

import yaml

from sms_pipeline.core.simulation import Simulation


def configuration_yaml(simulation: Simulation) -> str:
    """All that differs from the defaults, and the senders, as YAML."""
    kept = simulation.model_dump(mode="json", exclude_defaults=True)
    kept["senders"] = [
        one.model_dump(mode="json", exclude_defaults=True) | {"count": one.count}
        for one in simulation.senders
    ]
    if recipients := simulation.recipients:
        # What was found in the file is found again when a run starts.
        kept["recipients"] = recipients.model_dump(exclude={"contents"}, exclude_none=True)
        kept.pop("messages_from", None)
        if recipients.contents and recipients.contents.rows == simulation.num_messages:
            kept.pop("num_messages", None)
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
