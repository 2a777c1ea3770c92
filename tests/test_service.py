"""The catalog of collections: who may do what, and that a change happens wholly or not at all."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from tinydb import TinyDB

from connectome.errors import (
    CollectionExists,
    DuplicateKey,
    Forbidden,
    InvalidRequest,
    NoSpace,
    NoSuchCollection,
    SchemaViolation,
    StoreFailed,
    Unauthorized,
)
from connectome.query import Filter, Update
from connectome.service import ROLES, Service, same_secret
from connectome.stores import Find, Index, Loaded, Modify, Store, files
from connectome.stores.files import Files


@pytest.fixture
def service(store: Store) -> Service:
    return Service(store)


@pytest.fixture
def movies(service: Service) -> dict[str, str]:
    """A collection called movies with one document; its credentials."""
    created = service.create(id="movies", title="Films", documents=[{"_id": 1, "title": "Movie ABC"}])
    keys: dict[str, str] = created["credentials"]
    return keys


def documents(service: Service, credential: str, collection: str = "movies") -> list[Any]:
    return list(service.reader(credential, collection).find(Find()))


def without_time(described: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in described.items() if name != "created"}


class TestCredentials:
    def test_a_read_credential_reads(self, service, movies):
        """It opens the reading side."""
        assert documents(service, movies["read"]) == [{"_id": 1, "title": "Movie ABC"}]

    def test_a_write_credential_writes(self, service, movies):
        """It opens the writing side."""
        service.writer(movies["write"], "movies").insert_one({"_id": 2})

        assert documents(service, movies["read"]) == [{"_id": 1, "title": "Movie ABC"}, {"_id": 2}]

    def test_a_read_credential_cannot_write(self, service, movies):
        """It is good, for the other role."""
        with pytest.raises(Forbidden) as caught:
            service.writer(movies["read"], "movies")

        assert caught.value.detail == "this operation needs the write credential, and this is the read credential"

    def test_a_write_credential_cannot_read(self, service, movies):
        """It is good, for the other role."""
        with pytest.raises(Forbidden) as caught:
            service.reader(movies["write"], "movies")

        assert caught.value.detail == "this operation needs the read credential, and this is the write credential"

    @pytest.mark.parametrize("side", ["reader", "writer"])
    @pytest.mark.parametrize("credential", ["", "cr_", "é", "\udcff", "x" * 10_000])
    def test_any_other_text_opens_nothing(self, service, movies, side, credential):
        """Whatever it looks like."""
        with pytest.raises(Unauthorized):
            getattr(service, side)(credential, "movies")

    @pytest.mark.parametrize("side", ["reader", "writer"])
    def test_a_missing_collection_cannot_be_told_from_a_wrong_credential(self, service, movies, side):
        """Nobody finds out which collections there are."""
        answers = []
        for credential, collection in [("cr_wrong", "movies"), ("cr_wrong", "nothing"), (movies["read"], "nothing")]:
            with pytest.raises(Unauthorized) as caught:
                getattr(service, side)(credential, collection)
            answers.append((caught.value.detail, caught.value.code, caught.value.pointer))

        assert set(answers) == {("the credential is not valid for this collection", "Unauthorized", None)}

    def test_the_credentials_of_one_collection_do_not_open_another(self, service, movies):
        """Each collection has its own."""
        service.create(id="birds")

        for role in ROLES:
            with pytest.raises(Unauthorized):
                service.reader(movies[role], "birds")

    def test_credentials_are_long_and_random(self, service):
        """A prefix for the role, then 192 bits."""
        keys = [service.create()["credentials"] for _ in range(3)]

        assert all(key["read"].startswith("cr_") and key["write"].startswith("cw_") for key in keys)
        assert {len(key[role]) for key in keys for role in ROLES} == {35}
        assert len({key[role][3:] for key in keys for role in ROLES}) == 6

    def test_they_may_be_fixed(self, service):
        """A mock server has the ones that its clients know; what is not fixed is made."""
        keys = service.create(id="mock", credentials={"read": "r.1~x-_"})["credentials"]

        assert keys["read"] == "r.1~x-_"
        assert keys["write"].startswith("cw_")
        assert documents(service, "r.1~x-_", "mock") == []

    @pytest.mark.parametrize("credential", ["", "-", "a/b", "a b", "é", "a%2F", "x" * 257, "a\n"])
    @pytest.mark.parametrize("role", ROLES)
    def test_a_credential_that_no_url_can_hold_is_refused(self, service, role, credential):
        """The sentence does not repeat it."""
        with pytest.raises(InvalidRequest) as caught:
            service.create(id="mock", credentials={role: credential})

        assert caught.value.pointer == f"/credentials/{role}"
        assert caught.value.detail == (
            "a credential has 1 to 256 letters, digits, '.', '_', '~' and '-', and is not a lone '-'"
        )
        assert service.collections() == []

    @pytest.mark.parametrize(
        ("one", "other", "same"), [("a", "a", True), ("a", "b", False), ("a", "aa", False), ("é", "é", True)]
    )
    def test_two_secrets_are_compared_whole(self, one, other, same):
        """Of any length and any characters."""
        assert same_secret(one, other) is same


def unsized(collections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Descriptions without the size, which a fresh start of the journal changes."""
    return [{key: value for key, value in each.items() if key != "size"} for each in collections]


class TestCreate:
    def test_a_collection_is_described(self, service):
        """Id, title, time, count, size, schema, credentials."""
        created = service.create(id="movies", title="Films", schema={"type": "object"})

        assert without_time(created) == {
            "id": "movies",
            "title": "Films",
            "count": 0,
            "size": created["size"],
            "schema": {"type": "object"},
            "credentials": created["credentials"],
        }
        assert created["created"].endswith("+00:00")
        assert service.describe("movies") == created

    def test_the_title_is_the_id_where_none_is_given(self, service):
        """An empty one that is given stays empty."""
        assert service.create(id="movies")["title"] == "movies"
        assert service.create(id="birds", title="")["title"] == ""

    def test_an_id_is_made_where_none_is_given(self, service):
        """One that is free, and stands in a URL as it is."""
        one, other = service.create()["id"], service.create()["id"]

        assert one != other
        assert one.isalnum()

    def test_documents_may_come_with_it(self, service):
        """They are there at once."""
        keys = service.create(id="movies", documents=[{"_id": 1}, {"_id": 2}])["credentials"]

        assert documents(service, keys["read"]) == [{"_id": 1}, {"_id": 2}]

    @pytest.mark.parametrize(
        "id", ["", "a.b", "a/b", "..", "a b", "é", "x" * 65, "a\n", "connectome.catalog", "movies.json"]
    )
    def test_an_id_that_cannot_be_one_is_refused(self, service, directory, id):
        """It is a part of a URL and the name of a file."""
        names = sorted(each.name for each in directory.iterdir())

        with pytest.raises(InvalidRequest) as caught:
            service.create(id=id)

        assert caught.value.pointer == "/id"
        assert sorted(each.name for each in directory.iterdir() if ".journal." not in each.name) == names
        assert not list(directory.glob("birds.*"))

    @pytest.mark.parametrize("id", ["a", "-", "_", "A-Z_09", "x" * 64])
    def test_letters_digits_underscores_and_hyphens_make_an_id(self, service, id):
        """Up to 64 of them."""
        assert service.create(id=id)["id"] == id

    @pytest.mark.parametrize("id", ["movies", "Movies", "MOVIES"])
    def test_a_taken_id_is_refused_whatever_its_case(self, service, movies, id):
        """Two such names would be one file on some machines."""
        with pytest.raises(CollectionExists) as caught:
            service.create(id=id)

        assert caught.value.detail == "the id 'movies' is taken"
        assert [each["id"] for each in service.collections()] == ["movies"]

    @pytest.mark.parametrize("schema", [{"type": "strin"}, {"$ref": "https://example.org/"}, 5, "object"])
    def test_what_is_no_schema_is_refused(self, service, schema):
        """With the place in what was given."""
        with pytest.raises(InvalidRequest) as caught:
            service.create(id="movies", schema=schema)

        assert caught.value.code == "InvalidSchema"
        assert caught.value.pointer.startswith("/schema")
        assert service.collections() == []

    def test_a_schema_that_is_no_json_is_refused(self, service, directory):
        """A typed value cannot be written into the catalog, and would never equal what a schema sees."""
        with pytest.raises(InvalidRequest) as caught:
            service.create(id="movies", schema={"const": ObjectId("0" * 24)})

        assert caught.value.pointer.startswith("/schema")
        assert service.collections() == []

    def test_first_documents_that_fail_the_schema_make_no_collection(self, service, store):
        """Nothing is kept of either."""
        with pytest.raises(SchemaViolation) as caught:
            service.create(id="movies", schema={"required": ["title"]}, documents=[{"title": "A"}, {}])

        assert caught.value.pointer == "/1"
        assert service.collections() == []
        assert store.collection("movies", None, new=True).count(Filter({})) == 0

    def test_first_documents_with_one_id_twice_make_no_collection(self, service):
        """The second one is pointed at."""
        with pytest.raises(DuplicateKey) as caught:
            service.create(id="movies", documents=[{"_id": 1}, {"_id": 1}])

        assert caught.value.pointer == "/1/_id"
        assert service.collections() == []


class TestLeftovers:
    def test_documents_that_no_collection_owns_are_not_overwritten(self, service, store):
        """Somebody may still want them."""
        store.collection("movies", None, new=True).insert_one({"_id": 1})

        with pytest.raises(CollectionExists):
            service.create(id="movies")

        assert list(store.collection("movies", None).find(Find())) == [{"_id": 1}]

    @pytest.mark.parametrize(
        "content",
        [
            b'{"films": {"1": {"title": "A"}}}',
            b'{"_default": {"1": {"title": "no _id"}}}',
            b'[{"title": "A"}]',
            b"text",
        ],
        ids=["another table", "documents without _id", "a JSON array", "text"],
    )
    def test_a_file_of_somebody_elses_is_not_overwritten(self, service, directory, content):
        """Neither when the collection is made nor by its first document."""
        (directory / "movies.json").write_bytes(content)

        with pytest.raises((CollectionExists, StoreFailed)):
            service.create(id="movies", documents=[{"_id": 1}])

        assert (directory / "movies.json").read_bytes() == content
        assert service.collections() == []

    def test_an_empty_leftover_is_in_nobodys_way(self, service, directory):
        """A collection that was emptied before it was forgotten."""
        with TinyDB(directory / "movies.json") as db:
            db.insert({"_id": 1})
            db.truncate()

        assert service.create(id="movies", documents=[{"_id": 2}])["count"] == 1


class TestDescribe:
    def test_collections_come_in_the_order_in_which_they_were_made(self, service):
        """Also after one in the middle is gone."""
        for id in ("c", "a", "b"):
            service.create(id=id)
        service.drop("a")

        assert [each["id"] for each in service.collections()] == ["c", "b"]

    def test_the_count_and_size_are_of_now(self, service, movies, directory):
        """They follow every write."""
        service.writer(movies["write"], "movies").insert_one({"_id": 2})

        described = service.describe("movies")

        assert described["count"] == 2
        assert described["size"] == sum(path.stat().st_size for path in directory.glob("movies.*"))

    @pytest.mark.parametrize(
        "call",
        [
            lambda service: service.describe("movie"),
            lambda service: service.change("movie", {"title": "x"}),
            lambda service: service.drop("movie"),
            lambda service: service.rotate("movie", "read"),
            lambda service: service.import_documents("movie", []),
        ],
        ids=["describe", "change", "drop", "rotate", "import"],
    )
    def test_a_collection_that_is_not_there_gets_a_suggestion(self, service, movies, call):
        """An administrator may know which ones there are."""
        with pytest.raises(NoSuchCollection) as caught:
            call(service)

        assert caught.value.detail == "there is no collection 'movie'; did you mean 'movies'?"


class TestChange:
    def test_a_title_changes_and_nothing_else(self, service, movies):
        """The credentials, the documents and the time stay."""
        before = service.describe("movies")

        changed = service.change("movies", {"title": "Kino"})

        assert changed == {**before, "title": "Kino"} == service.describe("movies")

    def test_a_schema_is_demanded_from_then_on(self, service, movies):
        """Of new documents and of changed ones."""
        service.change("movies", {"schema": {"required": ["title"]}})
        writer = service.writer(movies["write"], "movies")

        with pytest.raises(SchemaViolation):
            writer.insert_one({"_id": 2})
        with pytest.raises(SchemaViolation):
            writer.update(Modify(Filter({}), Update({"$unset": {"title": ""}})))

        assert documents(service, movies["read"]) == [{"_id": 1, "title": "Movie ABC"}]

    def test_a_schema_that_documents_do_not_satisfy_is_refused(self, service, movies):
        """The documents stay, and so does the schema that was there."""
        service.change("movies", {"schema": {"required": ["title"]}})

        with pytest.raises(SchemaViolation) as caught:
            service.change("movies", {"schema": {"required": ["year"]}, "title": "Kino"})

        assert caught.value.document_id == 1
        assert service.describe("movies")["schema"] == {"required": ["title"]}
        assert service.describe("movies")["title"] == "Films"
        assert service.writer(movies["write"], "movies").insert_one({"_id": 2, "title": "B"}) == 2

    def test_a_schema_can_be_lifted(self, service, movies):
        """None is no schema."""
        service.change("movies", {"schema": {"required": ["title"]}})

        assert service.change("movies", {"schema": None})["schema"] is None
        assert service.writer(movies["write"], "movies").insert_one({"_id": 2}) == 2

    def test_a_schema_may_be_false(self, service):
        """Nothing satisfies it; that is not the same as none."""
        keys = service.create(id="closed", schema=False)["credentials"]

        with pytest.raises(SchemaViolation):
            service.writer(keys["write"], "closed").insert_one({})
        assert service.describe("closed")["schema"] is False

    def test_what_is_no_schema_is_refused(self, service, movies):
        """With the place in what was given."""
        with pytest.raises(InvalidRequest) as caught:
            service.change("movies", {"schema": {"type": "strin"}})

        assert caught.value.pointer == "/schema/type"
        assert service.describe("movies")["schema"] is None


class TestDrop:
    def test_a_dropped_collection_is_gone(self, service, movies, directory):
        """With its documents and its credentials."""
        service.drop("movies")

        assert service.collections() == []
        assert not (directory / "movies.json").exists()
        assert movies["read"] not in (directory / "connectome.credentials.json").read_text()
        with pytest.raises(Unauthorized):
            service.reader(movies["read"], "movies")

    def test_its_id_is_free(self, service, movies):
        """A new collection of that name has nothing of the old one."""
        service.drop("movies")
        keys = service.create(id="movies")["credentials"]

        assert keys["read"] != movies["read"]
        assert documents(service, keys["read"]) == []


class TestEmpty:
    def test_every_document_is_deleted(self, service):
        """The collection stays as it was made, without documents."""
        before = service.create(id="birds", title="Birds", schema={"type": "object"}, documents=[{}, {}])

        assert service.empty("birds") == 2
        assert {**service.describe("birds"), "size": 0} == {**before, "count": 0, "size": 0}

    def test_what_is_not_there_has_no_documents(self, service):
        """Neither side of it can be had, and ``in`` says so."""
        assert ("none" in service, None in service) == (False, False)
        with pytest.raises(NoSuchCollection):
            service.empty("none")
        with pytest.raises(NoSuchCollection):
            service.collection("none")


class TestRotate:
    @pytest.mark.parametrize(("role", "other", "side"), [("read", "write", "reader"), ("write", "read", "writer")])
    def test_the_old_credential_stops_at_once(self, service, movies, role, other, side):
        """The new one works, and the other role's stays."""
        fresh = service.rotate("movies", role)

        with pytest.raises(Unauthorized):
            getattr(service, side)(movies[role], "movies")
        getattr(service, side)(fresh, "movies")
        assert service.describe("movies")["credentials"] == {role: fresh, other: movies[other]}

    def test_a_fixed_credential_is_replaced_by_a_random_one(self, service):
        """Whatever the old one looked like."""
        service.create(id="mock", credentials={"read": "r"})

        assert service.rotate("mock", "read").startswith("cr_")


class TestIndexes:
    def test_an_index_makes_itself_when_a_path_is_asked_for_again(self, service, movies):
        """And is listed with its uses; nothing is pinned."""
        service.import_documents("movies", [{"n": n} for n in range(1_000)])
        reader = service.reader(movies["read"], "movies")

        stages = [reader.explain(Find(Filter({"n": 7}))).stage for _ in range(3)]

        assert stages == ["COLLSCAN", "IXSCAN", "IXSCAN"]
        (index,) = service.indexes("movies")
        assert (index.path, index.pinned, index.uses) == ("n", False, 3)
        assert index.bytes > 8_000

    def test_a_pinned_index_is_there_for_the_first_question(self, service, movies):
        """It does not have to be asked for twice."""
        service.import_documents("movies", [{"n": n} for n in range(1_000)])

        assert service.pin("movies", "n") == Index("n", True, 0, 0)
        assert service.reader(movies["read"], "movies").explain(Find(Filter({"n": 7}))).path == "n"

    def test_a_pinned_index_is_pinned_after_a_restart(self, service, movies, store):
        """The catalog remembers; what made itself is made again."""
        service.pin("movies", "n")
        service.pin("movies", "address.city")

        again = Service(store)

        assert [(index.path, index.pinned) for index in again.indexes("movies")] == [
            ("address.city", True),
            ("n", True),
        ]
        again.unpin("movies", "n")
        assert [index.path for index in Service(store).indexes("movies")] == ["address.city"]

    @pytest.mark.parametrize(
        ("path", "detail"),
        [
            ("", "a path names a field, and this one is empty"),
            ("a..b", "a path has no empty parts: 'a..b'"),
            ("cast.0.role", 'an index is of a path without positions, not "cast.0.role"'),
        ],
    )
    def test_a_path_that_can_have_no_index_is_refused(self, service, movies, path, detail):
        """It says why."""
        with pytest.raises(InvalidRequest) as caught:
            service.pin("movies", path)

        assert caught.value.detail == detail
        assert service.indexes("movies") == []

    def test_what_is_not_pinned_cannot_be_unpinned(self, service, movies):
        """It says so."""
        with pytest.raises(InvalidRequest) as caught:
            service.unpin("movies", "n")

        assert caught.value.detail == 'there is no pinned index of "n"'


class TestImport:
    def test_documents_are_added_to_those_that_are_there(self, service, movies):
        """The answer is how many."""
        assert service.import_documents("movies", [{"_id": 2}, {"_id": 3}]) == Loaded(2)
        assert [document["_id"] for document in documents(service, movies["read"])] == [1, 2, 3]

    def test_all_of_them_or_none(self, service, movies):
        """One that is refused keeps the others out."""
        with pytest.raises(DuplicateKey) as caught:
            service.import_documents("movies", [{"_id": 2}, {"_id": 1}])

        assert caught.value.pointer == "/1/_id"
        assert [document["_id"] for document in documents(service, movies["read"])] == [1]


class TestPersistence:
    def test_everything_is_there_after_a_restart(self, service, store, movies):
        """Catalog, credentials, schemas, documents, and the order of the collections."""
        service.create(id="birds", schema={"type": "object", "required": ["wings"]}, title="Vögel")
        service.create(id="all", schema=True)
        service.rotate("movies", "write")

        again = Service(store)

        assert unsized(again.collections()) == unsized(service.collections())
        assert documents(again, movies["read"]) == [{"_id": 1, "title": "Movie ABC"}]

    def test_a_schema_is_demanded_after_a_restart(self, service, store):
        """It belongs to the collection, not to the process."""
        keys = service.create(id="birds", schema={"required": ["wings"]})["credentials"]

        with pytest.raises(SchemaViolation):
            Service(store).writer(keys["write"], "birds").insert_one({})

    def test_credentials_lie_apart_from_everything_else(self, service, movies, directory):
        """In a file of their own, which only the owner can open."""
        holding = [file.name for file in directory.iterdir() if movies["read"] in file.read_text()]

        assert holding == ["connectome.credentials.json"]
        assert (directory / "connectome.credentials.json").stat().st_mode & 0o777 == 0o600

    def test_the_file_stays_closed_to_others_when_it_is_written_again(self, service, movies, directory):
        """A new file takes its place at every change."""
        service.rotate("movies", "read")

        assert (directory / "connectome.credentials.json").stat().st_mode & 0o777 == 0o600

    def test_the_administrators_token_is_made_once(self, service, store, directory):
        """It is kept in a file which only the owner can open."""
        token = service.administrator_token()

        assert token.startswith("ca_")
        assert len(token) == 35
        assert Service(store).administrator_token() == token
        assert (directory / "connectome.administrator.json").stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize(
        ("ledger", "content"),
        [
            ("credentials", {}),
            ("credentials", {"movies": {"read": "cr_x"}}),
            ("credentials", {"movies": "cr_x"}),
            ("catalog", {"movies": {}}),
            ("catalog", {"movies": 5}),
            ("catalog", {"movies": {"title": "x", "created": "x", "schema": {"type": "strin"}}}),
        ],
    )
    def test_a_catalog_that_cannot_be_understood_is_refused_by_name(
        self, service, store, movies, directory, ledger, content
    ):
        """A file that was edited by hand, or restored without the other: one clear sentence, not an accident."""
        (directory / f"connectome.{ledger}.json").write_text(json.dumps(content))

        with pytest.raises(StoreFailed) as caught:
            Service(store)

        assert f"connectome.{ledger}.json" in caught.value.detail


CHANGES: dict[str, Callable[[Service], Any]] = {
    "create": lambda service: service.create(id="birds", documents=[{"_id": 1}]),
    "rename": lambda service: service.change("movies", {"title": "Kino"}),
    "set a schema": lambda service: service.change("movies", {"schema": {"required": ["title"]}}),
    "drop": lambda service: service.drop("movies"),
    "rotate": lambda service: service.rotate("movies", "read"),
}


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have the disk be full for files of this name."""
    real = files.replace

    def full(name: str) -> None:
        def replace(disk: Files, path: Path, content: Any, **options: Any) -> int:
            if path.name == name:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(disk, path, content, **options)

        monkeypatch.setattr(files, "replace", replace)

    return full


class TestFailedSaves:
    @pytest.mark.parametrize(
        ("change", "file"),
        [
            ("create", "birds.json"),
            ("create", "connectome.catalog.json"),
            ("create", "connectome.credentials.json"),
            ("rename", "connectome.catalog.json"),
            ("set a schema", "connectome.catalog.json"),
            ("drop", "connectome.catalog.json"),
            ("rotate", "connectome.credentials.json"),
        ],
    )
    def test_everything_stays_as_it_was(self, service, store, movies, directory, full, change, file):
        """In memory and on disk: the same collections, the same credentials, the same documents, the same files."""
        before = unsized(service.collections())
        names = sorted(each.name for each in directory.iterdir() if ".journal." not in each.name)
        full(file)

        with pytest.raises(NoSpace):
            CHANGES[change](service)

        for each in (service, Service(store)):
            assert unsized(each.collections()) == before
            assert documents(each, movies["read"]) == [{"_id": 1, "title": "Movie ABC"}]
        assert sorted(each.name for each in directory.iterdir() if ".journal." not in each.name) == names
        assert not list(directory.glob("birds.*"))

    def test_what_the_catalog_dropped_is_dropped(self, service, store, movies, directory, full):
        """Credentials that cannot be taken from the disk open nothing, and come back with no restart."""
        full("connectome.credentials.json")

        service.drop("movies")

        for each in (service, Service(store)):
            assert each.collections() == []
            with pytest.raises(Unauthorized):
                each.reader(movies["read"], "movies")
        assert not (directory / "movies.json").exists()

    def test_a_schema_that_was_not_saved_is_not_demanded(self, service, movies, full):
        """A document that it would refuse is still taken."""
        full("connectome.catalog.json")
        with pytest.raises(NoSpace):
            service.change("movies", {"schema": {"required": ["title"]}})

        assert service.writer(movies["write"], "movies").insert_one({"_id": 2}) == 2

    @pytest.mark.parametrize("change", CHANGES)
    def test_the_change_works_once_there_is_room(self, service, store, movies, full, change, monkeypatch):
        """What failed can be tried again."""
        for file in ("connectome.catalog.json", "connectome.credentials.json"):
            full(file)
            if (change, file) in {
                ("rename", "connectome.credentials.json"),
                ("set a schema", "connectome.credentials.json"),
                ("rotate", "connectome.catalog.json"),
                ("drop", "connectome.credentials.json"),
            }:
                continue  # that file is not written, or does not decide
            with pytest.raises(NoSpace):
                CHANGES[change](service)
        monkeypatch.undo()

        CHANGES[change](service)

        assert unsized(Service(store).collections()) == unsized(service.collections())
