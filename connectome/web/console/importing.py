"""Documents that somebody pastes or chooses a file of: which format they are in, and what they would become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from flask import request

from connectome import extjson, formats, inference
from connectome.errors import ConnectomeError, InvalidRequest
from connectome.query import Document

ROWS: Final = 5
COLUMNS: Final = 30
_CELL: Final = 60
_TYPE: Final = "type-"
# A file that is longer is not carried through a form that is shown again: it is chosen once more.
MAX_CARRIED: Final = 1024 * 1024


@dataclass(frozen=True)
class Column:
    """One path of documents: the types of its values, and in how many of the documents it is."""

    path: str
    types: Sequence[str]
    count: int


@dataclass(frozen=True)
class Preview:
    """
    What documents look like before they are kept.

    rows: of the first few documents a short text for each column; None where it has none.
    hidden: how many columns there are beyond those; with ``more``, that and an unknown number.
    """

    format: formats.Format
    count: int
    columns: Sequence[Column]
    rows: Sequence[Sequence[str | None]]
    hidden: int
    more: bool


@dataclass(frozen=True)
class Given:
    """What a form brought: bytes of documents, their format, and for CSV the types that were chosen."""

    content: bytes
    format: formats.Format
    types: dict[str, str]

    @property
    def text(self) -> str:
        """The content for the form that is shown again; empty where it is too long for that, or no text."""
        try:
            return "" if len(self.content) > MAX_CARRIED else self.content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return ""

    def documents(self) -> list[Document]:
        """
        The documents.

        Raises:
            InvalidJSON, InvalidRequest: With the line, or the pointer that starts with the position of the document.
        """
        return list(formats.read_documents(self.content, self.format, types=self.types))


def given() -> Given | None:
    """
    The documents of the form that came: of its file, else of its text; None where there are none.

    Raises:
        InvalidRequest: A format that is none.
    """
    file = request.files.get("file")
    name, content = (file.filename or "", file.read()) if file else ("", b"")
    content = content or request.form.get("text", "").encode("utf-8", "surrogatepass")
    if not content.strip():
        return None
    asked = request.form.get("format") or format_of(name, content)
    if asked not in formats.FORMATS:
        raise InvalidRequest(f"a format is one of {', '.join(formats.FORMATS)}, not {asked!r}", pointer=None)
    chosen = {key.removeprefix(_TYPE): type_ for key, type_ in request.form.items() if key.startswith(_TYPE) and type_}
    return Given(content, asked, chosen if asked in ("csv", "tsv") else {})


def format_of(name: str, content: bytes) -> formats.Format:
    """The format that the ending of a file's name says, else its beginning."""
    ending = name.rpartition(".")[2].lower()
    start = content[:4].removeprefix(b"\xef\xbb\xbf") + content[4:100]
    if ending in formats.ENDINGS and not (ending == "json" and start.lstrip()[:1] == b"{"):
        return formats.ENDINGS[ending]
    if start.lstrip()[:1] == b"[":
        return "json"
    if start.lstrip()[:1] == b"{":
        return "ndjson" if _is_whole(content.strip().partition(b"\n")[0]) else "json"
    return "csv"


def _is_whole(line: bytes) -> bool:
    """Whether a line is a document by itself, and no TinyDB file on one line."""
    try:
        value = extjson.loads(line)
    except ConnectomeError:
        return False
    return type(value) is dict and "_default" not in value


def preview(given: Given) -> Preview:
    """
    What the documents that somebody gave would become.

    Raises:
        InvalidJSON, InvalidRequest: They cannot be read.
    """
    documents = given.documents()
    whole = inference.shape_of(inference.sample(documents))
    found = [
        (path, Column(inference.path_text(path), [*shape.types], shape.count))
        for path, shape, _ in whole.walk()
        if inference.ELEMENTS not in path and set(shape.types) != {"object"}
    ]
    shown = found[:COLUMNS]
    rows = [[_cell(document, path) for path, _ in shown] for document in documents[:ROWS]]
    columns = [column for _, column in shown]
    return Preview(given.format, len(documents), columns, rows, len(found) - len(columns), whole.cut)


def _cell(document: Document, path: Sequence[str]) -> str | None:
    value: Any = document
    for step in path:
        if type(value) is not dict or step not in value:
            return None
        value = value[step]
    text = "null" if value is None else formats.cell_text(value)
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"
