"""The query bar: a question as its address has it, read in the relaxed syntax and shown back as it was understood."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlencode

from bson import Regex
from werkzeug.datastructures import MultiDict

from connectome import inference, relaxed
from connectome.errors import ConnectomeError, InvalidJSON, InvalidRequest, RequestError
from connectome.query import Filter, Projection, Sort
from connectome.stores import Collection, Find

# What the bar has, in the order of its fields; and where the API has it.
FIELDS: Final = {"filter": "/query", "project": "/project", "sort": "/sort", "skip": "/skip", "limit": "/limit"}
PAGE_SIZES: Final = (25, 50, 100, 200)
VIEWS: Final = ("table", "json")
_MAX_NUMBER: Final = 2**53


@dataclass(frozen=True)
class Fault:
    """
    What is wrong with one field of the bar.

    detail: the sentence of the API.
    pointer: where in the value; None where the text itself cannot be read.
    before, at, after: the line of the text that is to blame, around the place.
    """

    detail: str
    pointer: str | None = None
    before: str = ""
    at: str = ""
    after: str = ""


@dataclass
class Query:
    """
    A question, and how much of its answer is shown.

    texts: each field as it is shown in the bar: as it was understood, or as it was typed where it was not.
    faults: what is wrong, by field; ``find`` is None where anything is.
    """

    texts: dict[str, str]
    find: Find | None = None
    faults: dict[str, Fault] = field(default_factory=dict)
    page: int = 1
    size: int = PAGE_SIZES[0]
    view: str = "table"
    columns: tuple[str, ...] = ()

    @property
    def is_narrowed(self) -> bool:
        """Whether anything was asked beyond all documents."""
        return any(self.texts.values())

    def blame(self, name: str, error: ConnectomeError) -> None:
        """Say of a field that it is what an error is about."""
        self.faults[name] = fault_in(self.texts[name], error, within=FIELDS[name])

    def address(self, base: str, **changes: Any) -> str:
        """The address of this question under a path, with other values for some of its parts; None drops one."""
        parts: dict[str, Any] = {
            **{name: text for name, text in self.texts.items() if text},
            "view": self.view if self.view != VIEWS[0] else None,
            "size": self.size if self.size != PAGE_SIZES[0] else None,
            "column": list(self.columns) or None,
            "page": None,
            **changes,
        }
        encoded = urlencode({name: value for name, value in parts.items() if value not in (None, "")}, doseq=True)
        return f"{base}?{encoded}" if encoded else base

    def sorted_by(self, name: str) -> tuple[str, str]:
        """How the answer is sorted by a column, as ``aria-sort`` says it, and the sort that a click on it asks for."""
        sort = self.find.sort.source if self.find else {}
        pairs = dict(sort) if type(sort) in (dict, list) else {}
        if list(pairs) == [name]:
            if pairs[name] == 1:
                return "ascending", relaxed.dumps({name: -1})
            if pairs[name] == -1:
                return "descending", ""
        return "none", relaxed.dumps({name: 1})

    def with_value(self, name: str, value: Any) -> str:
        """This filter, and the documents in which a field has this value alone."""
        condition = {"$eq": value} if _needs_eq(value) else value
        source = self.find.filter.source if self.find else {}
        if name in source:
            return relaxed.dumps(source if source[name] == condition else {"$and": [source, {name: condition}]})
        return relaxed.dumps({**source, name: condition})


def _needs_eq(value: Any) -> bool:
    # An object would be read as operators where its first key says so, and a regular expression as a search.
    return type(value) is Regex or (type(value) is dict and next(iter(value), "").startswith("$"))


def read(arguments: MultiDict[str, str]) -> Query:
    """The question of an address or a form; whatever is wrong with it stands in ``faults``."""
    query = Query({name: arguments.get(name, "").strip() for name in FIELDS})
    query.view = arguments.get("view", "") if arguments.get("view") in VIEWS else VIEWS[0]
    query.size = next((each for each in PAGE_SIZES if str(each) == arguments.get("size")), PAGE_SIZES[0])
    query.columns = tuple(arguments.getlist("column"))
    page = arguments.get("page", "")
    query.page = int(page) if page.isascii() and page.isdecimal() and 0 < len(page) < 12 and int(page) else 1
    filter = _part(query, "filter", Filter, dict)
    projection = _part(query, "project", lambda source: Projection(source, filter or Filter({})), dict)
    sort = _part(query, "sort", Sort, (dict, list))
    skip, limit = _whole(query, "skip"), _whole(query, "limit")
    if not query.faults and filter and projection and sort:
        query.find = Find(filter, projection, sort, skip, limit)
    return query


def _part(query: Query, name: str, compile: Any, shapes: Any) -> Any:
    text = query.texts[name]
    try:
        source = relaxed.loads(text) if text else {}
        if not isinstance(source, shapes):
            raise InvalidRequest(f"the {name} is an object such as {_EXAMPLES[name]}, not {relaxed.preview(source)}")
        compiled = compile(source)
    except RequestError as error:
        query.blame(name, error)
        return None
    query.texts[name] = relaxed.dumps(source) if source else ""
    return compiled


_EXAMPLES: Final = {
    "filter": "{year: {$gte: 2000}}",
    "project": "{title: 1, year: 1}",
    "sort": "{year: -1}",
}


def _whole(query: Query, name: str) -> int:
    text = query.texts[name]
    if not text or text == "0":
        query.texts[name] = ""
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) < 17 and int(text) <= _MAX_NUMBER):
        query.faults[name] = Fault(f"expected a whole number that is not negative, not {relaxed.preview(text)}")
        return 0
    query.texts[name] = str(int(text))
    return int(text)


def fault_in(text: str, error: ConnectomeError, *, within: str = "") -> Fault:
    """What is wrong, with its place in the text that was typed; ``within`` is where the API has what the text says."""
    place = error.place if isinstance(error, InvalidJSON) else None
    if place is None and error.pointer and text:
        place = relaxed.place(text, error.pointer)
    pointer = within + error.pointer if error.pointer else None
    if place is None:
        return Fault(error.detail, pointer)
    line, column = place
    blamed = text.split("\n")[line - 1]
    start = max(0, column - 1 - 40)
    word = _WORD.match(blamed, column - 1)
    end = word.end() if word else column
    return Fault(
        error.detail,
        pointer,
        ("…" if start else "") + blamed[start : column - 1],
        blamed[column - 1 : end] or " ",
        blamed[end : end + 40],
    )


# What is marked as wrong: a name or number, a text in its quotes.
_WORD: Final = re.compile(r"""[\w$.+-]+|"[^"]*"|'[^']*'""")


@dataclass(frozen=True)
class Suspect:
    """
    One condition of a filter that finds nothing.

    text: the condition; alone: how many documents meet it by itself; without: how many meet all the others.
    rest: the filter without it; hint: what may be meant.
    """

    text: str
    alone: int
    without: int
    rest: str
    hint: str = ""


# With more conditions than this, counting each would take longer than it helps.
_MAX_CONDITIONS: Final = 12


def suspects(collection: Collection, filter: Filter) -> list[Suspect]:
    """
    Why no document matches: the conditions that exclude everything by themselves; where there is none, all of them.

    Raises:
        QueryError: ``MaxTimeMSExpired`` -- there is no time left to find out.
    """
    conditions = list(_conditions(filter.source))
    if len(conditions) > _MAX_CONDITIONS:
        return []
    shape = inference.shape_of(inference.sample(collection.find(Find())))
    known = {inference.path_text(path).replace(inference.ELEMENTS, "") for path, *_ in shape.walk()}
    found = []
    for position, condition in enumerate(conditions):
        others = conditions[:position] + conditions[position + 1 :]
        rest = others[0] if len(others) == 1 else {"$and": others} if others else {}
        if len({name for each in others for name in each}) == sum(map(len, others)):
            rest = {name: value for each in others for name, value in each.items()}
        found.append(
            Suspect(
                relaxed.dumps(condition),
                collection.count(Filter(condition)),
                collection.count(Filter(rest)),
                relaxed.dumps(rest) if rest else "",
                _hint(next(iter(condition)), known),
            )
        )
    culprits = [each for each in found if not each.alone]
    return culprits or found


def _conditions(source: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The conditions that a document must all meet."""
    for name, operand in source.items():
        if name == "$and":
            for arm in operand:
                yield from _conditions(arm)
        elif name.startswith("$") or type(operand) is not dict or len(operand) < 2 or _together(operand):
            yield {name: operand}
        else:
            yield from ({name: {operator: value}} for operator, value in operand.items())


def _together(operand: dict[str, Any]) -> bool:
    """Whether the parts of a condition mean something only together: a value, or operators that need each other."""
    return any(not each.startswith("$") or each in ("$options", "$maxDistance", "$minDistance") for each in operand)


def _hint(path: str, known: set[str]) -> str:
    plain = ".".join(part for part in path.split(".") if not part.isdecimal())
    if path.startswith("$") or plain in known or not known:
        return ""
    nearest = difflib.get_close_matches(plain, known, n=1)
    return f"No document has a field {path}" + (f": did you mean {nearest[0]}?" if nearest else ".")


def one_page(query: Query, find: Find, total: int) -> Find:
    """
    The part of a question's answer that its page shows: every document of it, not yet projected.

    Args:
        total: How long the whole answer is, at least one; a page behind its end becomes the last one.
    """
    query.page = min(query.page, -(-total // query.size))
    first = (query.page - 1) * query.size
    return replace(find, projection=Projection({}), skip=find.skip + first, limit=min(query.size, total - first))
