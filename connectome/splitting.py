"""
JSON text of any length, read from a file value by value: only the value at hand is in memory.

Where each value begins and ends is found here; what it says is ``extjson``'s to judge, and an error of it is moved to
where the value stands in the file.  ``[`` and ``{`` at the top are walked through, whatever is inside is one value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Final

from connectome import extjson
from connectome.errors import InvalidJSON, pointer_to

PIECE_BYTES: Final = 64 * 1024
# So far it is looked for the end of an object at least; and four times as far as the last ones were long.
_LIKELY_BYTES: Final = 1024
_BOM: Final = b"\xef\xbb\xbf"
_SPACE: Final = re.compile(rb"[ \t\n\r]*+")
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
# Up to the next bracket outside of strings; of those that are open at the end of the piece nothing is known yet.
_TO_BRACKET: Final = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+([{}\[\]])', re.DOTALL)
_SCALAR: Final = re.compile(rb"[^ \t\n\r,\]}]+")
_LINE_AND_COLUMN: Final = re.compile(r"(?<=^malformed JSON in )line (\d+), column (\d+)")
_BYTE: Final = re.compile(r"(?<= at byte )\d+")


class Text:
    """
    JSON text, and how far it has been read.

    Args:
        file: Open for reading bytes; a byte order mark at its start is skipped.
        piece_bytes: How much is read at a time, at least.
    """

    def __init__(self, file: BinaryIO, *, piece_bytes: int = PIECE_BYTES) -> None:
        self._file = file
        self._piece_bytes = piece_bytes
        self._buffer = b""
        self._position = 0
        self._ended = False
        # How long the last values were.
        self._last = 0
        # Of the position: how many bytes, lines and, in its line, characters stand before it.
        self._byte = self._line = self._column = 0
        # Nothing but white space came so far.
        self._is_blank = True
        while len(self._buffer) < len(_BOM) and self._more():
            pass
        if self._buffer.startswith(_BOM):
            self._position = self._byte = len(_BOM)

    def _more(self) -> bool:
        """Have more of the file in the buffer; whether there was more."""
        # At least as much again as there is: a long value is not looked at from its start for each piece.
        rest = self._buffer[self._position :]
        piece = self._file.read(max(self._piece_bytes, len(rest)))
        self._buffer, self._position = rest + piece, 0
        self._ended = not piece
        return bool(piece)

    def _taken(self, end: int) -> bytes:
        """Everything up to a place in the buffer, which is the position from now on."""
        taken = self._buffer[self._position : end]
        self._last = max(len(taken), self._last // 2)
        lines = taken.count(b"\n")
        self._byte += len(taken)
        self._line += lines
        last = taken[taken.rfind(b"\n") + 1 :] if lines else taken
        characters = len(last) if last.isascii() else len(last.decode("utf-8", "replace"))
        self._column = characters if lines else self._column + characters
        self._position = end
        return taken

    def first(self) -> bytes:
        """The first byte of what comes next, white space apart; empty at the end."""
        while True:
            space = _SPACE.match(self._buffer, self._position)
            assert space
            if space.end() > self._position:
                self._taken(space.end())
            if self._position < len(self._buffer):
                self._is_blank = False
                return self._buffer[self._position : self._position + 1]
            if self._ended or not self._more():
                return b""

    def _take(self, mark: bytes) -> bool:
        if self.first() != mark:
            return False
        self._taken(self._position + 1)
        return True

    def value(self, *, extended: bool = True) -> Any:
        """
        The value that comes next, as ``extjson.loads`` has it.

        Raises:
            InvalidJSON: As from ``extjson.loads``; line, column and byte are those in the file.
        """
        if self.first() in (b"", b",", b"]", b"}", b":"):
            raise self._unexpected("value")
        byte, line, column = self._byte, self._line, self._column
        if end := self._likely_end():
            # What is a whole object is the value; what is none is judged with its true end.
            with suppress(InvalidJSON):
                value = extjson.loads(self._buffer[self._position : end], extended=extended)
                self._taken(end)
                return value
        text = self._text()
        try:
            return extjson.loads(text, extended=extended)
        except InvalidJSON as error:
            error.detail = _moved(error.detail, byte, line, column)
            raise

    def _likely_end(self) -> int:
        """
        Where in the buffer the object that comes next ends, if there is no bracket in its strings; 0 where that is not
        seen.  Counting takes a fifth of the time of looking at every character.
        """
        buffer, start = self._buffer, self._position
        farthest = start + max(_LIKELY_BYTES, 4 * self._last)
        depth, end = 0, start
        while buffer[start] == ord("{") and (closing := buffer.find(b"}", end, farthest)) >= 0:
            depth += buffer.count(b"{", end, closing) - 1
            end = closing + 1
            if not depth:
                return end
        return 0

    def _text(self) -> bytes:
        """The text of the value that comes next; up to the end of the file where it does not end."""
        opening = self._buffer[self._position : self._position + 1]
        if opening in (b"{", b"["):
            depth, offset = 0, 0
            while True:
                # Where the buffer is filled up, it starts with the value: offsets from there stay as they are.
                if bracket := _TO_BRACKET.match(self._buffer, self._position + offset):
                    depth += 1 if bracket[1] in b"{[" else -1
                    offset = bracket.end() - self._position
                    if not depth:
                        return self._taken(self._position + offset)
                elif not self._more():
                    return self._taken(len(self._buffer))
        form = _STRING if opening == b'"' else _SCALAR
        while True:
            found = form.match(self._buffer, self._position)
            # A scalar has no end of its own.
            if found and (form is _STRING or found.end() < len(self._buffer)):
                return self._taken(found.end())
            if not self._more():
                return self._taken(found.end() if found else len(self._buffer))

    def elements(self) -> Iterator[None]:
        """
        Walk through the array that comes next.

        Yields:
            For each element, before it; ``value``, ``elements`` or ``members`` takes it then.

        Raises:
            InvalidJSON: What stands between the elements is not what should.
        """
        self._take(b"[")
        if self._take(b"]"):
            return
        while True:
            yield
            if self._take(b"]"):
                return
            if not self._take(b","):
                raise self._unexpected("',' delimiter")

    def members(self) -> Iterator[str]:
        """
        Walk through the object that comes next.

        Yields:
            The key of each member, before its value, which is taken as an element is.

        Raises:
            InvalidJSON: What stands between the members is not what should; or a key comes twice, with its pointer.
        """
        self._take(b"{")
        if self._take(b"}"):
            return
        seen: set[str] = set()
        while True:
            if self.first() != b'"':
                raise self._unexpected("property name enclosed in double quotes")
            key: str = self.value()
            if key in seen:
                shown = json.dumps(key, ensure_ascii=False)
                detail = f"expected every key of an object once, not {shown} twice"
                raise InvalidJSON(detail, pointer=pointer_to(key))
            seen.add(key)
            if not self._take(b":"):
                raise self._unexpected("':' delimiter")
            yield key
            if self._take(b"}"):
                return
            if not self._take(b","):
                raise self._unexpected("',' delimiter")

    def end(self) -> None:
        """
        Refuse what stands behind the value.

        Raises:
            InvalidJSON: There is something.
        """
        if self.first():
            raise self._unexpected("the end")

    def _unexpected(self, expected: str) -> InvalidJSON:
        if not self.first() and self._is_blank:
            return InvalidJSON("expected a JSON value, and nothing came: the text is empty", pointer=None)
        # A character of UTF-8 has up to four bytes.
        while len(self._buffer) - self._position < 4 and self._more():
            pass
        rest = self._buffer[self._position : self._position + 4].decode("utf-8", "replace")
        came = json.dumps(rest[0], ensure_ascii=False) if rest else "the end"
        where = f"line {self._line + 1}, column {self._column + 1}"
        return InvalidJSON(f"malformed JSON in {where}: expected {expected}, not {came}", pointer=None)


def _moved(detail: str, byte: int, line: int, column: int) -> str:
    """A sentence about a text by itself, as one about the file in which it stands behind so many bytes and lines."""

    def place(found: re.Match[str]) -> str:
        shift = column if found[1] == "1" else 0
        return f"line {int(found[1]) + line}, column {int(found[2]) + shift}"

    detail = _LINE_AND_COLUMN.sub(place, detail)
    if detail.startswith("expected UTF-8, "):
        detail = _BYTE.sub(lambda found: str(int(found[0]) + byte), detail, count=1)
    return detail
