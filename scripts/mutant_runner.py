"""mutmut with the tests collected once: a mutant costs a fork and its tests, no start of pytest.

Most mutants are noticed by a test of a few milliseconds, while pytest takes most of a second to
start and to collect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import chdir
from functools import cache

import mutmut.workers.isolation
import pytest
from _pytest.config import _prepareconfig
from mutmut.__main__ import cli
from mutmut.runners.harness import PytestRunner
from mutmut.state import state

#: Where mutmut keeps the changed code and its copy of the tests.
CHANGED = "mutants"
#: Tests are asked for so long, or what nothing notices would take a minute each.
PATIENCE_SECONDS = 5.0
#: What surrounds a test takes about so long; mutmut knows only how long the test itself takes.
FIXTURES_SECONDS = 0.05
#: A test that takes so long hangs.
TIMEOUT_SECONDS = 20
#: What mutmut calls a mutant that a test noticed, and one that no test reaches.
_NOTICED, _NO_TESTS = 1, 33


class CollectedTests(PytestRunner):
    """Runs the tests of a mutant from a session that was collected before the process forked."""

    def __init__(self) -> None:
        super().__init__()
        self._items: dict[str, pytest.Item] = {}

    def prepare_main_test_run(self) -> None:
        """Collect all tests."""
        options = [*self._pytest_add_cli_args, *self._pytest_add_cli_args_test_selection]
        with chdir(CHANGED):
            config = _prepareconfig(
                ["--rootdir=.", "--capture=no", f"--timeout={TIMEOUT_SECONDS}", *options]
            )
            session = pytest.Session.from_config(config)
            config._do_configure()
            config.hook.pytest_sessionstart(session=session)
            session.perform_collect()
        self._items = {item.nodeid: item for item in session.items}

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        """Run the tests of a mutant until one fails; all tests, as mutmut does, without one."""
        if mutant_name is None:
            return int(super().run_tests(mutant_name=mutant_name, tests=tests))
        reach = reach_of(mutant_name.rpartition(".")[0])
        chosen = choose(mutant_name, tests, state().duration_by_test, reach)
        items = [self._items[test] for test in chosen]
        with chdir(CHANGED):
            for item, following in zip(items, [*items[1:], None], strict=True):
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
                if item.session.testsfailed:
                    return _NOTICED
        return 0 if items else _NO_TESTS


@cache
def reach_of(module: str) -> Counter[str]:
    """By test, how many functions of a module it calls."""
    by_function = state().tests_by_mangled_function_name.items()
    return Counter(
        test
        for function, tests in by_function
        if function.rpartition(".")[0] == module
        for test in tests
    )


def choose(
    mutant: str, tests: Iterable[str], seconds: Mapping[str, float], reach: Mapping[str, int]
) -> list[str]:
    """Those of a mutant's own file first, then those that call most of its module in a second, as
    far as patience lasts.

    What only makes a thing shows nothing of how it is made; what also uses it does. Tests of a
    file come together, or what they share would be made again and again.
    """
    _, room, module, *_ = mutant.split(".")
    own = f"tests/unit/{room}/test_{module}.py::"
    cost = {test: seconds[test] + FIXTURES_SECONDS for test in tests}
    ordered = sorted(cost, key=lambda test: (not test.startswith(own), -reach[test] / cost[test]))
    chosen, left = [], PATIENCE_SECONDS
    for test in ordered:
        if cost[test] <= left:
            chosen.append(test)
            left -= cost[test]
    files = list(dict.fromkeys(map(_file, chosen)))
    return sorted(chosen, key=lambda test: files.index(_file(test)))


def _file(test: str) -> str:
    return test.partition("::")[0]


if __name__ == "__main__":
    mutmut.workers.isolation.PytestRunner = CollectedTests
    cli()
