"""What a shell offers when Tab is pressed. Nothing here may fail: the shell would print it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from sms_pipeline.core.errors import PipelineError

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
#: A value, and what it means.
Offer = tuple[str, str]

#: How many runs are offered.
LATEST_RUNS = 30


def _complete(offers: Callable[[click.Context], Iterable[Offer]]) -> Complete:
    """Completion by what `offers` finds; nothing is offered when it can't look."""

    def complete(
        context: click.Context, _parameter: click.Parameter, begun: str
    ) -> list[CompletionItem]:
        try:
            found = list(offers(context))
        except (PipelineError, OSError):
            return []
        return [
            CompletionItem(value, help=text) for value, text in found if value.startswith(begun)
        ]

    return complete


def _runs(_context: click.Context) -> Iterable[Offer]:
    from sms_pipeline.config.settings import load_settings
    from sms_pipeline.core.counts import of_messages
    from sms_pipeline.ledger.store import Ledger
    from sms_pipeline.views.format import moment

    ledger = Ledger.open_to_read(load_settings().database_url)
    for totals in ledger.totals(LATEST_RUNS):
        run, name = totals.run, totals.simulation.name
        text = f"{moment(run.started_at)}, {of_messages(run.total)}"
        yield str(run.id), f"{name}, {text}" if name else text


def _profiles(context: click.Context) -> Iterable[Offer]:
    from sms_pipeline.config.files import load_simulation
    from sms_pipeline.config.settings import load_settings
    from sms_pipeline.views.format import count, exact_seconds

    for sender in load_simulation(_file(context) or load_settings().config).senders:
        yield sender.name, f"{count(sender.count)} at {exact_seconds(sender.mean_time)}"


def _file(context: click.Context) -> Path | None:
    """The configuration that the words so far name."""
    # Arguments before an option without its value are left over.
    left = [Path(word) for word in context.args if not word.startswith("-")]
    named = context.params.get("config") or context.params.get("config_file")
    return named or next(iter(left), None)


def _metrics(_context: click.Context) -> Iterable[Offer]:
    from sms_pipeline.core.checks import METRICS

    return ((f"{metric} ", "") for metric in METRICS)


def _routings(_context: click.Context) -> Iterable[Offer]:
    from typing import get_args

    from sms_pipeline.core.simulation import Simulation

    return ((word, "") for word in get_args(Simulation.model_fields["routing"].annotation))


runs = _complete(_runs)
profiles = _complete(_profiles)
metrics = _complete(_metrics)
routings = _complete(_routings)


def words(*allowed: str) -> Complete:
    """Completion by fixed words."""
    return _complete(lambda _: [(word, "") for word in allowed])
