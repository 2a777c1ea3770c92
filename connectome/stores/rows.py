"""
The documents of a collection in memory: what never changes, so that readers wait for nobody.

``Rows`` is one state of a collection: a tuple of segments of up to 1,024 documents.  A write makes new rows that share
all segments but those it touches.  In which form a segment keeps its documents is known here and nowhere else: as they
were decoded, or as their text, which takes a sixth of the memory, and of which a question has only those members
decoded that it is about.  What is made on the way is kept until memory is short: decoded documents, texts, columns.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import compress
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final, TypeVar

from connectome import extjson
from connectome.query import MISSING, Document, Value
from connectome.query.paths import column_value
from connectome.stores.indexes import Column, Paths

_T = TypeVar("_T")

SEGMENT: Final = 1_024
# New documents gather in a last segment of up to this many: what a single insertion copies.
_TAIL: Final = 64
# A segment is packed when more than one in so many of its documents is deleted.
_DELETED: Final = 4
# Of a bytes object, and its place in a list; and how much larger than its text a decoded document is, about.
_OBJECT_BYTES: Final = 41
_DECODED: Final = 6

_column_value = lru_cache(1_024)(lambda path: column_value(tuple(path.split("."))))


@lru_cache(256)
def columns_of(paths: tuple[str, ...]) -> Callable[[Sequence[bytes]], list[list[Value]]]:
    """What makes the columns of paths from texts, in one pass."""
    names = list(dict.fromkeys(path.partition(".")[0] for path in paths))
    read = extjson.members(names)

    def columns(texts: Sequence[bytes]) -> list[list[Value]]:
        found = dict(zip(names, read(texts), strict=True))
        for name, values in found.items():
            if extjson.ABSENT in values:
                found[name] = [MISSING if value is extjson.ABSENT else value for value in values]
        return [
            [_column_value(path)({name: value}) for value in found[name]] if rest else found[name]
            for path in paths
            for name, _, rest in [path.partition(".")]
        ]

    return columns


def _present(names: Sequence[str], values: Sequence[Value]) -> Document:
    return {name: value for name, value in zip(names, values, strict=True) if value is not MISSING}


def answers(texts: Iterable[bytes], cut: Callable[[bytes], bytes] | None = None) -> list[bytes]:
    """
    Documents as relaxed JSON in UTF-8, of their texts as they are stored.

    Args:
        cut: What takes out of a text, as it is stored, what is not asked for.
    """
    # All that relaxed text leaves out: the type of an Int64 that would do with 32 bits.
    return [
        extjson.encode(extjson.decode(text)) if b"$" in text and b"$numberLong" in text else text
        for text in (texts if cut is None else map(cut, texts))
    ]


class Segment:
    """
    Some documents in a row.

    Args:
        numbers: Their numbers in the file, ascending.
        documents, texts: The documents by position, deleted ones included, and their texts as they are stored; at least
            one of the two.
        as_texts: The texts, all of them, are what is kept for good; the documents are where not.  The other form may
            be forgotten by one thread while another one reads.
        deleted: The positions of those that are not there any more.
        columns: Of paths that were asked for.
        text_bytes: About how much memory the texts take, where that is known.
    """

    __slots__ = ("_as_texts", "_documents", "_text_bytes", "_texts", "columns", "deleted", "numbers")

    def __init__(
        self,
        numbers: Sequence[int],
        documents: Sequence[Document] | None = None,
        texts: list[Any] | None = None,
        *,
        as_texts: bool,
        deleted: frozenset[int] = frozenset(),
        columns: dict[str, Column] | None = None,
        text_bytes: int | None = None,
    ) -> None:
        self.numbers = numbers
        self._as_texts = as_texts
        self._documents = documents
        self._texts = texts
        self.deleted = deleted
        self.columns: dict[str, Column] = {} if columns is None else columns
        self._text_bytes = text_bytes

    def __len__(self) -> int:
        return len(self.numbers) - len(self.deleted)

    @property
    def is_decoded(self) -> bool:
        """Whether the documents are there as such."""
        return self._documents is not None

    @property
    def documents(self) -> Sequence[Document]:
        """All documents by position, deleted ones included; once they were asked for they are kept."""
        documents = self._documents
        if documents is None:
            documents = self._documents = list(map(extjson.decode, self._texts or ()))
        return documents

    def documents_at(self, positions: Sequence[int]) -> Sequence[Document]:
        """The documents at some positions."""
        documents = self._documents
        if documents is not None:
            return picked(documents, positions)
        return list(map(extjson.decode, self.texts_at(positions)))

    def members_at(self, names: tuple[str, ...], positions: Sequence[int]) -> Sequence[Document]:
        """The documents at some positions, with these members at least; their order is not that of the documents."""
        if self.is_decoded or not extjson.HAS_MSGSPEC:
            return self.documents_at(positions)
        rows = zip(*columns_of(names)(self.texts_at(positions)), strict=True)
        # 0.7 µs a document; decoding the whole takes 2.9 of a short one, 11 of one of a kilobyte.
        return [dict(zip(names, row, strict=True)) if MISSING not in row else _present(names, row) for row in rows]

    def texts_at(self, positions: Sequence[int]) -> list[bytes]:
        """Documents as they are stored, as JSON in UTF-8; each is made at the first time, then kept."""
        kept = self._texts
        if kept is None:
            kept = self._texts = [None] * len(self.numbers)
        texts = list(picked(kept, positions))
        if None in texts:
            documents = self.documents
            for place, position in enumerate(positions):
                if texts[place] is None:
                    texts[place] = kept[position] = extjson.encode(documents[position], mode="stored")
            self._text_bytes = None
        return texts

    def begins_like(self, other: Segment) -> bool:
        """Whether the first number is that of another segment."""
        return self.numbers[0] == other.numbers[0]

    def live(self, positions: Sequence[int]) -> Sequence[int]:
        """Those of the positions whose documents are there."""
        deleted = self.deleted
        return [position for position in positions if position not in deleted] if deleted else positions

    def positions(self) -> Sequence[int]:
        """The positions of all documents that are there."""
        return self.live(range(len(self.numbers)))

    def column(self, path: str) -> Column:
        """The values of a plain path, by position; made at the first time, then kept."""
        column = self.columns.get(path)
        if column is None:
            (column,) = self._columns_made((path,))
        return column

    def prepare(self, paths: Iterable[str]) -> None:
        """Make the columns of plain paths that are not there, in one pass over the documents."""
        if missing := tuple(path for path in paths if path not in self.columns):
            self._columns_made(missing)

    def _columns_made(self, paths: tuple[str, ...]) -> list[Column]:
        documents = self._documents
        if documents is None:
            columns = list(map(Column, columns_of(paths)(self._texts or ())))
        else:
            columns = [Column(list(map(_column_value(path), documents))) for path in paths]
        self.columns.update(zip(paths, columns, strict=True))
        return columns

    def values_at(self, path: str, positions: Sequence[int]) -> Sequence[Value]:
        """What a plain path yields at some positions."""
        if path in self.columns or len(positions) * 4 > len(self.numbers):
            return picked(self.column(path).values, positions)
        documents = self._documents
        if documents is not None:
            return list(map(_column_value(path), picked(documents, positions)))
        return columns_of((path,))(self.texts_at(positions))[0]

    @property
    def text_bytes(self) -> int:
        """About how much memory the texts take."""
        if self._text_bytes is None:
            self._text_bytes = sum(len(text) + _OBJECT_BYTES for text in self._texts or () if text)
        return self._text_bytes

    @property
    def second_form_bytes(self) -> int:
        """About how much memory is taken by what could be had again from the other form of the documents."""
        if not self._as_texts:
            return self.text_bytes
        return 0 if self._documents is None else self.text_bytes * _DECODED

    def forget_second_form(self) -> None:
        """Let go of the form that is not kept for good."""
        if self._as_texts:
            self._documents = None
        else:
            self._texts, self._text_bytes = None, None

    def with_documents(self, put: Mapping[int, Document], texts: Mapping[int, bytes]) -> Segment:
        """
        The segment with other documents at some positions; columns in which nothing changed are shared.

        Args:
            texts: The texts of the other documents, where they are known.
        """
        documents, kept = self._documents, self._texts
        if documents is not None:
            documents = list(documents)
            for position, document in put.items():
                documents[position] = document
        if kept is not None:
            kept = list(kept)
            for position, document in put.items():
                kept[position] = texts.get(position) or extjson.encode(document, mode="stored")
        columns = {
            path: column.with_values({position: _column_value(path)(document) for position, document in put.items()})
            for path, column in list(self.columns.items())
        }
        return Segment(
            self.numbers,
            documents,
            kept,
            as_texts=self._as_texts,
            deleted=self.deleted,
            columns=columns,
            text_bytes=self._text_bytes,
        )

    def without(self, positions: Iterable[int]) -> Segment:
        """The segment without some of its documents; packed where it would hold too many that are deleted."""
        deleted = self.deleted.union(positions)
        rest = Segment(
            self.numbers,
            self._documents,
            self._texts,
            as_texts=self._as_texts,
            deleted=deleted,
            columns=self.columns,
            text_bytes=self._text_bytes,
        )
        return rest if len(deleted) * _DELETED <= len(self.numbers) else rest.packed()

    def packed(self) -> Segment:
        """The segment without a trace of what is deleted."""
        if not self.deleted:
            return self
        kept = [position not in self.deleted for position in range(len(self.numbers))]
        return Segment(
            array("q", compress(self.numbers, kept)),
            None if self._as_texts else list(compress(self.documents, kept)),
            list(compress(self._texts or (), kept)) if self._as_texts else None,
            as_texts=self._as_texts,
            columns={path: Column(list(compress(column.values, kept))) for path, column in list(self.columns.items())},
        )

    def followed_by(self, other: Segment) -> Segment:
        """Two segments as one."""
        one, two = self.packed(), other.packed()
        as_texts = one._as_texts or two._as_texts
        return Segment(
            array("q", [*one.numbers, *two.numbers]),
            None if as_texts else [*one.documents, *two.documents],
            [*one.texts_at(one.positions()), *two.texts_at(two.positions())] if as_texts else None,
            as_texts=as_texts,
            columns={
                path: Column([*column.values, *two.column(path).values]) for path, column in list(one.columns.items())
            },
        )


class Rows:
    """
    All documents of a collection, in natural order, at one moment.

    Args:
        segments: None of them empty, numbers ascending from one to the next.
        like: Rows with segments that begin with the same numbers, and hold fewer documents by ``longer``.
    """

    __slots__ = ("_firsts", "_length", "segments")

    def __init__(self, segments: Sequence[Segment] = (), *, like: Rows | None = None, longer: int = 0) -> None:
        self.segments = segments
        # Counted once, not for each of ten thousand writes a second.
        self._firsts: Sequence[int] = [segment.numbers[0] for segment in segments] if like is None else like._firsts
        self._length: int = sum(map(len, segments)) if like is None else like._length + longer

    @classmethod
    def of(
        cls,
        documents: Mapping[int, Document] = MappingProxyType({}),
        texts: Mapping[int, bytes] = MappingProxyType({}),
        *,
        size: int = SEGMENT,
    ) -> Rows:
        """
        The rows for documents by their numbers, whatever the order in which these come.

        Args:
            texts: Of all of them, as they are stored; they are kept in place of the documents.
        """
        numbers = sorted(texts or documents)
        return cls(
            [
                Segment(
                    array("q", chunk),
                    None if texts else [documents[number] for number in chunk],
                    [texts[number] for number in chunk] if texts else None,
                    as_texts=bool(texts),
                )
                for chunk in (numbers[start : start + size] for start in range(0, len(numbers), size))
            ]
        )

    def __len__(self) -> int:
        return self._length

    @property
    def is_decoded(self) -> bool:
        """Whether all documents are there as such."""
        return all(segment.is_decoded for segment in self.segments)

    def __iter__(self) -> Iterator[Document]:
        """The documents, in natural order."""
        for _, document in self.items():
            yield document

    def items(self) -> Iterator[tuple[int, Document]]:
        """Each number with its document, in natural order."""
        for segment in self.segments:
            positions = segment.positions()
            yield from zip(picked(segment.numbers, positions), segment.documents_at(positions), strict=True)

    def texts(self) -> Iterator[tuple[int, bytes]]:
        """Each number with the text of its document, in natural order."""
        for segment in self.segments:
            positions = segment.positions()
            yield from zip(picked(segment.numbers, positions), segment.texts_at(positions), strict=True)

    def place(self, number: int) -> tuple[int, int] | None:
        """Where the document of this number is: of which segment, at which position; None where there is none."""
        index = bisect_right(self._firsts, number) - 1
        if index < 0:
            return None
        segment = self.segments[index]
        position = bisect_left(segment.numbers, number)
        if position == len(segment.numbers) or segment.numbers[position] != number or position in segment.deleted:
            return None
        return index, position

    def get(self, number: int) -> Document | None:
        """The document of this number."""
        place = self.place(number)
        return self.segments[place[0]].documents_at((place[1],))[0] if place else None

    def column_bytes(self) -> dict[str, int]:
        """About how much memory the columns and indexes of each path take."""
        sizes: dict[str, int] = {}
        for segment in self.segments:
            for path, column in list(segment.columns.items()):
                sizes[path] = sizes.get(path, 0) + column.bytes
        return sizes

    def forget(self, path: str) -> None:
        """Let go of the column of a path."""
        for segment in self.segments:
            segment.columns.pop(path, None)

    def trim(self, paths: Paths) -> None:
        """Let go of second forms, then of columns that were not asked for longest, until memory suffices."""
        sizes = self.column_bytes()
        second = sum(segment.second_form_bytes for segment in self.segments)
        if second + sum(sizes.values()) > paths.budget_bytes:
            for segment in self.segments:
                segment.forget_second_form()
        for path in paths.oldest_first:
            if sum(sizes.values()) <= paths.budget_bytes:
                break
            if path in sizes and path not in paths.pinned:
                paths.forget(path)
                self.forget(path)
                del sizes[path]

    def changed(
        self,
        put: Mapping[int, Document],
        removed: Sequence[int] = (),
        *,
        texts: Mapping[int, bytes] = MappingProxyType({}),
    ) -> Rows:
        """
        The rows after a write.

        Args:
            put: Documents in the place of others, or, with numbers beyond all others and ascending, new ones.
            removed: The numbers of documents that are there, and are not put.
            texts: Of all that is put, as they are stored, where new documents shall be kept as texts.
        """
        replaced: dict[int, dict[int, Document]] = {}
        deleted: dict[int, list[int]] = {}
        added: dict[int, Document] = {}
        for number, document in put.items():
            if place := self.place(number):
                replaced.setdefault(place[0], {})[place[1]] = document
            else:
                added[number] = document
        for number in removed:
            if place := self.place(number):
                deleted.setdefault(place[0], []).append(place[1])
        segments = list(self.segments)
        for index, documents in replaced.items():
            numbers = segments[index].numbers
            known = {position: texts[numbers[position]] for position in documents} if texts else {}
            segments[index] = segments[index].with_documents(documents, known)
        for index, positions in deleted.items():
            segments[index] = segments[index].without(positions)
        if deleted:
            segments = _tidy(segments)
        if added:
            _append(segments, Rows.of(added, {number: texts[number] for number in added} if texts else {}).segments)
        begin_alike = (
            not deleted and len(segments) == len(self.segments) > 0 and segments[-1].begins_like(self.segments[-1])
        )
        return Rows(segments, like=self, longer=len(added)) if begin_alike else Rows(segments)

    def followed_by(self, first: int, forms: list[Any], *, as_texts: bool) -> Rows:
        """
        The rows, and new ones behind them.

        Args:
            first: The number of the first new one, beyond all others; the next ones follow.
            forms: The texts of the documents, as they are stored, or the documents themselves.
        """
        segments = list(self.segments)
        added = [
            Segment(
                array("q", range(first + start, first + start + len(chunk))),
                None if as_texts else chunk,
                chunk if as_texts else None,
                as_texts=as_texts,
            )
            for start in range(0, len(forms), SEGMENT)
            for chunk in [forms[start : start + SEGMENT]]
        ]
        if added:
            _append(segments, added)
        return Rows(segments)


def _tidy(segments: Sequence[Segment]) -> list[Segment]:
    """Segments without empty ones, and with small neighbours made one."""
    tidy: list[Segment] = []
    for segment in segments:
        if not len(segment):
            continue
        if tidy and len(tidy[-1]) + len(segment) <= SEGMENT // 4:
            tidy[-1] = tidy[-1].followed_by(segment)
        else:
            tidy.append(segment)
    return tidy


def _append(segments: list[Segment], added: Sequence[Segment]) -> None:
    """Put new segments behind the others: into the last one while it is small."""
    if segments and len(segments[-1].numbers) + len(added[0]) <= _TAIL:
        segments[-1] = segments[-1].followed_by(added[0])
        return
    while len(segments) > 1 and len(segments[-2]) + len(segments[-1]) <= SEGMENT:
        last = segments.pop()
        segments[-1] = segments[-1].followed_by(last)
    segments += added


def picked(values: Sequence[_T], positions: Sequence[int]) -> Sequence[_T]:
    """The values at positions."""
    if len(positions) > 1:
        found: Sequence[_T] = itemgetter(*positions)(values)
        return found
    return [values[position] for position in positions]
