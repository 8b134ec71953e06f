"""A configuration as a file that commands take. Pure."""

from __future__ import annotations

import yaml

from sms_pipeline.core.simulation import Simulation

#: What follows from a file of recipients.
_FROM_RECIPIENTS = ("num_messages", "messages_from")


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
        for key in _FROM_RECIPIENTS:
            kept.pop(key, None)
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
