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
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
