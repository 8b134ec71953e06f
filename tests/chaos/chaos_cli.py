"""The command under test: `python -m tests.chaos.chaos_cli` for `sms-pipeline`."""

from sms_pipeline.cli.main import main
from tests.chaos import instruments

if __name__ == "__main__":
    instruments.install()
    main()
