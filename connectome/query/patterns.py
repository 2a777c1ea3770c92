"""
Regular expressions as MongoDB reads them: PCRE2 in UTF mode.

PyPI's ``regex`` is the nearest engine that a clock can stop.  It speaks another dialect, so every pattern is read
once, token by token, and written again in a core that both engines understand alike: literals, sets of plain
ranges, groups, look-around.  Only this module knows the engine.

Source:
    pcre2pattern(3) and pcre2syntax(3) of PCRE2 10.42.  The translation was compared with the library itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Final, NamedTuple

import regex
from bson import Regex

from connectome.errors import QueryError
from connectome.query.deadline import check, expired, remaining
from connectome.query.values import REGEX_FLAGS

Match = regex.Match[str]

MAX_PATTERN_BYTES: Final = 32764  # MongoDB's
_MAX_GROUP_DEPTH: Final = 250  # PCRE2's, as the next one
_MAX_REPEAT: Final = 65535
_NULL_CHARACTER: Final = "a regular expression cannot contain a null character"


def compile_pattern(expression: Regex[str]) -> Callable[[str], bool]:
    """
    A test on a string: whether the pattern is found in it.

    Raises:
        QueryError: ``Location51091`` -- not a regular expression, or one that needs what is not supported;
            ``BadValue`` -- a null character in it; ``MaxTimeMSExpired`` -- the request's time is over, from the test
            too.
    """
    check()  # thousands of them may be compiled
    if "\0" in expression.pattern:
        raise QueryError(_NULL_CHARACTER)
    find = finder(expression)
    return lambda text: find(text, 0) is not None


def finder(expression: Regex[str]) -> Callable[[str, int], Match | None]:
    """
    A search in a text from a position on; what stands before the position is seen by ``^``, ``\\b`` and look-behind.

    Raises:
        QueryError: As ``compile_pattern``, but ``Location51109`` for a null character.
    """
    if "\0" in expression.pattern:
        raise QueryError(_NULL_CHARACTER, code="Location51109")
    options = "".join(letter for letter in "imsx" if expression.flags & REGEX_FLAGS[letter])
    compiled, straight = _compiled(expression.pattern, options)
    search = compiled.search

    def find(text: str, position: int) -> Match | None:
        if straight and len(text) < _SHORT:
            return search(text, position)  # 0.3 µs; to set the clock for it: 2.4
        try:
            return search(text, position, timeout=remaining())
        except TimeoutError:
            raise expired() from None
        except MemoryError:  # it is the engine's own limit that is met: a pattern that calls itself without end
            raise QueryError(
                "the regular expression takes too much memory", code="Location51156", pointer=None
            ) from None

    return find


# The engine lets other threads run while it searches a str (0.1 µs); not to would let (a|aa)+$ stop them all for as
# long as it may run, over 300 characters already.
_SHORT: Final = 1_000


@lru_cache(maxsize=256)
def _compiled(pattern: str, options: str) -> tuple[regex.Pattern[str], bool]:
    """The pattern for the engine, and whether it takes no more than the square of the text's length."""
    if len(pattern.encode()) > MAX_PATTERN_BYTES:
        raise _invalid(f"it is longer than {MAX_PATTERN_BYTES} bytes")
    translation = _Translation(pattern, frozenset(options))
    translated = translation.translate()
    try:
        return regex.compile(translated, regex.VERSION1), translation.straight
    except regex.error as error:
        # The position is one in the translation: of no use to the reader.
        raise _invalid(str(error).rpartition(" at position")[0] or str(error)) from None


def _invalid(reason: str) -> QueryError:
    return QueryError(f"the regular expression is invalid: {reason}", code="Location51091")


# Members of a set, in the engine's syntax for the inside of brackets.
_WORD: Final = "A-Za-z0-9_"
_HORIZONTAL: Final = r"\t \xA0\u1680\u180E\u2000-\u200A\u202F\u205F\u3000"
_VERTICAL: Final = r"\n-\r\x85\u2028\u2029"
_TYPES: Final = {"d": "0-9", "s": r"\t-\r ", "w": _WORD, "h": _HORIZONTAL, "v": _VERTICAL}
_POSIX: Final = {
    "alpha": "A-Za-z",
    "lower": "a-z",
    "upper": "A-Z",
    "alnum": "A-Za-z0-9",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": r"\x21-\x7E",
    "print": r"\x20-\x7E",
    "punct": r"\x21-\x2F\x3A-\x40\x5B-\x60\x7B-\x7E",
    "space": r"\t-\r ",
    "word": _WORD,
    "xdigit": "0-9A-Fa-f",
}
# What PCRE2 adds to Unicode's properties.
_PROPERTIES: Final = {
    "any": r"\x00-\U0010FFFF",
    "l&": r"\p{Lu}\p{Ll}\p{Lt}",
    "lc": r"\p{Lu}\p{Ll}\p{Lt}",
    "xan": r"\p{L}\p{N}",
    "xps": rf"\p{{Z}}{_HORIZONTAL}{_VERTICAL}",
    "xsp": rf"\p{{Z}}{_HORIZONTAL}{_VERTICAL}",
    "xuc": r"$@`\xA0-\uD7FF\uE000-\U0010FFFF",
    "xwd": r"\p{L}\p{N}_",
}
# After (*UCP) the types and the POSIX classes are Unicode's.
_UCP_TYPES: Final = _TYPES | {"d": r"\p{Nd}", "s": _PROPERTIES["xps"], "w": _PROPERTIES["xwd"]}
_UCP_POSIX: Final = _POSIX | {
    "alpha": r"\p{L}",
    "lower": r"\p{Ll}",
    "upper": r"\p{Lu}",
    "alnum": _PROPERTIES["xan"],
    "blank": _HORIZONTAL,
    "cntrl": r"\p{Cc}",
    "digit": r"\p{Nd}",
    "graph": r"[\p{L}\p{M}\p{N}\p{P}\p{S}\p{Cf}--[\u061C\u180E\u2066-\u2069]]",
    "print": r"[\p{L}\p{M}\p{N}\p{P}\p{S}\p{Zs}\p{Cf}--[\u061C\u2066-\u2069]]",
    "punct": r"\p{P}[\p{S}&&[\x00-\x7F]]",
    "space": _PROPERTIES["xps"],
    "word": _PROPERTIES["xwd"],
}
_CONTROLS: Final = {"a": "\a", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPES: Final = {
    "N": ".",
    "X": r"\X",
    "R": rf"(?>\r\n|[{_VERTICAL}])",
}
# Written-out names of groups that also have a sign.
_NAMED_GROUPS: Final = {
    **dict.fromkeys(("pla:", "positive_lookahead:"), "(?="),
    **dict.fromkeys(("nla:", "negative_lookahead:"), "(?!"),
    **dict.fromkeys(("plb:", "positive_lookbehind:"), "(?<="),
    **dict.fromkeys(("nlb:", "negative_lookbehind:"), "(?<!"),
    "atomic:": "(?>",
}
# At the start of a pattern, and here without effect: most say how PCRE2 shall work, not what matches.
_HINTS: Final = frozenset(
    {"UTF", "UTF8", "LF", "BSR_UNICODE", "NO_AUTO_POSSESS", "NO_DOTSTAR_ANCHOR", "NO_JIT", "NO_START_OPT"}
    | {"LIMIT_DEPTH", "LIMIT_HEAP", "LIMIT_MATCH", "LIMIT_RECURSION"}
)
_WHITE: Final = frozenset("\t\n\v\f\r \x85\u200e\u200f\u2028\u2029")
# Letters that the engine folds and PCRE2 does not, or not together with these.
_UNFOLDED: Final = {"i": "(?-i:[iI])", "I": "(?-i:[iI])", **{c: f"(?-i:{c})" for c in "İıΐΐΰΰﬅﬆ"}}

# The engine looks for a first character before it tries to match, and mixes up which of them fold (2026.11.15:
# "(?i:k)|[^k]é" does not find "Aé" where the set is case-sensitive); it does not look behind this.
_NO_FIRST_SET: Final = "(?(?=)|)"

_NAME: Final = r"[^\W\d]\w{0,31}"
_CODE: Final = r"""
    (?:x\{ | N\{U\+) (?P<hex>[0-9A-Fa-f]+) \} | x (?P<short_hex>(?!\{)[0-9A-Fa-f]{0,2})
    | o\{ (?P<octal>[0-7]+) \} | (?P<short_octal>0[0-7]{0,2}) | c (?P<control>[\x20-\x7E])
"""
_PROPERTY: Final = r"(?P<sign>[pP]) (?:\{ (?P<name>\^?[^{}]+) \} | (?P<letter>[A-Z]))"
_START: Final = re.compile(r"\(\*([A-Z0-9_]+)(?:=\d+)?\)")
_TOKEN: Final = re.compile(
    rf"""
    \\Q (?P<quoted>.*?) (?:\\E|\Z)
    | (?P<nothing>\\E | \(\?\#[^)]*\) | \(\?C\d*\))
    | (?P<code>\\ (?:{_CODE}))
    | (?P<property>\\ {_PROPERTY})
    | (?P<call>\(\? (?:R|[+-]?\d+|&{_NAME}|P>{_NAME}) \) | \\g(?:<[+-]?\d+>|<{_NAME}>|'[+-]?\d+'|'{_NAME}'))
    | (?P<reference>\\g[+-]?\d+ | \\g\{{[+-]?\d+\}} | \\[gk]\{{{_NAME}\}} | \\k<{_NAME}> | \\k'{_NAME}'
        | \(\?P={_NAME}\))
    | \\ (?P<digits>[1-9]\d*)
    | (?P<anchor>[\^$]|\\[AbBGKzZ])
    | \\ (?!N\{{(?!\d+(?:,\d*)?\}})) (?P<escape>.)
    | (?P<edge>\[\[:[<>]:\]\])
    | (?P<outside>\[(?P<mark>[:.=])[^\]\[\\]*(?P=mark)\])
    | (?P<set>\[\^?)
    | (?P<flags>\(\?\^?[imsxnJU]*(?:-[imsxnJU]*)?[:)])
    | (?P<condition>\(\?\((?: [+-]?\d+ | <{_NAME}> | '{_NAME}' | {_NAME} )\))
    | (?P<asked>\(\?(?=\(\?<?[=!]))
    | \(\*(?P<verb>[A-Z]*(?::[^)]*)?\)|[a-z_]+:)
    | \(\?(?:P?<(?P<group>{_NAME})>|'(?P<quoted_group>{_NAME})')
    | (?P<opening>\(\?(?:[>|=!]|<[=!]) | \((?![?*]))
    | (?P<closing>\))
    | (?P<bar>\|)
    | (?P<quantifier>[*+?]|\{{\d+(?:,\d*)?\}})
    | (?P<character>[^(\[\\])
    """,
    re.VERBOSE | re.DOTALL,
)
_MEMBER: Final = re.compile(
    rf"""
    \\Q (?P<quoted>.*?) (?:\\E|\Z)
    | (?P<nothing>\\E)
    | (?P<code>\\ (?:{_CODE} | (?P<digits>[1-7][0-7]{{0,2}})))
    | (?P<property>\\ {_PROPERTY})
    | \\ (?P<escape>.)
    | \[:(?P<posix>\^?[a-z]+):\]
    | (?P<collating>\[(?P<mark>[.=])[^\]]*(?P=mark)\])
    | (?P<hyphen>-)
    | (?P<end>\])
    | (?P<character>[^\\])
    """,
    re.VERBOSE | re.DOTALL,
)


class _Group(NamedTuple):
    """An open group: what holds again behind it."""

    flags: frozenset[str]
    # In (?|…) every branch counts its groups from the first of these; the second is the highest count so far.
    counts: tuple[int, int] | None


class _Translation:
    """
    A pattern on its way from PCRE2's dialect to the engine's.

    Args:
        flags: The options that hold at the start: ``i m s x``; on the way also ``n U J``, and ``X`` for ``xx``.
    """

    def __init__(self, pattern: str, flags: frozenset[str]) -> None:
        self._pattern = pattern
        self._position = 0
        self._flags = flags
        self._out: list[str] = []
        self._repeatable = False  # whether what was read last can have a quantifier
        self._open: list[_Group] = []
        self._groups = 0
        self._highest = 0  # the highest number of a group that is referred to
        self._names: dict[str, int] = {}
        self._types, self._posix = _TYPES, _POSIX
        # Whether there is nothing to try in many ways: no group, no call or reference, one quantifier at most.
        self.straight = True
        self._quantified = False
        # Where the output of this branch, and how many groups there were, at an (*ACCEPT) outside of groups.
        self._accepted: tuple[int, int] | None = None
        self._branched = self._then = False
        self._marks: set[str] = set()

    def translate(self) -> str:
        """The pattern in the engine's dialect, to be compiled with VERSION1 and no other flag."""
        if "i" in self._flags:
            self._out.append("(?i)")
        self._start_options()
        while self._position < len(self._pattern):
            self._token(self._next(_TOKEN))
        if self._open:
            raise _invalid("a parenthesis is not closed")
        self._end_branch()
        if self._highest > self._groups:
            raise _invalid(f"there is no group {self._highest}")
        translated = "".join(self._out)
        # Full case folding, which VERSION1 brings, would let "ß" match "ss".
        return "(?-f)" + (_NO_FIRST_SET if "(?i)" in translated and "[^" in translated else "") + translated

    def _start_options(self) -> None:
        while option := _START.match(self._pattern, self._position):
            if option[1] == "UCP":
                self._types, self._posix = _UCP_TYPES, _UCP_POSIX
            elif option[1] not in _HINTS:
                return
            self._position = option.end()

    def _next(self, tokens: re.Pattern[str]) -> re.Match[str]:
        token = tokens.match(self._pattern, self._position)
        if token is None:
            raise _invalid(f"malformed or not supported: {self._pattern[self._position : self._position + 20]}")
        self._position = token.end()
        return token

    def _token(self, token: re.Match[str]) -> None:
        text = token[0]
        match token.lastgroup:
            case "nothing":
                pass
            case "quoted":
                for character in token["quoted"]:
                    self._literal(character)
            case "character":
                self._character(text)
            case "code":
                self._literal(_coded(token))
            case "property":
                self._add_set(_property(token))
            case "digits":
                self._digits(token)
            case "anchor":
                self._anchor(text)
            case "escape":
                self._escape(token["escape"])
            case "edge":
                word = self._types["w"]
                self._add(f"(?-i:{self._boundary()}(?{'=' if '<' in text else '<='}[{word}]))")
            case "outside":
                raise _invalid(f"a POSIX class stands in a set: [{text}], not {text}")
            case "set":
                self._set(negated=text == "[^")
            case "quantifier":
                self._quantify(text)
            case "bar":
                self._branch()
            case "closing":
                self._close()
            case "call":
                self.straight = False
                called = self._referred(text)
                self._add(f"(?{called})" if called.isdecimal() else f"(?&{called})")
            case "reference":
                self.straight = False
                self._add(rf"\g<{self._referred(text)}>")
            case "flags":
                self._change_flags(text)
            case "condition":
                self._open_group(f"(?({self._condition(text[3:-1])})")
            case "asked":
                self._open_group("(?")
            case "verb":
                self._verb(token["verb"])
            case "group" | "quoted_group":
                self._open_capture(token["group"] or token["quoted_group"])
            case _ if text == "(?|":
                # In one more group: the engine lets an option that is set in (?|…) run on behind it.
                self._open_group("(?:(?|", counts=(self._groups, self._groups))
            case _ if text != "(":
                self._open_group(text)
            case _ if "n" in self._flags:
                self._open_group("(?:")
            case _:
                self._open_capture(None)

    def _add(self, text: str) -> None:
        self._out.append(text)
        self._repeatable = True

    def _add_set(self, members: str, *, negated: bool = False) -> None:
        brackets = _negated(members) if negated else f"[{members}]"
        # The case of letters is settled before: \w never matches a Kelvin sign, [k] may.
        self._add(f"(?-i:{brackets})" if "i" in self._flags else brackets)

    def _literal(self, character: str) -> None:
        self._add((_UNFOLDED.get(character) if "i" in self._flags else None) or _escaped(character))

    def _character(self, character: str) -> None:
        if "x" in self._flags and character in _WHITE:
            return
        if "x" in self._flags and character == "#":
            end = self._pattern.find("\n", self._position)
            self._position = len(self._pattern) if end < 0 else end + 1
        elif character == ".":
            self._add("(?s:.)" if "s" in self._flags else ".")
        else:
            self._literal(character)

    def _escape(self, letter: str) -> None:
        if letter.lower() in self._types:
            self._add_set(self._types[letter.lower()], negated=letter.isupper())
        elif letter in _CONTROLS:
            self._literal(_CONTROLS[letter])
        elif letter in _ESCAPES:
            self._add(_ESCAPES[letter])
        elif letter.isascii() and letter.isalnum():
            raise _invalid(rf"\{letter} is malformed, unknown or not supported")
        else:
            self._literal(letter)

    def _anchor(self, text: str) -> None:
        lines = "m" in self._flags
        match text:
            case "^" if lines:
                self._out.append(r"(?:\A|(?<=\n)(?!\Z))")  # not behind a line break that ends the text
            case "^":
                self._out.append(r"\A")
            case "$":
                self._out.append("(?m:$)" if lines else "$")
            case r"\Z":
                self._out.append("$")
            case r"\z":
                self._out.append(r"\Z")
            case r"\b":
                self._out.append(self._boundary())
            case r"\B":
                self._out.append(f"(?!{self._boundary()})")
            case _:
                self._out.append(text)
        self._repeatable = False

    def _boundary(self) -> str:
        word = self._types["w"]
        return f"(?-i:(?<=[{word}])(?![{word}])|(?<![{word}])(?=[{word}]))"

    def _digits(self, token: re.Match[str]) -> None:
        digits = token["digits"]
        if int(digits) < 10 or digits[0] in "89" or int(digits) <= self._groups:
            self.straight = False
            self._add(rf"\g<{int(digits)}>")
            return
        octal = re.match("[0-7]{1,3}", digits)
        assert octal is not None  # the first digit is neither 8 nor 9
        self._position = token.start() + 1 + octal.end()
        self._literal(chr(int(octal[0], 8)))

    def _referred(self, text: str) -> str:
        """The name or the absolute number of the group that a reference or a call is for."""
        if text == "(?R)":
            return "0"
        if number := re.search(r"(?:^\(\?|^\\g\W?)([+-]?\d+)", text):
            return self._absolute(number[1])
        return str(re.findall(_NAME, text)[-1])

    def _absolute(self, number: str) -> str:
        absolute = int(number)
        if number[0] in "+-":
            absolute += self._groups + (number[0] == "-")
            if absolute < 1:
                raise _invalid(f"there is no group {number}")
        self._highest = max(self._highest, absolute)
        return str(absolute)

    def _condition(self, text: str) -> str:
        if text.lstrip("+-").isdecimal():
            return self._absolute(text)
        if re.fullmatch(r"R\d*|VERSION", text) and text not in self._names:
            raise _invalid(f"the condition ({text}) is not supported")
        return text.strip("<>'")

    def _verb(self, verb: str) -> None:
        if verb in _NAMED_GROUPS:
            self._open_group(_NAMED_GROUPS[verb])
            return
        name, _, mark = verb.removesuffix(")").partition(":")
        match name:
            case "F" | "FAIL" if not mark:
                self._add("(?!)")
            case "ACCEPT" if not mark and not self._open:
                self._accepted = self._accepted or (len(self._out), self._groups)
            case "PRUNE":
                self._add("(*PRUNE)")
            case "THEN" if not self._open and not self._branched:
                # Without other branches to go on with, it is the same.
                self._then = True
                self._add("(*PRUNE)")
            case "SKIP" if not mark:
                self._add("(*SKIP)")
            case "SKIP" if mark not in self._marks:
                pass  # to a mark that is not there: without effect
            case "MARK" | "" if mark:
                self._marks.add(mark)
            case _:
                raise _invalid(f"(*{verb} is unknown or not supported")
        self._repeatable = False

    def _end_branch(self) -> None:
        """Forget what stands behind ``(*ACCEPT)`` in the branch that ends: it is never come to."""
        if self._accepted is None:
            return
        length, groups = self._accepted
        if self._groups > groups:
            raise _invalid("a group behind (*ACCEPT) is not supported")
        del self._out[length:]
        self._out.append("(?i)" if "i" in self._flags else "(?-i)")
        self._accepted = None

    def _open_capture(self, name: str | None) -> None:
        self._groups += 1
        if name is not None and self._names.setdefault(name, self._groups) != self._groups and "J" not in self._flags:
            raise _invalid(f"two groups have the name {name}")
        self._open_group("(" if name is None else f"(?P<{name}>")

    def _open_group(self, text: str, *, counts: tuple[int, int] | None = None) -> None:
        if len(self._open) == _MAX_GROUP_DEPTH:
            raise _invalid(f"its groups are nested deeper than {_MAX_GROUP_DEPTH}")
        self.straight = False
        self._open.append(_Group(self._flags, counts))
        self._out.append(text)
        self._repeatable = False

    def _branch(self) -> None:
        if self._open and (counts := self._open[-1].counts):
            self._open[-1] = self._open[-1]._replace(counts=(counts[0], max(counts[1], self._groups)))
            self._groups = counts[0]
        if not self._open:
            self._end_branch()
            self._branched = True
            if self._then:
                raise _invalid("(*THEN) beside other branches is not supported")
        self._out.append("|")
        self._repeatable = False

    def _close(self) -> None:
        if not self._open:
            raise _invalid("a parenthesis is closed that is not open")
        group = self._open.pop()
        self._out.append("))" if group.counts else ")")
        self._flags = group.flags
        self._repeatable = True
        if group.counts:
            self._groups = max(group.counts[1], self._groups)

    def _change_flags(self, text: str) -> None:
        """Read ``(?im-s)`` or ``(?im-s:``; the engine is told of ``i`` alone, the others are written out."""
        set_, _, unset = text[2:-1].removeprefix("^").partition("-")
        flags = self._flags - set("imnsxX") if text[2] == "^" else self._flags
        flags = (flags | set(set_)) - set(unset)
        if "x" in set_:
            flags = flags | {"X"} if "xx" in set_ else flags - {"X"}
        if text[-1] == ":":
            self._open_group("(?:")
        if ("i" in flags) != ("i" in self._flags):
            self._out.append("(?i)" if "i" in flags else "(?-i)")
        self._flags = flags
        self._repeatable = False

    def _quantify(self, quantifier: str) -> None:
        if not self._repeatable:
            raise _invalid(f"there is nothing before {quantifier} that could be repeated")
        if any(int(number) > _MAX_REPEAT for number in re.findall(r"\d+", quantifier)):
            raise _invalid(f"{quantifier} repeats more than {_MAX_REPEAT} times")
        if "x" in self._flags:
            while self._pattern[self._position : self._position + 1] in _WHITE:
                self._position += 1
        self.straight = self.straight and not self._quantified
        self._quantified = True
        kind = self._pattern[self._position : self._position + 1]
        if kind in ("+", "?"):
            self._position += 1
        if kind != "+":
            kind = "?" if (kind == "?") != ("U" in self._flags) else ""
        self._out.append(quantifier + kind)
        self._repeatable = False

    def _set(self, *, negated: bool) -> None:
        members: list[str] = []
        ranges: list[tuple[int, int]] = []
        low: int | None = None  # a character that may begin a range
        hyphen = after_type = False
        first = True
        while True:
            token = self._next(_MEMBER)
            kind, text = token.lastgroup, token[0]
            if kind == "end" and not first:
                break
            if kind == "nothing" or (kind == "character" and "X" in self._flags and text in " \t"):
                continue
            first = False
            characters = self._members(token)
            if kind == "hyphen" and not hyphen and self._pattern[self._position : self._position + 1] != "]":
                if after_type:
                    raise _invalid("a hyphen behind a class of characters begins no range")
                if low is not None:
                    hyphen = True
                    continue
            if characters is None:
                if hyphen:
                    raise _invalid("a range ends with one character, not with a class")
                members.append(self._class(token))
                low, after_type = None, True
                continue
            after_type = False
            for character in characters:
                code = ord(character)
                if hyphen:
                    if low is None or low > code:
                        raise _invalid("the ends of a range are in the wrong order")
                    ranges[-1] = (low, code)
                    low, hyphen = None, False
                else:
                    ranges.append((code, code))
                    low = code
        if "i" in self._flags:
            ranges += [(code, code) for code in _other_cases(ranges)]
        members += [_escaped(chr(a)) + (f"-{_escaped(chr(b))}" if a < b else "") for a, b in ranges]
        self._add_set("".join(members), negated=negated)

    def _members(self, token: re.Match[str]) -> str | None:
        """The characters that stand in a set at a token, or None where a class of characters does."""
        match token.lastgroup:
            case "quoted":
                return token["quoted"]
            case "code":
                return _coded(token)
            case "property" | "posix":
                return None
            case "collating":
                raise _invalid(f"collating elements are not supported: {token[0]}")
            case "escape":
                letter = token["escape"]
                if letter.lower() in self._types:
                    return None
                if letter.isascii() and letter.isalnum() and letter not in _CONTROLS and letter not in "b89":
                    raise _invalid(rf"\{letter} has no meaning in a set, or is not supported")
                return "\b" if letter == "b" else _CONTROLS.get(letter, letter)
            case _:
                return token[0]

    def _class(self, token: re.Match[str]) -> str:
        if token.lastgroup == "property":
            return _property(token)
        if token.lastgroup == "escape":
            letter = token["escape"]
            members = self._types[letter.lower()]
            return _negated(members) if letter.isupper() else members
        name = token["posix"].removeprefix("^")
        if name not in self._posix:
            raise _invalid(f"unknown POSIX class name: {name}")
        if name in ("lower", "upper") and "i" in self._flags and self._posix is _POSIX:
            name = "alpha"
        members = self._posix[name]
        return _negated(members) if token["posix"][0] == "^" else members


def _escaped(character: str) -> str:
    """A character as it stands for itself, inside and outside of brackets."""
    return character if character.isalnum() or character > "\x7f" else rf"\x{ord(character):02X}"


def _negated(members: str) -> str:
    """
    The set of all characters but these.

    The surrogate is in no text.  It keeps the engine from making one excluded character a thing of its own, which it
    gets wrong in company: to it (2026.11.15) "[^a]|[^b]" does not match "a".
    """
    return rf"[^{members}\uD800]"


def _coded(token: re.Match[str]) -> str:
    """The character of an escape that gives its code."""
    found = token.groupdict()
    if found["control"] is not None:
        return chr(ord(found["control"].upper()) ^ 0x40)
    hexadecimal = found["hex"] if found["hex"] is not None else found["short_hex"]
    octal = found["octal"] or found["short_octal"] or found.get("digits")
    code = int(octal, 8) if octal else int(hexadecimal or "0", 16)
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise _invalid(f"there is no character {code:X}")
    return chr(code)


def _property(token: re.Match[str]) -> str:
    """The members of a set for a ``\\p{…}``."""
    name = token["name"] or token["letter"]
    plain = re.sub(r"[\s_-]", "", name.lower()).removeprefix("^")
    negated = (token["sign"] == "P") != name.startswith("^")
    if plain in _PROPERTIES:
        return _negated(_PROPERTIES[plain]) if negated else _PROPERTIES[plain]
    if _is_script(plain):
        plain = f"scx={plain}"  # what PCRE2 takes a script's bare name for
    return rf"\{'P' if negated else 'p'}{{{plain}}}"


@cache
def _is_script(name: str) -> bool:
    try:
        regex.compile(rf"\p{{scx={name}}}")
    except regex.error:
        return False
    return True


def _other_cases(ranges: list[tuple[int, int]]) -> list[int]:
    """The characters that differ by case alone from one in the ranges."""
    cases = _cases()
    return [
        other
        for code, others in cases.items()
        if any(low <= code <= high for low, high in ranges)
        for other in others
        if not any(low <= other <= high for low, high in ranges)
    ]


@cache
def _cases() -> dict[int, set[int]]:
    """Each character that has other cases → all of them, as simple folding has it (64 ms, once)."""
    groups: dict[int, set[int]] = {}
    for code in range(0x1E944):
        character = chr(code)
        for other in (character.lower(), character.upper()):
            if len(other) == 1 and other != character and character != "ı":
                one, two = groups.setdefault(code, {code}), groups.setdefault(ord(other), {ord(other)})
                if one is not two:
                    one |= two
                    groups.update(dict.fromkeys(two, one))
    return groups
