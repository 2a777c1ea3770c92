"""JSON read value by value: the same values and the same refusals as when the whole text is read at once."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import canonical

from connectome import extjson
from connectome.errors import InvalidJSON, at
from connectome.splitting import Text


class Dribble(io.BytesIO):
    """A file that gives at most so many bytes at a time, whatever is asked for."""

    def __init__(self, content: bytes, most: int) -> None:
        super().__init__(content)
        self._most = most

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size, self._most) if size and size > 0 else self._most)


def walked(content: bytes, most: int = 2**20) -> Any:
    """The array or object in a text, read value by value."""
    text = Text(Dribble(content, most), piece_bytes=most)
    mark = text.first()
    values: Any
    if mark == b"[":
        values = []
        for position, _ in enumerate(text.elements()):
            with at(position):
                values.append(text.value())
    elif mark == b"{":
        values = {}
        for key in text.members():
            with at(key):
                values[key] = text.value()
    else:
        values = text.value()
    text.end()
    return values


def outcome(read: Any, *arguments: Any) -> Any:
    """What a reader returns, or the sentence and the pointer of its refusal."""
    try:
        return canonical(read(*arguments))
    except InvalidJSON as error:
        return error.detail, error.pointer


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.text('"\\{}[],:\n\ta/é\u2028😀', max_size=12),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5).filter(lambda key: "\0" not in key and "$" not in key), inner, max_size=4)
    ),
    max_leaves=12,
)
texts = st.builds(
    lambda value, indent, ascii_only, bom: (
        (b"\xef\xbb\xbf" if bom else b"")
        + json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "replace")
    ),
    st.one_of(st.lists(values, max_size=5), st.dictionaries(st.text("abé", max_size=3), values, max_size=4)),
    st.sampled_from([None, 0, 1]),
    st.booleans(),
    st.booleans(),
)


class TestValues:
    @given(texts, st.integers(1, 40))
    def test_they_are_those_of_the_whole_text(self, content, most):
        """However the text is cut into pieces: in the middle of an escape, of a character, of a number."""
        assert outcome(walked, content, most) == outcome(extjson.loads, content)

    @pytest.mark.parametrize("most", range(1, 30))
    def test_brackets_in_strings_are_no_brackets(self, most):
        """Nor is a quote behind a backslash the end of one."""
        value = [{"a": "}{"}, {"}": ["]", "\\", '\\"}', {"b": "{{{"}]}, {"a": "\\\\"}, {}, {"a": {"a": {}}}]

        assert walked(json.dumps(value).encode(), most) == value

    def test_a_long_value_is_read_in_few_steps(self):
        """Each look at it is twice as far, so that no length makes the time grow with its square."""
        looks = []

        class Counting(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                looks.append(size)
                return super().read(size)

        text = Text(Counting(json.dumps([["x" * 50] * 20_000]).encode()), piece_bytes=100)
        text.first()

        assert [len(text.value()) for _ in text.elements()] == [20_000]
        assert len(looks) < 30


class TestRefusals:
    @pytest.mark.parametrize("most", [1, 2, 3, 5, 8, 1_000])
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"  \n ",
            b"[",
            b"[1",
            b"[1,",
            b"[1,]",
            b"[1 2]",
            b'[{"a": 1} {"b": 2}]',
            b"[1, 2] 3",
            b"[]]",
            b"{",
            b'{"a"',
            b'{"a" 1}',
            b'{"a": }',
            b'{"a": 1 "b": 2}',
            b"{a: 1}",
            b'{"a": 1, "a": 2}',
            b'{"a": 1} x',
            b'[{"a": 1},\n {"a" 2}]',
            b'[{"a": 1},\n\n {"b": [1, {"c": nul}]}]',
            b'[{"a": 1}, {"b": "never ends',
            b'[{"a": 1}, {"b": {"c": 1}',
            b'[{"a": 1},\n{"_id": 2]',
            b'[{"a": 1}, {"a": NaN}]',
            b'[{"a": 1}, {"b": {"a": 1, "a": 2}}]',
            b'[{"a": 1}, {"b": 123456789012345678901}]',
            b'[{"a": "\xc3\xa9"}, {"b": "\xff"}]',
            b'["\xc3\xa9\xc3\xa9", {"b": x}]',
            b"[\xf0\x9f\x98\x80]",
            b'[{"a": "\\ud800"}]',
            b'[{"a": "tab\there"}]',
            b'[{"$oid": "x"}]',
            b"[nul]",
            b'[{"a": 1.}]',
            b"tru",
        ],
    )
    def test_they_are_those_of_the_whole_text(self, content, most):
        """With the line, the column, the byte and the pointer."""
        refused = outcome(walked, content, most)

        assert type(refused) is tuple
        assert refused == outcome(extjson.loads, content)

    @settings(max_examples=300)
    @given(texts, st.integers(1, 40), st.data())
    def test_a_text_that_is_cut_off_or_changed_is_never_taken_for_another(self, content, most, data):
        """Where one of the two readers takes it, so does the other, for the same value."""
        place = data.draw(st.integers(0, max(0, len(content) - 1)))
        changed = data.draw(
            st.sampled_from(
                [content[:place], content[:place] + b"}" + content[place:], content[:place] + content[place + 1 :]]
            )
        )
        one, other = outcome(walked, changed, most), outcome(extjson.loads, changed)

        assert (type(one) is tuple) == (type(other) is tuple)
        if type(one) is not tuple:
            assert one == other
