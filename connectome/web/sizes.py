"""
How large a question may be: counted in what was sent, before anything is compiled.  No Flask.

The language itself knows no bound on the number of conditions, and its time is only looked at now and then: what one
look costs grows with the question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from connectome.errors import QueryError, at

# Of these the values are looked up, each at no cost to speak of.
_LISTS: Final = ("$in", "$nin")
# A value behind one of these, or behind a field's name, is compared as a whole, however much there is in it.
_COMPARISONS: Final = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
# A term and a value take this many bytes at least, with what parts it from the next.
_TERM_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class Sizes:
    """
    The bounds of a question.

    query_terms: names and elements in a filter, a projection, a sort, a pipeline; fields of an update's operators.  An
        array or an object with which a field is compared is a value, and one term however large it is.
    in_values: values of one ``$in`` or ``$nin``.
    """

    query_terms: int
    in_values: int

    def check(self, operation: str, body: Any, body_bytes: int) -> None:
        """
        Refuse a body whose question is too large.

        Raises:
            QueryError: ``TooManyTerms``, ``TooManyValues``.
        """
        if body_bytes < _TERM_BYTES * min(self.query_terms, self.in_values):
            return
        match operation:
            case "readwithquery":
                self._check_filter(body.get("query"), "query")
                for name in ("project", "sort"):
                    self._check(body.get(name), name)
            case "updatewithupsert":
                self._check_filter(body["search query"], "search query")
                self._check_filter(body.get("arrayFilters"), "arrayFilters")
                self._check_update(body["data"], "data")
            case "batchdelete":
                self._check_filter(body)
            # Those of the Atlas Data API.
            case "find" | "findOne" | "aggregate" | "replaceOne" | "deleteOne" | "deleteMany":
                self._check_filter(body.get("filter"), "filter")
                for name in ("projection", "sort", "pipeline"):
                    self._check(body.get(name), name)
            case "updateOne" | "updateMany":
                self._check_filter(body["filter"], "filter")
                self._check_filter(body.get("arrayFilters"), "arrayFilters")
                self._check_update(body["update"], "update")

    def _check_filter(self, part: Any, *place: str) -> None:
        """As ``_check``, where what is compared as a whole is one term."""
        self._check(part, *place, is_filter=True)

    def _check(self, part: Any, *place: str, is_filter: bool = False) -> None:
        with at(*place):
            terms, waiting = 0, [(part, is_filter)]
            while waiting:
                value, is_filter = waiting.pop()
                if type(value) is dict:
                    terms += len(value)
                    for name, inner in value.items():
                        if name in _LISTS and type(inner) is list:
                            self._check_values(name, len(inner))
                        elif type(inner) in (dict, list) and not (is_filter and _is_value(name, inner)):
                            # In an expression an array, or an object, is computed of as many others.
                            waiting.append((inner, is_filter and name != "$expr"))
                elif type(value) is list:
                    terms += len(value)
                    waiting += [(inner, is_filter) for inner in value if type(inner) in (dict, list)]
                self._check_terms(terms)

    def _check_update(self, data: Any, place: str) -> None:
        """The values of an update are documents, and as large as documents are; a pipeline is all expression."""
        if type(data) is list:
            self._check(data, place)
            return
        with at(place):
            self._check_terms(
                sum(len(fields) if type(fields) is dict and name[:1] == "$" else 1 for name, fields in data.items())
            )

    def _check_terms(self, terms: int) -> None:
        if terms > self.query_terms:
            raise QueryError(
                f"a question may have {self.query_terms} names and elements, and this one has more", code="TooManyTerms"
            )

    def _check_values(self, name: str, count: int) -> None:
        if count > self.in_values:
            raise QueryError(f"{name} may have {self.in_values} values, and this one has {count}", code="TooManyValues")


def _is_value(name: str, inner: dict[str, Any] | list[Any]) -> bool:
    """Whether an array or an object in a filter is what a field is compared with, and no condition."""
    if name in _COMPARISONS:
        return True
    return not name.startswith("$") and (type(inner) is list or not next(iter(inner), "").startswith("$"))
