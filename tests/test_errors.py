"""What can go wrong: the tree, the places, and that every kind of error has a way out of the process."""

from __future__ import annotations

import inspect
import re

import pytest

from connectome import errors
from connectome.cli import EXIT_CODES
from connectome.errors import (
    ConnectomeError,
    DuplicateKey,
    Failure,
    NoMatch,
    QueryError,
    RequestError,
    SchemaViolation,
    at,
    pointer_to,
)
from connectome.web.problems import STATUS

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, ConnectomeError)]


def drawn() -> dict[str, str | None]:
    """The tree in the docstring: each class with the one it hangs from."""
    tree: dict[str, str | None] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        branch = re.fullmatch(r"    (?P<indent>(?:│   |    )*(?:[├└]── )?)(?P<name>[A-Z]\w+)(?:  .*)?", line)
        if branch:
            depth = len(branch["indent"]) // 4
            del above[depth:]
            tree[branch["name"]] = above[-1] if above else None
            above.append(branch["name"])
    return tree


class TestTheTree:
    def test_the_docstring_draws_the_classes_as_they_are(self):
        """Every class stands in the drawing under its parent, and nothing else does."""
        parents = {cls.__name__: cls.__base__.__name__ for cls in CLASSES}

        assert drawn() == {**parents, "ConnectomeError": None}

    def test_the_drawing_is_in_the_order_of_the_classes(self):
        """The classes follow each other in the file as they do in the drawing."""
        assert list(drawn()) == [cls.__name__ for cls in CLASSES]

    @pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
    def test_every_class_has_a_docstring_and_a_code(self, cls):
        """Each kind says what it is, to people and to programs."""
        assert cls.__doc__
        assert re.fullmatch("[A-Z][A-Za-z]+", cls.default_code)


class TestWaysOut:
    @pytest.mark.parametrize(
        "cls", [cls for cls in CLASSES if cls is not ConnectomeError], ids=lambda cls: cls.__name__
    )
    def test_every_class_has_a_status_of_its_own(self, cls):
        """web.problems.STATUS names each kind, so that each has its status and its title on purpose."""
        status, title = STATUS[cls]

        assert 400 <= status <= 599
        assert title

    def test_nothing_else_has_a_status(self):
        """The table holds no class that is gone."""
        assert set(STATUS) == set(CLASSES) - {ConnectomeError}

    @pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
    def test_every_class_has_an_exit_code(self, cls):
        """The command line ends with a code of its own."""
        code = next(EXIT_CODES[each] for each in cls.__mro__ if each in EXIT_CODES)

        assert 1 <= code <= 5

    def test_the_statuses_are_those_of_the_contract(self):
        """Clients rely on each of them."""
        promised = {
            "RequestError": 400,
            "InvalidJSON": 400,
            "InvalidRequest": 400,
            "QueryError": 400,
            "UpdateError": 400,
            "AccessError": 401,
            "Unauthorized": 401,
            "Forbidden": 403,
            "NotFound": 404,
            "NoSuchCollection": 404,
            "NoMatch": 404,
            "Conflict": 409,
            "DuplicateKey": 409,
            "CollectionExists": 409,
            "TooManyAffected": 409,
            "BodyTooLarge": 413,
            "SchemaViolation": 422,
            "StoreError": 503,
            "StoreLocked": 503,
            "StoreFailed": 503,
            "OutcomeUnknown": 503,
            "CollectionDamaged": 503,
            "NoSpace": 507,
            "ConfigurationError": 500,
            "AddressUnavailable": 500,
        }

        assert {cls.__name__: status for cls, (status, _) in STATUS.items() if cls.__name__ in promised} == promised


class TestPointers:
    @pytest.mark.parametrize(
        ("steps", "pointer"),
        [
            ((), ""),
            (("query", "$or", 1, "n"), "/query/$or/1/n"),
            (("",), "/"),
            (("a/b",), "/a~1b"),
            (("m~n",), "/m~0n"),
            (("~1", "/"), "/~01/~1"),
            (("search query", 0), "/search query/0"),
            (("é", "a.b"), "/é/a.b"),
        ],
    )
    def test_steps_become_rfc_6901(self, steps, pointer):
        """A slash and a tilde inside a step are escaped, the tilde first."""
        assert pointer_to(*steps) == pointer


class TestAt:
    def test_the_place_grows_on_the_way_up(self):
        """Each border that an error passes puts its steps in front."""
        with pytest.raises(QueryError) as caught, at("query"), at("$or", 1), at("n~/"):
            raise QueryError("no", pointer="/$gtt")

        assert caught.value.pointer == "/query/$or/1/n~0~1/$gtt"

    def test_an_error_without_a_place_gets_none(self):
        """Where no place in the input is to blame, none is invented."""
        with pytest.raises(QueryError) as caught, at("query"):
            raise QueryError("no", pointer=None)

        assert caught.value.pointer is None

    def test_a_conflict_raised_without_a_place_gets_none(self):
        """What is not about the request has no place unless its raiser gives one."""
        with pytest.raises(DuplicateKey) as caught, at(0):
            raise DuplicateKey("taken")

        assert caught.value.pointer is None

    def test_each_failure_of_a_schema_gets_the_place(self):
        """A violation has many places, and all of them move."""
        with pytest.raises(SchemaViolation) as caught, at("documents"):
            raise SchemaViolation([Failure("one", "/0/a"), Failure("two", "/1/b")])

        assert caught.value.failures == [Failure("one", "/documents/0/a"), Failure("two", "/documents/1/b")]
        assert caught.value.pointer == "/documents/0/a"

    def test_what_is_not_ours_passes_untouched(self):
        """An accident stays the accident that it is."""
        accident = KeyError("x")

        with pytest.raises(KeyError) as caught, at("query"):
            raise accident

        assert caught.value is accident

    def test_nothing_happens_where_nothing_is_raised(self):
        """The block runs as if it were not there."""
        with at("query"):
            value = 1

        assert value == 1


class TestWhatAnErrorCarries:
    def test_a_request_error_blames_the_whole_input_at_first(self):
        """The empty pointer is the whole of what was being read."""
        error = RequestError("expected a number, not a string")

        assert (error.detail, error.code, error.pointer) == ("expected a number, not a string", "BadValue", "")

    def test_a_code_overrides_that_of_the_class(self):
        """MongoDB's own code name, where the raiser knows it."""
        assert QueryError("no", code="Location31253").code == "Location31253"

    def test_what_is_not_a_request_blames_no_place(self):
        """Nothing in the body is at fault where nothing matched."""
        error = NoMatch("nothing matches")

        assert (str(error), error.code, error.pointer) == ("nothing matches", "NoMatch", None)

    def test_a_violation_says_the_first_failure_and_how_many_follow(self):
        """One sentence for the person, all of them for the program."""
        error = SchemaViolation([Failure("one", "/a"), Failure("two", "/b"), Failure("three", "/c")], document_id=7)

        assert (error.detail, error.code, error.pointer, error.document_id) == (
            "one (and 2 more)",
            "DocumentValidationFailure",
            "/a",
            7,
        )
