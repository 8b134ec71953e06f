"""Who a run goes to, where that is not drawn at random: a file, and what was found in it. Pure."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from sms_pipeline.core.frozen import Frozen

#: Longest path, and longest name of a column.
_MAX_PATH, _MAX_COLUMN = 4_096, 200
#: Digits, and what people write between them.
NUMBER_PATTERN = r"\+?[0-9][0-9 ().-]{1,30}+"
SHA256_PATTERN = "^[0-9a-f]{64}$"
#: The column with the phone numbers, unless another is named.
NUMBER_COLUMN = "to"


class Contents(Frozen):
    """What was found in a file of recipients when the run was started."""

    sha256: str = Field(pattern=SHA256_PATTERN, description="of the file")
    rows: int = Field(ge=1, description="without the header")
    columns: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        description="those that are used: the numbers and the fields of the text"
    )
    parts: int = Field(ge=1, description="of the texts of all messages of the run")
    message_bytes: int = Field(
        ge=1, description="most that a message takes on the wire: number, text, two separators"
    )


class Recipients(Frozen):
    """A file of recipients. Message N of the run goes to its row N: the first is 0."""

    file: str = Field(
        min_length=1,
        max_length=_MAX_PATH,
        description="CSV, also packed by gzip, or Parquet; relative to the configuration file",
    )
    column: str = Field(
        default=NUMBER_COLUMN,
        min_length=1,
        max_length=_MAX_COLUMN,
        description="the column with the phone numbers",
    )
    only: str | None = Field(
        default=None,
        pattern="^(failed|delivered):[1-9][0-9]{0,9}$",
        description="`failed:RUN` or `delivered:RUN`: those whose message of an earlier run to the "
        "same file failed or expired, or was delivered; a cancelled one is neither; `--to`",
    )
    sha256: str | None = Field(
        default=None,
        pattern=SHA256_PATTERN,
        description="of the file; a run to another file is refused",
    )
    contents: Contents | None = Field(
        default=None, description="what was found in it; set when a run starts, never in a file"
    )

    @property
    def pinned(self) -> Self:
        """The same, for the very file that was found."""
        found = self.contents
        return self.model_copy(update={"sha256": found.sha256}) if found else self
