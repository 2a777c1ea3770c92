"""
What a route takes and answers, said beside it: the OpenAPI document is made of this.  No Flask here.

A route without a contract is not in that document, and a test names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from connectome.schemas import Schema
from connectome.web.bodies import CANONICAL, JSON

# What opens a route: the credential of a collection, or what is such to a program for the Atlas Data API; the
# administrator's token, a token for the metrics.
Opening = Literal["", "read", "write", "key", "administrator", "metrics"]

_View = TypeVar("_View", bound=Callable[..., Any])

TEXT: Final[dict[str, Any]] = {"type": "string"}
FLAG: Final[dict[str, Any]] = {"type": "boolean", "default": False}
NUMBER: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}


def members(**properties: Any) -> dict[str, Any]:
    """The schema of an object that has these members, all of them."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def elements(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an array of these."""
    return {"type": "array", "items": schema}


@dataclass(frozen=True)
class Success:
    """
    What a route answers where nothing is wrong.

    schema: of the answer as JSON; None where there is no body.
    forms: the media types that a client may ask for; the first comes where it asks for none.
    """

    says: str
    schema: Any = None
    status: int = 200
    forms: tuple[str, ...] = (JSON, CANONICAL)


@dataclass(frozen=True)
class Parameter:
    """What may stand behind the ``?`` of a URL."""

    name: str
    schema: dict[str, Any]
    says: str


@dataclass(frozen=True)
class Body:
    """
    What a route is sent.

    schema: of the body as JSON.
    forms: the media types that it may have.
    example: one that is accepted; None where the schema says enough.
    """

    schema: Any
    forms: tuple[str, ...] = (JSON,)
    required: bool = True
    example: Any = None


@dataclass(frozen=True)
class Contract:
    """
    What there is to know of a route beside its path and method.

    problems: those statuses of errors that do not follow from all else.
    """

    success: Success
    body: Body | None = None
    parameters: tuple[Parameter, ...] = ()
    problems: frozenset[int] = frozenset()
    opened_by: Opening = ""


def contract(
    success: Success,
    *,
    body: Schema | Body | None = None,
    parameters: Iterable[Parameter] = (),
    problems: Iterable[int] = (),
    opened_by: Opening = "",
) -> Callable[[_View], _View]:
    """Declare what a view takes and answers; the first sentence of its docstring says what it does."""

    def declare(view: _View) -> _View:
        sent = Body(body.source) if isinstance(body, Schema) else body
        view.contract = Contract(  # type: ignore[attr-defined]  # as Flask's and click's decorators do
            success, sent, tuple(parameters), frozenset(problems), opened_by
        )
        return view

    return declare


def of(view: Any) -> Contract | None:
    """What was declared of a view; None where nothing was."""
    declared: Contract | None = getattr(view, "contract", None)
    return declared
