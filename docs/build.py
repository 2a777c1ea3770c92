"""
Fill the tables of docs/query-language.md from the operators themselves: ``make docs``.

A row has an operator's name, the first line of its docstring, and from its file under tests/spec MongoDB's rule and
the first case as the example, so that no example stands here that the tests do not run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from connectome.query import accumulators, conditions, stages, update
from connectome.query.expressions import language

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "query-language.md"
SPEC = ROOT / "tests" / "spec"

# The section of the page → the kind of spec, and the operators by name.
TABLES: dict[str, tuple[str, dict[str, Any]]] = {
    "filters": ("filter", {**conditions.TOP_LEVEL_OPERATORS, **conditions.FIELD_OPERATORS}),
    "updates": ("update", update.OPERATORS),
    "update-stages": ("update", stages.DOCUMENT_STAGES),
    "stages": ("stage", {**stages.STAGES, **stages.DOCUMENT_STAGES}),
    "accumulators": ("accumulator", accumulators.ACCUMULATORS),
    "expressions": ("expression", language.OPERATORS),
}


def subjects(kind: str) -> dict[str, dict[str, Any]]:
    """What the spec says of each operator of a kind, by the operator's name; of several files the first counts."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted((SPEC / kind).glob("*.json")):
        subject = json.loads(file.read_text(encoding="utf-8"))
        found.setdefault(subject["operator"], subject)
    return found


def example(kind: str, subject: dict[str, Any]) -> str:
    """The first case of a subject, as it would be sent."""
    return "`" + json.dumps(subject["cases"][0][kind], ensure_ascii=False).replace("|", "\\|") + "`"


def table(kind: str, operators: dict[str, Any]) -> Iterable[str]:
    """The rows for operators, by name."""
    known = subjects(kind)
    yield "| operator | does | MongoDB's rule | example |"
    yield "|---|---|---|---|"
    for name in sorted(operators):
        does = (operators[name].__doc__ or "").strip().split("\n")[0].replace("``", "`").replace("|", "\\|")
        # A stage shares its name with an operator.
        subject = known[f"{name} (pipeline)" if operators is stages.DOCUMENT_STAGES else name]
        rule = subject["says"].replace("|", "\\|")
        yield f"| `{name}` | {does} | {rule} | {example(kind, subject)} |"


def built(page: str) -> str:
    """The page with every table between its marks made anew."""
    for mark, (kind, operators) in TABLES.items():
        before, start, after = page.partition(f"<!-- {mark}: made by docs/build.py -->\n")
        _, end, rest = after.partition("<!-- end -->")
        if not (start and end):
            sys.exit(f"{PAGE.name} has no place for the table of {mark}")
        page = before + start + "".join(row + "\n" for row in table(kind, operators)) + end + rest
    return page


if __name__ == "__main__":
    before = PAGE.read_text(encoding="utf-8")
    after = built(before)
    if sys.argv[1:] == ["--check"]:
        sys.exit(None if before == after else f"{PAGE.name} is not what the operators say: make docs")
    PAGE.write_text(after, encoding="utf-8")
