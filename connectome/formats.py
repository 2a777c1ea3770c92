"""Documents as files: JSON arrays, NDJSON and CSV, read and written.  No HTTP, no store here."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal, get_args

from bson import Int64

from connectome import extjson
from connectome.errors import InvalidJSON, InvalidRequest, at

Format = Literal["json", "ndjson", "csv"]
# TinyDB keeps documents there that were put in no table by name.
_TINYDB_TABLE: Final = "_default"
FORMATS: Final[tuple[Format, ...]] = get_args(Format)


def read_documents(content: bytes, format: Format, *, types: Mapping[str, str] | None = None) -> Iterator[Any]:
    """
    The documents of a file, one by one.

    Args:
        types: For CSV, the types of columns by their header; the others are found out, see ``csv_documents``.

    Raises:
        InvalidJSON, InvalidRequest: With the line, or the pointer that starts with the position of the document.
    """
    if format == "csv":
        yield from csv_documents(content, types or {})
    elif format == "ndjson":
        yield from ndjson_documents(content)
    else:
        documents = extjson.loads(content)
        if type(documents) is dict and type(documents.get(_TINYDB_TABLE)) is dict:
            documents = list(documents[_TINYDB_TABLE].values())
        if type(documents) is not list:
            raise InvalidRequest(
                f"a JSON file to import holds an array of documents, or is TinyDB's, not {extjson.preview(documents)}"
            )
        for position, document in enumerate(documents):
            with at(position):
                yield _document(document)


def estimated_count(content: bytes, format: Format) -> int | None:
    """About how many documents a file holds, for a progress bar; None where that cannot be seen before it is read."""
    return None if format == "json" else content.count(b"\n")


def ndjson_documents(content: bytes) -> Iterator[Any]:
    """The documents of NDJSON: one on each line; blank lines are passed over."""
    position = 0
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        with at(position):
            try:
                document = extjson.loads(line)
            except InvalidJSON as error:
                # To the parser every line is the first.
                where = f"line {number}: {error.detail.replace(' in line 1, column', ' in column')}"
                raise InvalidJSON(where, code=error.code, pointer=error.pointer or "") from None
            yield _document(document)
        position += 1


def _document(value: Any) -> Any:
    if type(value) is not dict:
        raise InvalidRequest(f"a document is an object, not {extjson.preview(value)}")
    return value


def write_csv(documents: Iterable[Any]) -> Iterator[str]:
    """
    Documents as CSV, line by line.

    The header holds the dotted paths of all fields, in the order in which they first appear; arrays are JSON in
    their cell; a field that is missing or null is an empty cell.
    """
    rows = [dict(_cells(document, "")) for document in documents]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for cells in [columns, *([row.get(column, "") for column in columns] for row in rows)]:
        line = io.StringIO()
        csv.writer(line).writerow(cells)
        yield line.getvalue()


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


def csv_documents(content: bytes, types: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """
    The documents of a CSV file with a header.

    A header such as ``address.city`` makes a nested document.  An empty cell is a field that is missing.  A column
    that is not in ``types`` gets the first of int, double, bool, date, json (arrays and objects) and string that
    all its cells are of, so that ``007`` stays a string.

    Raises:
        InvalidRequest: A row longer than the header, a header twice, a type that is none, a cell that is not of it.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"a CSV file is UTF-8, and the byte at {error.start} is not", pointer=None) from None
    csv.field_size_limit(2**31 - 1)  # a cell may be as long as a document; Python's own limit is 128 KiB
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        numbered = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise InvalidRequest(f"line {reader.line_num} is not CSV: {error}", pointer=None) from None
    if not numbered:
        raise InvalidRequest("a CSV file starts with a header, and this one is empty", pointer=None)
    (_, header), *rows = numbered
    _check_header(header, types)
    for line, row in rows:
        if len(row) > len(header):
            raise InvalidRequest(f"line {line} has {len(row)} cells, and the header has {len(header)}", pointer=None)
    readers = [
        COLUMN_TYPES[types.get(name) or _found_out([row[i] for _, row in rows if i < len(row) and row[i]])]
        for i, name in enumerate(header)
    ]
    for line, row in rows:
        document: dict[str, Any] = {}
        for name, read, cell in zip(header, readers, row, strict=False):
            if cell:
                try:
                    _put(document, name, read(cell))
                except (ValueError, KeyError, InvalidJSON):
                    raise InvalidRequest(
                        f"line {line}, column {name!r}: expected {types[name]}, not {extjson.preview(cell)}",
                        pointer=None,
                    ) from None
        yield document


def _check_header(header: list[str], types: Mapping[str, str]) -> None:
    for name in header:
        if header.count(name) > 1:
            raise InvalidRequest(f"the header names {name!r} twice", pointer=None)
        if not extjson.WRAPPERS.isdisjoint(name.split(".")):
            raise InvalidRequest(f"the header names {name!r}, which would be read as Extended JSON", pointer=None)
        if any(other.startswith(name + ".") for other in header):
            raise InvalidRequest(f"the header names {name!r}, and a field inside it", pointer=None)
    for name, type_ in types.items():
        if name not in header:
            raise InvalidRequest(f"there is no column {name!r}; the header has {', '.join(header)}", pointer=None)
        if type_ not in COLUMN_TYPES:
            raise InvalidRequest(
                f"the type of a column is one of {', '.join(COLUMN_TYPES)}, not {type_!r}", pointer=None
            )


def _found_out(cells: list[str]) -> str:
    return next(name for name in _FOUND_OUT if all(_reads(COLUMN_TYPES[name], cell) for cell in cells or [""]))


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
