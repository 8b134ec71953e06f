"""What a message says to each recipient: a text with fields. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sms_pipeline.core.messages import LINE_BREAK, SEPARATOR, joined, on_one_line

#: Stands for the value, where it is looked for; nobody types it.
_MARK = "\0"
#: A doubled brace, a field, or a brace that is neither.
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}\n]*)\}|[{}]")


class Template:
    """A text with `{field}`s; `{{` and `}}` are braces."""

    def __init__(self, text: str) -> None:
        """
        Raises:
            ValueError: it has a brace too many, or a field without a name.
        """
        self._places: list[str] = []
        self._format = "".join(self._pieces(text))
        #: Each once, in order of appearance.
        self.fields = tuple(dict.fromkeys(self._places))

    def _pieces(self, text: str) -> list[str]:
        pieces, end = [], 0
        for token in _TOKEN.finditer(text):
            pieces.append(text[end : token.start()].replace("%", "%%"))
            pieces.append(self._piece(token))
            end = token.end()
        return [*pieces, text[end:].replace("%", "%%")]

    def _piece(self, token: re.Match[str]) -> str:
        name = token[1]
        if token[0] in ("{{", "}}"):
            return token[0][0]
        if name is None:
            raise ValueError(
                f"has a single {token[0]!r} at character {token.start() + 1}; a brace that is not "
                f"part of a {{field}} must be doubled: {token[0] * 2!r}"
            )
        if not name.strip():
            raise ValueError(f"has a field without a name at character {token.start() + 1}")
        self._places.append(name)
        return "%s"

    def fill(self, columns: Sequence[Sequence[str]], rows: int) -> list[str]:
        """The text for each row.

        Args:
            columns: for each of `fields`, its value in each row.
            rows: how many there are.
        """
        if not self._places:
            return [self._format % ()] * rows
        places = dict(zip(self.fields, columns, strict=True))
        values = zip(*(places[name] for name in self._places), strict=True)
        return list(map(self._format.__mod__, values))

    def column(self, columns: Sequence[Sequence[str]], rows: int) -> str:
        """The same as a column of a batch: see `messages.joined`."""
        if len(self._places) == 1 and _MARK not in self._format:
            # Most texts are so, and one call makes them all.
            (values,) = columns
            start, end = map(on_one_line, (self._format % _MARK).split(_MARK))
            made = f"{start}{f'{end}{SEPARATOR}{start}'.join(values)}{end}"
            breaks = rows * (start + end).count(LINE_BREAK)
            if made.count(SEPARATOR) == rows - 1 and made.count(LINE_BREAK) == breaks:
                return made
        return joined(self.fill(columns, rows))
