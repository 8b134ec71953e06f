"""Short ways to call commands."""

from __future__ import annotations

from click.testing import CliRunner, Result

from sms_pipeline.cli.main import cli

#: A process of our own, imports included, is slow on a busy machine.
PROCESS_SECONDS = 60


def invoke(*arguments: str, **environment: str) -> Result:
    """What came of `sms-pipeline` with these arguments."""
    return CliRunner().invoke(cli, arguments, env=environment)


def refused(*arguments: str, **environment: str) -> str:
    """The one line on stderr of a command that ends with 2."""
    result = invoke(*arguments, **environment)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")
