"""Documents as files: JSON arrays, NDJSON, CSV and TSV, read and written, one document at a time.  No HTTP here."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from itertools import accumulate, chain
from tempfile import SpooledTemporaryFile, TemporaryFile, gettempdir
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, Protocol, get_args

from bson import Int64

from connectome import extjson
from connectome.errors import InvalidJSON, InvalidRequest, StoreFailed, at
from connectome.splitting import Text

if TYPE_CHECKING:
    # The command line names the formats in its help, for which no store is to be loaded.
    from connectome.query import Document
    from connectome.stores import Find

Format = Literal["json", "ndjson", "csv", "tsv", "ejson"]
# TinyDB keeps documents there that were put in no table by name.
_TINYDB_TABLE: Final = "_default"
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
# What the ending of a file's name says; canonical Extended JSON is read as JSON is.
ENDINGS: Final[dict[str, Format]] = {
    "json": "json",
    "ndjson": "ndjson",
    "jsonl": "ndjson",
    "csv": "csv",
    "tsv": "tsv",
    "ejson": "ejson",
}
# What stands between the cells of a row.
DELIMITERS: Final[dict[str, str]] = {"csv": ",", "tsv": "\t"}
# The end of what is sent as it is made, and could not be made to its end: no JSON, and to a strict reader of CSV a cell
# that is never closed.
CUT: Final = b'\n"!! the server failed here: this answer is not whole\n'
# Cells that wait for their header are in memory up to so many bytes, then in a temporary file.
_SPOOL_BYTES: Final = 2**20


def read_documents(
    source: bytes | BinaryIO, format: Format, *, types: Mapping[str, str] | None = None
) -> Iterator[Document]:
    """
    The documents of a file, one by one; no more of the file is in memory than the document at hand.

    Args:
        source: The content, or a file open for reading bytes.  CSV and TSV are read twice: what cannot be read from
            its start again is copied to a temporary file first.
        types: For CSV and TSV, the types of columns by their header; the others are found out, see ``csv_documents``.

    Raises:
        InvalidJSON, InvalidRequest: With the line, or the pointer that starts with the position of the document.
    """
    file: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source
    if format in DELIMITERS:
        yield from csv_documents(file, types or {}, delimiter=DELIMITERS[format])
    elif format == "ndjson":
        yield from ndjson_documents(file)
    else:
        yield from json_documents(file)


class Source(Protocol):
    """What of a ``Reader`` a file is written from."""

    def find(self, find: Find) -> Iterator[Document]:
        """As ``Reader.find``."""

    def encoded(self, find: Find) -> Iterator[bytes]:
        """As ``Reader.encoded``."""


def write_documents(collection: Source, find: Find, format: Format) -> Iterator[bytes]:
    """
    What a question finds as a file, piece by piece.

    JSON and NDJSON are relaxed: numbers are numbers; ``ejson`` is a JSON array that names the type of every value.
    """
    if format in DELIMITERS:
        lines = write_csv(collection.find(find), delimiter=DELIMITERS[format])
        return (line.encode() for line in lines)
    if format == "ndjson":
        return (line + b"\n" for line in collection.encoded(find))
    if format == "json":
        return _array(collection.encoded(find))
    return _array(extjson.encode(document, mode="canonical") for document in collection.find(find))


def _array(texts: Iterable[bytes]) -> Iterator[bytes]:
    opening = b"[\n"
    for text in texts:
        yield opening + text
        opening = b",\n"
    yield b"[]\n" if opening == b"[\n" else b"\n]\n"


class Spooled:
    """
    Documents that wait in a temporary file: read to their end, found to be good, and not in memory.

    Iterating yields them, again and again.

    count: how many there are.
    size: bytes of the file, which is NDJSON that keeps the type of every number.

    Args:
        documents: Whatever is raised while they are made leaves no file.

    Raises:
        StoreFailed: There is no room for the file.
    """

    def __init__(self, documents: Iterable[Document]) -> None:
        self.file: BinaryIO = TemporaryFile(dir=_roomy_directory())  # noqa: SIM115 -- closed by ``close``
        self.count = self.size = 0
        try:
            for document in documents:
                self.count += 1
                self._keep(extjson.encode(document, mode="stored") + b"\n")
            self._keep(b"")
        except BaseException:
            self.close()
            raise

    def _keep(self, line: bytes) -> None:
        try:
            self.size += self.file.write(line)
            if not line:
                self.file.flush()
        except OSError as error:
            raise _no_room(error) from error

    def __iter__(self) -> Iterator[Document]:
        self.file.seek(0)
        for line in self.file:
            yield extjson.decode(line)

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()


def json_documents(file: BinaryIO) -> Iterator[Document]:
    """The documents of a JSON array, or of the table of a TinyDB file that has no name of its own."""
    text = Text(file)
    mark = text.first()
    if mark == b"[":
        walk: Iterator[Any] = text.elements()
    elif mark == b"{":
        walk = _tinydb_rows(text)
    else:
        value = text.value()
        text.end()
        raise _no_documents(value)
    for position, _ in enumerate(walk):
        with at(position):
            document = _document(text.value())
        yield document
    text.end()


def _tinydb_rows(text: Text) -> Iterator[None]:
    found = False
    others: dict[str, Any] = {}
    for table in text.members():
        if table == _TINYDB_TABLE and text.first() == b"{":
            found = True
            for _ in text.members():
                yield
        else:
            value = text.value()
            if len(others) < _PREVIEWED:
                others[table] = value
    if not found:
        raise _no_documents(others)


# Of an object that is none of TinyDB's so many members are remembered, for the sentence that says so.
_PREVIEWED: Final = 10


def _no_documents(value: Any) -> InvalidRequest:
    return InvalidRequest(
        f"a JSON file to import holds an array of documents, or is TinyDB's, not {extjson.preview(value)}"
    )


def ndjson_documents(file: BinaryIO) -> Iterator[Document]:
    """The documents of NDJSON: one on each line; blank lines are passed over."""
    position = 0
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        with at(position):
            try:
                document = extjson.loads(line.rstrip(b"\n"))
            except InvalidJSON as error:
                # To the parser every line is the first.
                where = f"line {number}: {error.detail.replace(' in line 1, column', ' in column')}"
                raise InvalidJSON(where, code=error.code, pointer=error.pointer or "") from None
            _document(document)
        yield document
        position += 1


def _document(value: Any) -> Document:
    if type(value) is not dict:
        raise InvalidRequest(f"a document is an object, not {extjson.preview(value)}")
    return value


def _roomy_directory() -> str | None:
    # Not at the top, as of all of the stores.
    from connectome.stores.files import roomy_directory

    return roomy_directory()


def _no_room(error: OSError) -> StoreFailed:
    place = _roomy_directory() or gettempdir()
    return StoreFailed(
        f"{error.strerror or error} while writing a temporary file in {place}; TMPDIR names another place"
    )


def write_csv(
    documents: Iterable[Document], *, delimiter: str = ",", columns: Iterable[str] = (), line_end: str = "\r\n"
) -> Iterator[str]:
    """
    Documents as CSV, line by line.

    The header holds the dotted paths of all fields, in the order in which they first appear; arrays are JSON in
    their cell; a field that is missing or null is an empty cell.  Until the last document is known, and so the header,
    the cells wait in a temporary file where they are many.

    Args:
        columns: Those that come first, whether a document has them or not.

    Raises:
        StoreFailed: There is no room for the file; before the header.
    """
    header = dict.fromkeys(columns)
    try:
        with SpooledTemporaryFile(_SPOOL_BYTES, dir=_roomy_directory()) as waiting:
            for document in documents:
                row = dict(_cells(document, ""))
                header.update(dict.fromkeys(row))
                waiting.write(extjson.encode(row) + b"\n")
            waiting.seek(0)
            line = io.StringIO()
            writer = csv.writer(line, delimiter=delimiter, lineterminator=line_end)
            rows = ([row.get(name, "") for name in header] for row in map(json.loads, waiting))
            for cells in chain([header], rows):
                writer.writerow(cells)
                yield line.getvalue()
                line.seek(0)
                line.truncate()
    except OSError as error:  # closing the file writes what is left, too
        raise _no_room(error) from error


def _cells(document: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        if type(value) is dict and value:
            yield from _cells(value, f"{prefix}{name}.")
        else:
            yield prefix + name, cell_text(value)


def cell_text(value: Any) -> str:
    """A value as the text of a cell: of a typed value such as an ObjectId only the operand, where that is a string."""
    if value is None:
        return ""
    if type(value) is datetime:
        return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds").replace("+00:00", "Z")
    plain = extjson.to_json(value)
    if type(plain) is str:
        return plain
    if type(plain) is dict and len(plain) == 1 and type(operand := next(iter(plain.values()))) is str:
        return operand
    return extjson.dumps(plain)


def _whole(text: str) -> int:
    # Not int(): "1_000" and " 7" are numbers to Python alone, and "007" is a code that must keep its zeros.
    if not re.fullmatch(r"-?(0|[1-9][0-9]{0,18})", text) or not -(2**63) <= (number := int(text)) < 2**63:
        raise ValueError(text)
    return number


def _double(text: str) -> float:
    if not re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", text):
        raise ValueError(text)
    number = float(text)
    # Nothing is converted silently: not a whole number that a double would round, not what is beyond any double.
    if math.isinf(number) or (text.lstrip("-").isdecimal() and number != _whole(text)):
        raise ValueError(text)
    return number


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _array_or_object(text: str) -> Any:
    if text[:1] not in ("[", "{"):
        raise ValueError(text)
    return extjson.loads(text)


def _wrapped(key: str) -> Callable[[str], Any]:
    return lambda text: extjson.from_json({key: text})


def _date(text: str) -> Any:
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError(text)
    return extjson.from_json({"$date": text})


# The types that a column may be given, each with what reads a cell; ValueError, KeyError, InvalidJSON: it is not one.
COLUMN_TYPES: Final[dict[str, Callable[[str], Any]]] = {
    "int": _whole,
    "double": _double,
    "bool": _flag,
    "date": _date,
    "json": _array_or_object,
    "string": str,
    "long": lambda text: Int64(_whole(text)),
    "decimal": _wrapped("$numberDecimal"),
    "objectId": _wrapped("$oid"),
}
# A column that is given no type gets the first of these that all its cells are of.
_FOUND_OUT: Final = ("int", "double", "bool", "date", "json", "string")


def csv_documents(file: BinaryIO, types: Mapping[str, str], *, delimiter: str = ",") -> Iterator[Document]:
    """
    The documents of a CSV file with a header.

    A header such as ``address.city`` makes a nested document.  An empty cell is a field that is missing.  A column
    that is not in ``types`` gets the first of int, double, bool, date, json (arrays and objects) and string that
    all its cells are of, so that ``007`` stays a string.  To find that out the file is read twice.

    Raises:
        InvalidRequest: A row longer than the header, a header twice, a type that is none, a cell that is not of it.
    """
    with ExitStack() as stack:
        if not file.seekable():
            piped, file = file, stack.enter_context(TemporaryFile(dir=_roomy_directory()))
            shutil.copyfileobj(piped, file)
            file.seek(0)
        start = file.tell()
        rows = _rows(file, delimiter)
        _, header = next(rows, (0, []))
        if not header:
            raise InvalidRequest("a CSV file starts with a header, and this one is empty", pointer=None)
        _check_header(header, types)
        chosen = _column_types(header, rows, types)
        readers = [COLUMN_TYPES[each] for each in chosen]
        file.seek(start)
        rows = _rows(file, delimiter)
        next(rows)
        for line, row in rows:
            document: Document = {}
            for name, type_, read, cell in zip(header, chosen, readers, row, strict=False):
                if cell:
                    try:
                        _put(document, name, read(cell))
                    except (ValueError, KeyError, InvalidJSON):
                        raise InvalidRequest(
                            f"line {line}, column {name!r}: expected {type_}, not {extjson.preview(cell)}",
                            pointer=None,
                        ) from None
            yield document


def header_of(content: bytes, format: Format) -> list[str]:
    """The names of the columns of a CSV or TSV file; none of an empty one."""
    _, header = next(_rows(io.BytesIO(content), DELIMITERS[format]), (0, []))
    return header


def _rows(file: BinaryIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a file from here on, empty ones apart, each with the number of its last line."""
    csv.field_size_limit(2**31 - 1)  # a cell may be as long as a document; Python's own limit is 128 KiB
    reader = csv.reader(_lines(file), strict=True, delimiter=delimiter)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise InvalidRequest(f"line {reader.line_num} is not CSV: {error}", pointer=None) from None


# A line with its end: of Unix, Windows, or, of old, the Macintosh.
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


def _lines(file: BinaryIO) -> Iterator[str]:
    """The lines of a file from here on, as ``csv`` wants them: with their ends."""
    # Not TextIOWrapper, which would close the file, and does not know which byte is to blame.
    place = 0
    for number, line in enumerate(file, 1):
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            byte = f"0x{line[error.start]:02x} at byte {place + error.start}"
            raise InvalidRequest(f"line {number}: a CSV file is UTF-8, and {byte} is not", pointer=None) from None
        if not place:
            text = text.removeprefix("\ufeff")
        place += len(line)
        if "\r" in text:
            yield from _LINE.findall(text)
        elif text:
            yield text


def _column_types(header: list[str], rows: Iterable[tuple[int, list[str]]], types: Mapping[str, str]) -> list[str]:
    """The type of each column: the one it was given, or the first that all its cells are of."""
    possible = [[types[name]] if name in types else list(_FOUND_OUT) for name in header]
    for line, row in rows:
        if len(row) > len(header):
            raise InvalidRequest(f"line {line} has {len(row)} cells, and the header has {len(header)}", pointer=None)
        for name, choices, cell in zip(header, possible, row, strict=False):
            if cell and not name:
                raise InvalidRequest(
                    f"line {line} has {extjson.preview(cell)} in a column without a name", pointer=None
                )
            if cell and len(choices) > 1:
                choices[:] = [each for each in choices if _reads(COLUMN_TYPES[each], cell)]
    # Where no cell says anything, nothing is read either.
    return [choices[0] for choices in possible]


def _check_header(header: list[str], types: Mapping[str, str]) -> None:
    # Spreadsheets write columns without a name behind the others; cells in one are refused where they are read.
    names: set[str] = set()
    for name in filter(None, header):
        steps = name.split(".")
        if name in names:
            raise InvalidRequest(f"the header names {name!r} twice", pointer=None)
        if "" in steps:
            raise InvalidRequest(f"the header names {name!r}, and no step of a path is empty", pointer=None)
        if not extjson.WRAPPERS.isdisjoint(steps):
            raise InvalidRequest(f"the header names {name!r}, which would be read as Extended JSON", pointer=None)
        names.add(name)
    for name in names:
        for parent in accumulate(name.split(".")[:-1], "{}.{}".format):
            if parent in names:
                raise InvalidRequest(f"the header names {parent!r}, and a field inside it, {name!r}", pointer=None)
    for name, type_ in types.items():
        if name not in header:
            raise InvalidRequest(f"there is no column {name!r}; the header has {', '.join(header)}", pointer=None)
        if type_ not in COLUMN_TYPES:
            raise InvalidRequest(
                f"the type of a column is one of {', '.join(COLUMN_TYPES)}, not {type_!r}", pointer=None
            )


def _reads(read: Callable[[str], Any], cell: str) -> bool:
    try:
        read(cell)
    except (ValueError, KeyError, InvalidJSON):
        return False
    return True


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        document = document.setdefault(part, {})
    document[last] = value
