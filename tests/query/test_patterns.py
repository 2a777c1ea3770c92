"""Patterns: PCRE's dialect through another engine, and the clock that stops it."""

from __future__ import annotations

import re
import threading
import time

import pytest
from bson import Regex
from hypothesis import given
from hypothesis import strategies as st

from connectome.errors import QueryError
from connectome.query import Filter
from connectome.query.deadline import DEFAULT_SECONDS, check, deadline, remaining
from connectome.query.patterns import compile_pattern, finder

# What Python's own engine and PCRE read alike, in ASCII.
atoms = st.sampled_from(
    [
        "a",
        "b",
        "B",
        "1",
        "-",
        " ",
        ".",
        r"\w",
        r"\W",
        r"\d",
        r"\D",
        r"\s",
        r"\b",
        "[ab]",
        "[^a]",
        "[a-c1]",
        r"[\w-]",
        "^",
    ]
)
quantifiers = st.sampled_from(["", "", "", "*", "+", "?", "{1,2}", "*?", "+?"])
patterns = st.recursive(
    st.builds(lambda atom, many: atom if atom in ("^", r"\b") else atom + many, atoms, quantifiers),
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("({})".format, inner),
        st.builds("(?={})".format, inner),
        st.builds("(?!{})".format, inner),
    ),
    max_leaves=6,
)
texts = st.text(alphabet="abAB1- _\n", max_size=8)


class TestTranslation:
    @given(patterns, texts, st.integers(0, 4))
    def test_ascii_patterns_find_what_pythons_engine_finds(self, pattern, text, position):
        """Where the two dialects agree, the match and its groups are those of ``re``."""
        expected = re.compile(pattern, re.ASCII).search(text, position)

        got = finder(Regex(pattern))(text, position)

        assert (got and (got.span(), got.groups())) == (expected and (expected.span(), expected.groups()))

    @given(st.text(max_size=8), st.text(max_size=20))
    def test_quoted_text_finds_itself(self, wanted, text):
        r"""``\Q…\E`` around a text finds that text, whatever is in it."""
        wanted = wanted.replace("\0", "").replace("\\E", "")
        quoted = rf"\Q{wanted}\E"

        assert compile_pattern(Regex(quoted))(text) == (wanted in text)

    @given(st.text(alphabet="ab1é\\([{*+?^$|)]}<>PQEkgxoRNi-:=!&',# ", max_size=16))
    def test_every_pattern_is_compiled_or_refused(self, pattern):
        """No pattern, however malformed, raises anything but MongoDB's refusal."""
        try:
            compile_pattern(Regex(pattern))
            code = None
        except QueryError as error:
            code = error.code

        assert code in (None, "Location51091")

    @given(st.characters(exclude_categories=["Cs"]), st.sampled_from("imsx"))
    def test_a_set_and_its_negation_split_all_characters(self, character, option):
        """Whatever the options, a character is in a set or in its negation, never in both."""
        inside = compile_pattern(Regex(r"[\wk\x{e9}-\x{fe}[:punct:]\P{Lu}]", option))
        outside = compile_pattern(Regex(r"[^\wk\x{e9}-\x{fe}[:punct:]\P{Lu}]", option))

        assert inside(character) != outside(character)


class TestFinder:
    def test_the_search_begins_at_the_position_and_sees_what_is_before(self):
        """From a position on, ``^`` is still the start of the text and look-behind sees the letter before."""
        assert finder(Regex("^b"))("ab", 1) is None
        assert finder(Regex("(?<=a)b"))("ab", 1).span() == (1, 2)

    def test_groups_are_those_of_the_pattern(self):
        """The translation adds no group and loses none."""
        match = finder(Regex(r"(\w)(?:-)(?<day>\b\d+)|(?|(x)|(y))", "i"))("A-17", 0)

        assert match.groups() == ("A", "17", None)
        assert match.groupdict() == {"day": "17"}


class TestTime:
    def test_a_pattern_that_backtracks_without_end_is_stopped(self):
        """A deadline stops one search in its midst; no place in the filter is to blame."""
        found = compile_pattern(Regex("(a+)+$"))

        with deadline(0.2), pytest.raises(QueryError) as caught:
            found("a" * 4_000 + "b")

        assert (caught.value.code, caught.value.pointer) == ("MaxTimeMSExpired", None)

    def test_patterns_are_not_compiled_when_the_time_is_over(self):
        """A filter may hold thousands of them, and compiling one takes long."""
        with deadline(0), pytest.raises(QueryError) as caught:
            Filter({"a": {"$in": [Regex("^a"), Regex("b$")]}})

        assert caught.value.code == "MaxTimeMSExpired"

    def test_the_budget_is_the_requests_not_the_strings(self):
        """What one string has used up is gone for the next."""
        found = compile_pattern(Regex("(a+)+$"))

        with deadline(0.1):
            with pytest.raises(QueryError):
                found("a" * 4_000 + "b")
            with pytest.raises(QueryError):
                found("a" + "b" * 2_000)

    def test_other_threads_run_while_a_pattern_backtracks(self):
        """A search that takes all its time keeps nobody else from working, though its text is short."""

        def bomb():
            with deadline(0.3), pytest.raises(QueryError):
                compile_pattern(Regex("(a|aa)+$"))("a" * 300 + "b")

        thread = threading.Thread(target=bomb)
        thread.start()
        steps = 0
        while thread.is_alive():
            steps += 1
            time.sleep(0.001)

        assert steps > 20


class TestDeadline:
    def test_without_one_each_call_has_the_default(self):
        """Where nobody has set a deadline, each question starts anew."""
        assert remaining() == DEFAULT_SECONDS

    def test_an_inner_deadline_does_not_give_more_time(self):
        """The sooner of two deadlines holds, and the outer one again behind the inner."""
        with deadline(5):
            with deadline(60):
                assert remaining() <= 5
            with deadline(0.5):
                assert remaining() <= 0.5
            assert 0.5 < remaining() <= 5

    def test_check_raises_when_the_time_is_over(self):
        """``check`` says nothing before, and MaxTimeMSExpired behind the deadline."""
        with deadline(60):
            check()
        with deadline(0), pytest.raises(QueryError) as caught:
            check()

        assert caught.value.code == "MaxTimeMSExpired"

    def test_an_expression_asks_for_each_document(self):
        """One document alone may take a while: an expression is as long as a request may be."""
        long = Filter({"$expr": {"$gt": [{"$add": ["$a"] * 9_000}, 0]}})

        with deadline(0), pytest.raises(QueryError) as caught:
            long.matches({"a": 1})

        assert caught.value.code == "MaxTimeMSExpired"
