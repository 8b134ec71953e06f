"""Writes tables that are too large for the memory: CSV, also packed by gzip, and Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from sms_pipeline.config.reading import shown
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.producer.table import Chunk, require_pyarrow

#: Larger ones are read no faster.
_ROWS_OF_A_GROUP = 20_000
#: Of gzip: half the time of its default, for a file that is 3 % larger.
_GZIP_LEVEL = 4
_HIDDEN = ".part"
_SUFFIXES = (".csv", ".csv.gz", ".parquet")


class Sink(Protocol):
    """Takes the rows of a table."""

    def add(self, chunk: Chunk) -> None:
        """Write more rows."""


@contextmanager
def open_sink(path: Path | None, names: Sequence[str]) -> Iterator[Sink]:
    """A file that is there, with all its rows, once the block has ended well.

    Args:
        path: where; its suffix says in which format. None: nowhere.
        names: of the columns.

    Raises:
        ConfigError: it can't be written, or its suffix says nothing of a format.
        MissingPackagesError: it is Parquet, and its package is not installed.
    """
    if path is None:
        yield _Nowhere()
        return
    if not path.name.endswith(_SUFFIXES):
        listed = ", ".join(_SUFFIXES)
        raise ConfigError(f"{shown(path)}: can't be written: its name must end in one of {listed}")
    part = path.parent / f"{path.name}{_HIDDEN}"
    try:
        if path.exists() and not path.is_file():
            # Another file would take the place of a device.
            raise ConfigError(f"{shown(path)}: can't be written: it is no file")
        with _opened(path, part, names) as sink:
            yield sink
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{shown(path)}: can't be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


class _Nowhere:
    def add(self, chunk: Chunk) -> None:
        """Write nothing."""


@contextmanager
def _opened(path: Path, part: Path, names: Sequence[str]) -> Iterator[Sink]:
    if path.suffix == ".parquet":
        with _parquet(path, part, names) as parquet:
            yield parquet
        return
    # Phone numbers are nobody else's business.
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        packed = gzip.GzipFile("", "wb", _GZIP_LEVEL, file) if path.suffix == ".gz" else file
        with io.TextIOWrapper(packed, "utf-8", newline="") as text:
            yield _Csv(text, names)
            text.flush()


class _Csv:
    """See `Sink`."""

    def __init__(self, text: io.TextIOWrapper[Any], names: Sequence[str]) -> None:
        self._writer = csv.writer(text, lineterminator="\n")
        self._writer.writerow(names)

    def add(self, chunk: Chunk) -> None:
        """See `Sink.add`."""
        self._writer.writerows(zip(*chunk, strict=True))


@contextmanager
def _parquet(path: Path, part: Path, names: Sequence[str]) -> Iterator[Sink]:
    require_pyarrow(path, "writing")
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in names])
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    with pq.ParquetWriter(part, schema) as writer:
        sink = _Parquet(writer, schema)
        yield sink
        sink.flush()


class _Parquet:
    """See `Sink`."""

    def __init__(self, writer: Any, schema: Any) -> None:
        self._writer = writer
        self._schema = schema
        self._waiting: list[list[str]] = [[] for _ in schema.names]

    def add(self, chunk: Chunk) -> None:
        """See `Sink.add`."""
        for waiting, column in zip(self._waiting, chunk, strict=True):
            waiting.extend(column)
        if len(self._waiting[0]) >= _ROWS_OF_A_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what waits, as one group."""
        import pyarrow as pa

        if self._waiting[0]:
            self._writer.write_table(pa.table(self._waiting, schema=self._schema))
            self._waiting = [[] for _ in self._waiting]
