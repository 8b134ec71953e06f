"""Rehearse a mass SMS alert on Celery and RabbitMQ, with totals that are proven.

What may be imported from here is in `__all__`. Each name is loaded when it is asked for, so that
`import sms_pipeline` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sms_pipeline.celery import send_sms
    from sms_pipeline.config.files import load_simulation
    from sms_pipeline.config.settings import Settings, load_settings
    from sms_pipeline.core.batch import Batch
    from sms_pipeline.core.checks import Threshold
    from sms_pipeline.core.errors import PipelineError
    from sms_pipeline.core.gateway import Gateway, Outcomes
    from sms_pipeline.core.profiles import SenderProfile
    from sms_pipeline.core.records import Run
    from sms_pipeline.core.retry import RetryPolicy
    from sms_pipeline.core.simulation import Simulation
    from sms_pipeline.ledger.audit import audit_ledger
    from sms_pipeline.ledger.store import Ledger
    from sms_pipeline.ledger.verdict import Verdict

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Gateway",
    "Ledger",
    "Outcomes",
    "PipelineError",
    "RetryPolicy",
    "Run",
    "SenderProfile",
    "Settings",
    "Simulation",
    "Threshold",
    "Verdict",
    "audit_ledger",
    "load_settings",
    "load_simulation",
    "send_sms",
]

_HOMES = {
    "config.files": ("load_simulation",),
    "config.settings": ("Settings", "load_settings"),
    "core.batch": ("Batch",),
    "core.gateway": ("Gateway", "Outcomes"),
    "core.profiles": ("SenderProfile",),
    "core.records": ("Run",),
    "core.retry": ("RetryPolicy",),
    "core.checks": ("Threshold",),
    "core.simulation": ("Simulation",),
    "core.errors": ("PipelineError",),
    "ledger.audit": ("audit_ledger",),
    "ledger.store": ("Ledger",),
    "ledger.verdict": ("Verdict",),
    "celery": ("send_sms",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
