"""
The documents of a collection in memory: what never changes, so that readers wait for nobody.

``Rows`` is one state of a collection: a tuple of segments of up to 1,024 documents.  A write makes new rows that share
all segments but those it touches.  A segment keeps, beside its documents, what was derived from them when it was first
asked for: the column of a path, its index, the encoded document.  Whatever form documents are kept in is known here and
nowhere else.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import compress
from operator import itemgetter
from typing import Any, Final, TypeVar

from connectome import extjson
from connectome.query import Document
from connectome.query.paths import column_value
from connectome.stores.indexes import Column, Paths

_T = TypeVar("_T")

SEGMENT: Final = 1_024
# New documents gather in a last segment of up to this many: what a single insertion copies.
_TAIL: Final = 64
# A segment is packed when more than one in so many of its documents is deleted.
_DELETED: Final = 4

# Of a bytes object, and its place in a list.
_OBJECT_BYTES: Final = 41

_column_value = lru_cache(1_024)(lambda path: column_value(tuple(path.split("."))))


class Segment:
    """
    Some documents in a row.

    numbers: their numbers in the file, ascending; documents: by position, deleted ones included.
    deleted: the positions of those that are not there any more.
    columns: of paths that were asked for.
    text_bytes: about how much memory the encoded documents take.
    """

    __slots__ = ("_texts", "columns", "deleted", "documents", "numbers", "text_bytes")

    def __init__(
        self,
        numbers: Sequence[int],
        documents: Sequence[Document],
        *,
        deleted: frozenset[int] = frozenset(),
        columns: dict[str, Column] | None = None,
        texts: list[Any] | None = None,
    ) -> None:
        self.numbers = numbers
        self.documents = documents
        self.deleted = deleted
        self.columns: dict[str, Column] = {} if columns is None else columns
        self._texts = texts
        self.text_bytes = 0

    def __len__(self) -> int:
        return len(self.documents) - len(self.deleted)

    def begins_like(self, other: Segment) -> bool:
        """Whether the first number is that of another segment."""
        return self.numbers[0] == other.numbers[0]

    def live(self, positions: Sequence[int]) -> Sequence[int]:
        """Those of the positions whose documents are there."""
        deleted = self.deleted
        return [position for position in positions if position not in deleted] if deleted else positions

    def positions(self) -> Sequence[int]:
        """The positions of all documents that are there."""
        return self.live(range(len(self.documents)))

    def column(self, path: str) -> Column:
        """The values of a plain path, by position; made at the first time, then kept."""
        column = self.columns.get(path)
        if column is None:
            column = self.columns[path] = Column(list(map(_column_value(path), self.documents)))
        return column

    def texts(self, positions: Sequence[int]) -> list[bytes]:
        """Documents as relaxed JSON in UTF-8; each is made at the first time, then kept."""
        kept = self._texts
        if kept is None:
            kept = self._texts = [None] * len(self.documents)
        texts = list(picked(kept, positions))
        if None in texts:
            for place, position in enumerate(positions):
                if texts[place] is None:
                    text = texts[place] = kept[position] = extjson.encode(self.documents[position])
                    self.text_bytes += len(text) + _OBJECT_BYTES
        return texts

    def forget_texts(self) -> None:
        """Let go of the encoded documents."""
        self._texts, self.text_bytes = None, 0

    def with_documents(self, put: Mapping[int, Document]) -> Segment:
        """The segment with other documents at some positions; columns in which nothing changed are shared."""
        documents = list(self.documents)
        texts = self._texts and list(self._texts)
        for position, document in put.items():
            documents[position] = document
            if texts:
                texts[position] = None
        columns = {
            path: column.with_values({position: _column_value(path)(document) for position, document in put.items()})
            for path, column in list(self.columns.items())
        }
        segment = Segment(self.numbers, documents, deleted=self.deleted, columns=columns, texts=texts)
        segment.text_bytes = self.text_bytes
        return segment

    def without(self, positions: Iterable[int]) -> Segment:
        """The segment without some of its documents; packed where it would hold too many that are deleted."""
        deleted = self.deleted.union(positions)
        rest = Segment(self.numbers, self.documents, deleted=deleted, columns=self.columns, texts=self._texts)
        rest.text_bytes = self.text_bytes
        return rest if len(deleted) * _DELETED <= len(self.documents) else rest.packed()

    def packed(self) -> Segment:
        """The segment without a trace of what is deleted."""
        if not self.deleted:
            return self
        kept = [position not in self.deleted for position in range(len(self.documents))]
        return Segment(
            array("q", compress(self.numbers, kept)),
            list(compress(self.documents, kept)),
            columns={path: Column(list(compress(column.values, kept))) for path, column in list(self.columns.items())},
        )

    def followed_by(self, other: Segment) -> Segment:
        """Two segments as one."""
        one, two = self.packed(), other.packed()
        return Segment(
            array("q", [*one.numbers, *two.numbers]),
            [*one.documents, *two.documents],
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
    def of(cls, numbered: Mapping[int, Document], *, size: int = SEGMENT) -> Rows:
        """The rows for documents by their numbers, whatever the order in which these come."""
        numbers = sorted(numbered)
        return cls(
            [
                Segment(array("q", chunk), [numbered[number] for number in chunk])
                for chunk in (numbers[start : start + size] for start in range(0, len(numbers), size))
            ]
        )

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Document]:
        """The documents, in natural order."""
        for _, document in self.items():
            yield document

    def items(self) -> Iterator[tuple[int, Document]]:
        """Each number with its document, in natural order."""
        for segment in self.segments:
            for position in segment.positions():
                yield segment.numbers[position], segment.documents[position]

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
        return self.segments[place[0]].documents[place[1]] if place else None

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
        """Let go of encoded documents, then of columns that were not asked for longest, until memory suffices."""
        sizes = self.column_bytes()
        texts = sum(segment.text_bytes for segment in self.segments)
        if texts + sum(sizes.values()) > paths.budget_bytes:
            for segment in self.segments:
                segment.forget_texts()
        for path in paths.oldest_first:
            if sum(sizes.values()) <= paths.budget_bytes:
                break
            if path in sizes and path not in paths.pinned:
                paths.forget(path)
                self.forget(path)
                del sizes[path]

    def changed(self, put: Mapping[int, Document], removed: Sequence[int] = ()) -> Rows:
        """
        The rows after a write.

        Args:
            put: Documents in the place of others, or, with numbers beyond all others and ascending, new ones.
            removed: The numbers of documents that are there, and are not put.
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
            segments[index] = segments[index].with_documents(documents)
        for index, positions in deleted.items():
            segments[index] = segments[index].without(positions)
        if deleted:
            segments = _tidy(segments)
        if added:
            _append(segments, added)
        begin_alike = (
            not deleted and len(segments) == len(self.segments) > 0 and segments[-1].begins_like(self.segments[-1])
        )
        return Rows(segments, like=self, longer=len(added)) if begin_alike else Rows(segments)


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


def _append(segments: list[Segment], added: Mapping[int, Document]) -> None:
    """Put new documents behind the others: into the last segment while it is small, else into new ones."""
    tail = segments[-1] if segments else None
    if tail and len(tail.documents) + len(added) <= _TAIL:
        segments[-1] = Segment(
            array("q", [*tail.numbers, *added]), [*tail.documents, *added.values()], deleted=tail.deleted
        )
        return
    while len(segments) > 1 and len(segments[-2]) + len(segments[-1]) <= SEGMENT:
        last = segments.pop()
        segments[-1] = segments[-1].followed_by(last)
    segments += Rows.of(added).segments


def picked(values: Sequence[_T], positions: Sequence[int]) -> Sequence[_T]:
    """The values at positions."""
    if len(positions) > 1:
        found: Sequence[_T] = itemgetter(*positions)(values)
        return found
    return [values[position] for position in positions]
