"""How values look on a page: plain text in small pieces, each with a class for its colour.  No HTML is made here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from bson import ObjectId

from connectome import relaxed
from connectome.extjson import preview as json_preview
from connectome.query import Document, Value
from connectome.query.values import is_number, type_alias

# Longer texts are cut: in a cell of a table, in a document among others.
MAX_CELL: Final = 120
MAX_STRING: Final = 400
MAX_LINES: Final = 60


class Piece(NamedTuple):
    """
    A stretch of text in one colour.

    kind: ``key``, ``string``, ``number``, ``word``; empty for what joins them.
    missing: how many characters of the text are not shown.
    """

    kind: str
    text: str
    missing: int = 0


class Cell(NamedTuple):
    """
    A value in a table.

    kind: MongoDB's alias of its type.
    exact: the text is the value as it is, and not cut.
    """

    kind: str
    text: str
    exact: bool
    is_number: bool


_TOKEN: Final = re.compile(
    r"""(?P<key>(?:"[^"\\]*(?:\\.[^"\\]*)*"|[A-Za-z_$][\w$]*)(?=:\ ))
    |   (?P<string>"[^"\\]*(?:\\.[^"\\]*)*"|(?<=[\s\[(])/(?:[^/\\\n]|\\.)+/\w*)
    |   (?P<number>-?(?:\d[\d.]*(?:e[+-]?\d+)?|Infinity)|NaN)
    |   (?P<word>[A-Za-z]\w*)
    |   (?P<joint>[^"\w/-]+|.)""",
    re.VERBOSE | re.DOTALL,
)


def pieces(value: Value, *, whole: bool = False) -> Iterator[Piece]:
    """A value in the shell's syntax, over several lines; long strings are cut, unless it is wanted ``whole``."""
    text = relaxed.dumps(value, indent=2)
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup or ""
        shown = token[0] if whole else token[0][:MAX_STRING]
        yield Piece("" if kind == "joint" else kind, shown, len(token[0]) - len(shown))


def cut_lines(shown: list[Piece], lines: int = MAX_LINES) -> tuple[list[Piece], int]:
    """The pieces of the first lines, and how many lines are left out."""
    kept: list[Piece] = []
    seen = 0
    for position, piece in enumerate(shown):
        seen += piece.text.count("\n")
        if seen >= lines:
            return kept, sum(each.text.count("\n") for each in shown[position:])
        kept.append(piece)
    return kept, 0


def cell(value: Value) -> Cell:
    """A value on one line of a table."""
    alias = type_alias(value)
    if type(value) is str:
        text = value if value.strip() else json_preview(value)
    elif type(value) is ObjectId:
        text = str(value)
    elif type(value) is datetime:
        text = value.isoformat(timespec="milliseconds" if value.microsecond else "seconds").replace("+00:00", "Z")
    else:
        text = relaxed.preview(value, limit=MAX_CELL)
    if len(text) > MAX_CELL:
        text = text[: MAX_CELL - 1] + "…"
        return Cell(alias, text, False, False)
    return Cell(alias, text, not text.endswith("…"), is_number(value))


def identity(value: Value) -> str:
    """An ``_id`` as it stands in an address of the console; ``relaxed.loads`` reads it."""
    return relaxed.dumps(value)


def digest(document: Document) -> str:
    """What tells whether a document is still the one that a page has shown."""
    return sha256(relaxed.dumps(document).encode()).hexdigest()[:32]


class Line(NamedTuple):
    """
    One line of the difference between two texts.

    mark: ``+`` for one that comes, ``-`` for one that goes, empty for one that stays, ``…`` for some that stay.
    notes: what is wrong with it.
    """

    mark: str
    text: str
    notes: list[str]


def difference(before: str, after: str, notes: dict[int, list[str]] | None = None, *, around: int = 3) -> list[Line]:
    """
    What changes from one text to another, line by line, with some lines around each change.

    Args:
        notes: What is to be said of lines of ``after``, by their number from 1; such lines are shown in any case.
    """
    said = notes or {}
    lines = list(_aligned(before.split("\n"), after.split("\n"), said))
    near = {
        each
        for position, line in enumerate(lines)
        if line.mark or line.notes
        for each in range(position - around, position + around + 1)
    }
    shown: list[Line] = []
    for position, line in enumerate(lines):
        if position in near:
            shown.append(line)
        elif not shown or shown[-1].mark != "…":
            shown.append(Line("…", "", []))
    return shown


def _aligned(before: list[str], after: list[str], said: dict[int, list[str]]) -> Iterator[Line]:
    # Beyond this difflib takes minutes; a document of so many lines is shown as replaced.
    if len(before) * len(after) > 4_000_000:
        blocks: list[tuple[str, int, int, int, int]] = [("replace", 0, len(before), 0, len(after))]
    else:
        blocks = list(difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes())
    for tag, before_from, before_to, after_from, after_to in blocks:
        if tag == "equal":
            for offset in range(after_to - after_from):
                yield Line("", after[after_from + offset], said.get(after_from + offset + 1, []))
            continue
        yield from (Line("-", text, []) for text in before[before_from:before_to])
        for number in range(after_from, after_to):
            yield Line("+", after[number], said.get(number + 1, []))


def lines_of(value: Any, pointers: dict[str, str]) -> dict[int, list[str]]:
    """From pointers into a value, each with a sentence, to the lines of its text that they are about."""
    text = relaxed.dumps(value, indent=2)
    found: dict[int, list[str]] = {}
    for pointer, sentence in pointers.items():
        line, _ = relaxed.place(text, pointer)
        found.setdefault(line, []).append(sentence)
    return found
