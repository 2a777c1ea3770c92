"""
What a mock server starts from: collections out of files, and back into them.  No HTTP, no store here.

A seed file is one of four: an object of collections, as json-server's ``db.json``; the fuller form of it, with title,
schema and credentials; an array of documents; NDJSON or CSV.  The last three are a collection of the file's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from connectome import extjson, formats
from connectome.errors import ConfigurationError, InvalidJSON, InvalidRequest, at
from connectome.query import Document
from connectome.schemas import Schema

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TEXT: Final = {"type": "string"}
_FULLER: Final = Schema(
    {
        "type": "object",
        "properties": {
            "$schema": _TEXT,
            "collections": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": {
                        "title": _TEXT,
                        "schema": {"type": ["object", "boolean"]},
                        "credentials": {
                            "type": "object",
                            "properties": {"read": _TEXT, "write": _TEXT},
                            "additionalProperties": False,
                        },
                        "documents": {"type": "array", "items": {"type": "object"}},
                    },
                    "additionalProperties": False,
                },
            },
        },
        "required": ["collections"],
        "additionalProperties": False,
    }
)
_ENDINGS: Final = {f".{ending}": format for ending, format in formats.ENDINGS.items()}

# array: documents alone.  plain: collections by name.  fuller: collections by name, with what else is said of them.
_Shape = Literal["array", "plain", "fuller"]


@dataclass(frozen=True)
class Planted:
    """
    One collection of a seed.

    alone: its file has one object in place of an array, as json-server's ``profile``.
    """

    id: str
    documents: Sequence[Document] = ()
    title: str | None = None
    schema: Any = None
    credentials: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False


def collections(value: Any, *, identity: str = "_id") -> list[Planted]:
    """
    The collections of a decoded JSON object, in the plain form or the fuller one.

    Args:
        value: Plain JSON; Extended JSON in documents is decoded here.
        identity: The field that becomes ``_id``.

    Raises:
        InvalidRequest, InvalidJSON: With the pointer to what is no collection, or no document.
    """
    if type(value) is not dict:
        raise InvalidRequest(f"a seed is an object of collections, not {extjson.preview(value)}")
    if _is_fuller(value):
        for failure in _FULLER.failures(value):
            raise InvalidRequest(failure.detail, pointer=failure.pointer)
        with at("collections"):
            return [_fuller(name, each, identity) for name, each in value["collections"].items()]
    # An editor's hint, which json-server passes over too.
    named = {name: each for name, each in value.items() if not (name == "$schema" and type(each) is str)}
    return [_plain(name, each, identity) for name, each in named.items()]


def _is_fuller(value: dict[str, Any]) -> bool:
    return type(value.get("collections")) is dict and value.keys() <= {"$schema", "collections"}


def _fuller(name: str, value: dict[str, Any], identity: str) -> Planted:
    with at(name):
        _require_id(name)
        with at("documents"):
            documents = _documents(value.get("documents", []), identity)
        return Planted(name, documents, value.get("title"), value.get("schema"), value.get("credentials", {}))


def _plain(name: str, value: Any, identity: str) -> Planted:
    with at(name):
        _require_id(name)
        if type(value) is list:
            return Planted(name, _documents(value, identity))
        if type(value) is dict:
            return Planted(name, [_identified(_decoded(value), identity)], alone=True)
        raise InvalidRequest(f"a collection is an array of documents, or one object, not {extjson.preview(value)}")


def _require_id(name: str) -> None:
    if not _ID.fullmatch(name):
        raise InvalidRequest(
            f"a collection's name has 1 to 64 letters, digits, '_' and '-', and {extjson.preview(name)} does not"
        )


def _documents(values: list[Any], identity: str) -> list[Document]:
    documents = []
    for position, value in enumerate(values):
        with at(position):
            if type(value) is not dict:
                raise InvalidRequest(f"a document is an object, not {extjson.preview(value)}")
            documents.append(_identified(_decoded(value), identity))
    return documents


def _decoded(value: dict[str, Any]) -> Document:
    document = extjson.from_json(value)
    if type(document) is not dict:
        raise InvalidRequest(f"a document is an object, not {extjson.preview(document)}")
    return document


def _identified(document: Document, identity: str) -> Document:
    if identity == "_id" or identity not in document:
        return document
    if "_id" in document:
        raise InvalidRequest(f"a document has {identity!r}, which is to be its _id, and an _id besides")
    return {"_id": document[identity], **{name: each for name, each in document.items() if name != identity}}


class SeedFile:
    """
    A file that collections are read from, and written back to in the form that it has.

    Args:
        identity: The field of its documents that becomes ``_id``.

    Raises:
        ConfigurationError: The file's ending says of no format that is read.
    """

    def __init__(self, path: Path, *, identity: str = "_id") -> None:
        if path.suffix.lower() not in _ENDINGS:
            raise ConfigurationError(f"{path.name} does not end in {', '.join(_ENDINGS)}")
        self.path = path
        self._identity = identity
        self._format = _ENDINGS[path.suffix.lower()]
        self._shape: _Shape = "array"
        self._content = b""
        # The file as a person wrote it, and how its lines end.
        self._layout = ""
        self._line_end = "\n"
        self._read: list[Planted] = []

    def read(self) -> list[Planted]:
        """
        Its collections.

        Raises:
            ConfigurationError: It cannot be read.
            InvalidRequest, InvalidJSON: With the pointer to what it should not hold.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{self.path}: {error.strerror or error}") from None
        try:
            shape, found = self._collections(content)
        except (InvalidRequest, InvalidJSON) as error:
            error.detail = f"{self.path}: {error.detail}"
            raise
        self._content, self._shape, self._read = content, shape, found
        self._layout = content.decode(errors="replace")
        self._line_end = "\r\n" if content.partition(b"\n")[0].endswith(b"\r") else "\n"
        return found

    def _collections(self, content: bytes) -> tuple[_Shape, list[Planted]]:
        if self._format == "json":
            value = extjson.loads(content, extended=False)
            # TinyDB's own file is one collection, whatever its tables are called.
            if type(value) is dict and type(value.get("_default")) is not dict:
                return "fuller" if _is_fuller(value) else "plain", collections(value, identity=self._identity)
        name = self.path.stem
        if not _ID.fullmatch(name):
            raise InvalidRequest(
                "the collection would be called as the file, and a name has 1 to 64 letters, digits, '_' and '-'",
                pointer=None,
            )
        read = formats.read_documents(content, self._format)
        documents = []
        for position, document in enumerate(read):
            with at(position):
                documents.append(_identified(document, self._identity))
        return "array", [Planted(name, documents)]

    def holds(self, content: bytes) -> bool:
        """Whether this is what was read or written last."""
        return content == self._content

    @property
    def names(self) -> set[str]:
        """The collections that were read from it."""
        return {each.id for each in self._read}

    @property
    def has_room(self) -> bool:
        """Whether it can have more collections than it has."""
        return self._shape != "array"

    def write(self, planted: Iterable[Planted]) -> bool:
        """
        Put collections in place of those that the file has, as a whole; whether it had to be written.

        Raises:
            OSError: The file is as it was.
            ConfigurationError: It is not what was read or written last.
        """
        planted = list(planted)
        content = self._written(planted)
        if self.holds(content):
            return False
        if not self.holds(self.path.read_bytes()):
            raise ConfigurationError(f"{self.path} was changed by somebody else, and is not written over")
        # Where the file is a link, it is still one afterwards.
        target = self.path.resolve()
        temporary = target.with_name(f".{target.name}.tmp")
        temporary.write_bytes(content)
        temporary.chmod(target.stat().st_mode & 0o777)
        temporary.replace(target)
        self._content, self._read = content, planted
        return True

    def _written(self, planted: list[Planted]) -> bytes:
        if self._shape == "array":
            return self._table([self._restored(each) for one in planted for each in one.documents])
        values = {each.id: self._value(each) for each in planted}
        head = {name: each for name, each in extjson.loads(self._content, extended=False).items() if name == "$schema"}
        return self._laid_out({**head, **({"collections": values} if self._shape == "fuller" else values)})

    def _table(self, documents: list[Document]) -> bytes:
        if self._format in formats.DELIMITERS:
            lines = formats.write_csv(
                documents,
                delimiter=formats.DELIMITERS[self._format],
                # Without one document, too: a file without a header could not be read again.
                columns=formats.header_of(self._content, self._format),
                line_end=self._line_end,
            )
            return "".join(lines).encode()
        if self._format == "ndjson":
            return "".join(extjson.dumps(each, mode="stored") + self._line_end for each in documents).encode()
        return self._laid_out([self._plain_json(each) for each in documents])

    def _value(self, planted: Planted) -> Any:
        documents = [self._plain_json(self._restored(each)) for each in planted.documents]
        if self._shape == "plain":
            return documents[0] if planted.alone and len(documents) == 1 else documents
        said = {
            "title": planted.title,
            "schema": planted.schema,
            "credentials": dict(planted.credentials),
            "documents": documents,
        }
        return {name: each for name, each in said.items() if each not in (None, {})}

    def _plain_json(self, document: Document) -> Any:
        return extjson.to_json(document, mode="canonical" if self._format == "ejson" else "stored")

    def _restored(self, document: Document) -> Document:
        if self._identity == "_id" or "_id" not in document:
            return document
        return {self._identity: document["_id"], **{name: each for name, each in document.items() if name != "_id"}}

    def _laid_out(self, value: Any) -> bytes:
        """JSON with the indentation of the file, a document a line where it has that, and its line feeds."""
        text = self._layout
        end = "\n" if text.endswith("\n") else ""
        separators = (", ", ": ") if re.search(r'":\s', text) else (",", ":")
        indented = re.match(r"\s*[\[{]\r?\n([ \t]+)", text)
        if type(value) is list and re.match(r"\s*\[\s*\n\{.*\},?\r?\n", text):
            lines = ",\n".join(json.dumps(each, ensure_ascii=False, separators=separators) for each in value)
            written = f"[\n{lines}\n]{end}"
        elif indented or "\n" in text.strip():
            written = json.dumps(value, ensure_ascii=False, indent=indented[1] if indented else 2) + end
        else:
            written = json.dumps(value, ensure_ascii=False, separators=separators) + end
        # In a string of JSON a line feed is escaped.
        return written.replace("\n", self._line_end).encode()
