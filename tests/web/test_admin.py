"""Administration over HTTP, a collection's schema, and what a server leaves in its data directory."""

from __future__ import annotations

import re
import signal
import socket
import stat
from contextlib import suppress

import pytest
import requests
from tinydb import TinyDB

import connectome

MOVIE = {
    "type": "object",
    "required": ["title"],
    "properties": {"title": {"type": "string"}, "amount": {"type": "integer", "minimum": 0}},
}


def invalid(pointer, detail, *, code="BadValue"):
    """The problem with the body of an administration route."""
    return {
        "type": f"urn:connectome:{code}",
        "title": "The body is not what the operation takes",
        "status": 400,
        "detail": detail,
        "code": code,
        "pointer": pointer,
    }


def violation(*failures, **members):
    """The problem with documents that fail a schema; each failure is a detail and a pointer."""
    (detail, pointer), *others = failures
    return {
        "type": "urn:connectome:DocumentValidationFailure",
        "title": "The collection's schema is not satisfied",
        "status": 422,
        "detail": detail + (f" (and {len(others)} more)" if others else ""),
        "code": "DocumentValidationFailure",
        "pointer": pointer,
        "errors": [{"detail": detail, "pointer": pointer} for detail, pointer in failures],
        **members,
    }


class TestCreate:
    def test_everything_is_made(self, admin):
        """An empty object makes a collection: an id, a title, and two credentials of 192 random bits."""
        response = admin.request("POST", "", {})

        created = response.json()
        assert response.status_code == 201
        assert re.fullmatch("[0-9a-f]{12}", created["id"])
        assert re.fullmatch("cr_[A-Za-z0-9_-]{32}", created["credentials"]["read"])
        assert re.fullmatch("cw_[A-Za-z0-9_-]{32}", created["credentials"]["write"])
        assert created == {
            "id": created["id"],
            "title": created["id"],
            "created": created["created"],
            "count": 0,
            "size": created["size"],
            "schema": None,
            "credentials": created["credentials"],
        }

    def test_everything_is_given(self, admin):
        """The owner may choose the id, the title, the schema and both credentials."""
        body = {
            "id": "Given_1-x",
            "title": "Ünïcode ☃",
            "schema": MOVIE,
            "credentials": {"read": "reader-of-movies", "write": "writer.of~movies_1"},
        }

        created = admin.request("POST", "", body).json()

        assert created == {**body, "created": created["created"], "count": 0, "size": created["size"]}

    def test_fixed_credentials_open_the_collection(self, admin, server):
        """A mock server keeps the credentials that its clients have already."""
        admin.collection(id="mock", credentials={"read": "public", "write": "secret"})

        assert server.request("POST", "/collection/write/secret/mock", {"_id": 1}).json() == {"insertedId": 1}
        assert server.request("GET", "/collection/read/public/mock").json() == [{"_id": 1}]

    def test_one_credential_may_be_fixed(self, admin):
        """The other one is made."""
        created = admin.request("POST", "", {"credentials": {"read": "public"}}).json()

        assert created["credentials"]["read"] == "public"
        assert re.fullmatch("cw_[A-Za-z0-9_-]{32}", created["credentials"]["write"])

    @pytest.mark.parametrize("name", ["a", "0", "-", "_", "connectome", "A" * 64])
    def test_an_id_is_up_to_64_plain_characters(self, admin, name):
        """Letters, digits, hyphen and underscore; an administrator may drop what is called so again."""
        assert admin.request("POST", "", {"id": name}).json()["id"] == name
        assert admin.request("DELETE", f"/{name}").status_code == 204

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ("", '""'),
            ("a b", '"a b"'),
            ("a/b", '"a/b"'),
            ("..", '".."'),
            ("connectome.catalog", '"connectome.catalog"'),
            ("é", '"é"'),
            ("a\n", '"a\\n"'),
            ("A" * 65, '"' + "A" * 58 + "…"),
        ],
    )
    def test_what_is_no_id_is_400(self, admin, problem, name, shown):
        """An id becomes part of URLs and of a file's name: nothing else is let in."""
        refused = problem(admin.request("POST", "", {"id": name}))

        assert refused == invalid("/id", f"an id has 1 to 64 letters, digits, '_' and '-', and {shown} does not")

    @pytest.mark.parametrize("taken", ["Taken", "taken", "TAKEN"])
    def test_a_taken_id_is_409(self, admin, problem, taken):
        """An id that differs in case alone is taken too: file systems disagree on whether it is another."""
        if not any(each["id"] == "Taken" for each in admin.request("GET").json()):
            admin.collection(id="Taken")

        assert problem(admin.request("POST", "", {"id": taken})) == {
            "type": "urn:connectome:NamespaceExists",
            "title": "The collection's id is taken",
            "status": 409,
            "detail": "the id 'Taken' is taken",
            "code": "NamespaceExists",
        }

    @pytest.mark.parametrize("credential", ["", "-", "a b", "a/b", "é", "a?b", "A" * 257])
    @pytest.mark.parametrize("role", ["read", "write"])
    def test_what_is_no_credential_is_400(self, admin, problem, role, credential):
        """A credential stands in a URL as it is, and a lone hyphen means the header."""
        refused = problem(admin.request("POST", "", {"credentials": {role: credential}}))

        assert refused == invalid(
            f"/credentials/{role}",
            "a credential has 1 to 256 letters, digits, '.', '_', '~' and '-', and is not a lone '-'",
        )

    @pytest.mark.parametrize(
        ("body", "pointer", "detail"),
        [
            ({"id": 5}, "/id", "expected string, not 5"),
            ({"title": None}, "/title", "expected string, not null"),
            ({"schema": []}, "/schema", "expected object or boolean or null, not []"),
            ({"credentials": []}, "/credentials", "expected object, not []"),
            ({"credentials": {"read": 5}}, "/credentials/read", "expected string, not 5"),
        ],
    )
    def test_a_value_of_the_wrong_type_is_400(self, admin, problem, body, pointer, detail):
        """Each member has its type."""
        assert problem(admin.request("POST", "", body)) == invalid(pointer, detail)

    def test_a_refused_collection_is_not_there(self, admin, problem):
        """What was refused left no collection behind, and its id is free."""
        before = admin.request("GET").json()

        assert problem(admin.request("POST", "", {"id": "free", "schema": {"type": "strin"}}))["status"] == 400

        assert admin.request("GET").json() == before
        assert admin.request("POST", "", {"id": "free"}).status_code == 201


class TestDescribe:
    def test_one(self, admin, collection):
        """A collection is described with its count, its size in bytes and its credentials."""
        described = admin.describe(collection)

        assert described == {
            "id": collection.id,
            "title": collection.id,
            "created": described["created"],
            "count": 3,
            "size": sum(path.stat().st_size for path in collection.file.parent.glob(f"{collection.id}.*")),
            "schema": None,
            "credentials": {"read": collection.read_credential, "write": collection.write_credential},
        }
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", described["created"])

    def test_all_come_in_the_order_of_their_creation(self, admin, collection):
        """The list holds what each description holds."""
        other = admin.collection(title="Other")

        assert admin.request("GET").json()[-2:] == [admin.describe(collection), admin.describe(other)]


class TestChange:
    def test_the_title(self, admin, collection):
        """A new title changes nothing else."""
        before = admin.describe(collection)

        response = admin.request("PATCH", f"/{collection.id}", {"title": "Films"})

        assert (response.status_code, response.json()) == (200, {**before, "title": "Films"})
        assert admin.describe(collection) == {**before, "title": "Films"}

    def test_nothing(self, admin, collection):
        """An empty object is a change of nothing."""
        before = admin.describe(collection)

        assert admin.request("PATCH", f"/{collection.id}", {}).json() == before

    def test_the_schema(self, admin, collection):
        """A schema that the documents satisfy is set, and judges from then on."""
        assert admin.request("PATCH", f"/{collection.id}", {"schema": MOVIE}).json()["schema"] == MOVIE
        assert collection.call("write", {"title": 5}).status_code == 422

    def test_the_schema_may_be_lifted(self, admin):
        """With null there is no schema any more."""
        collection = admin.collection(schema=MOVIE)

        assert admin.request("PATCH", f"/{collection.id}", {"schema": None}).json()["schema"] is None
        assert collection.call("write", {"title": 5}).status_code == 201

    def test_a_schema_that_a_document_fails_is_refused_whole(self, admin, problem):
        """A schema that does not fit what is there is 422 with the document's _id, and nothing changes."""
        collection = admin.collection([{"_id": 1, "amount": 1}, {"_id": 2, "amount": "many"}], title="Before")
        before = admin.describe(collection)
        change = {"title": "After", "schema": {"properties": {"amount": {"type": "integer"}}}}

        refused = problem(admin.request("PATCH", f"/{collection.id}", change))

        assert refused == violation(('expected integer, not "many"', "/amount"), _id=2)
        assert admin.describe(collection) == before
        assert collection.call("write", {"amount": "few"}).status_code == 201


class TestDrop:
    def test_nothing_is_left(self, admin, collection, problem):
        """A dropped collection, its file and its credentials are gone."""
        response = admin.request("DELETE", f"/{collection.id}")

        assert (response.status_code, response.content) == (204, b"")
        assert not collection.file.exists()
        assert collection.id not in [each["id"] for each in admin.request("GET").json()]
        assert problem(admin.request("GET", f"/{collection.id}"))["status"] == 404
        assert problem(collection.call("read"))["status"] == 401
        for ledger in ("catalog", "credentials"):
            assert collection.id not in (collection.server.data / f"connectome.{ledger}.json").read_text()

    def test_the_id_is_free_again(self, admin):
        """A collection of the same id is another one: empty, with other credentials."""
        first = admin.collection([{"_id": 1}], id="again")
        admin.request("DELETE", "/again")

        second = admin.collection(id="again")

        assert second.documents == []
        assert first.call("read").status_code == 401


class TestEmpty:
    def test_every_document_is_gone(self, admin, collection):
        """The documents go; credentials, schema and title stay."""
        before = admin.describe(collection)

        response = admin.request("POST", f"/{collection.id}/empty")

        after = admin.describe(collection)
        assert (response.status_code, response.json()) == (200, {"deletedCount": 3})
        assert {key for key in before if before[key] != after[key]} == {"count", "size"}
        assert collection.documents == []

    def test_of_no_collection(self, admin, problem):
        """What is not there cannot be emptied."""
        assert problem(admin.request("POST", "/none/empty"))["status"] == 404


class TestRotate:
    def test_the_old_read_credential_stops_at_once(self, admin, collection, problem):
        """The answer is the new credential; the other role's stays."""
        response = admin.request("POST", f"/{collection.id}/credentials/read")

        fresh = response.json()["read"]
        assert (response.status_code, response.json()) == (200, {"read": fresh})
        assert re.fullmatch("cr_[A-Za-z0-9_-]{32}", fresh)
        assert problem(collection.call("read"))["status"] == 401
        assert collection.call("read", credential=fresh).status_code == 200
        assert collection.call("write", {}).status_code == 201
        assert admin.describe(collection)["credentials"] == {"read": fresh, "write": collection.write_credential}

    def test_the_old_write_credential_stops_at_once(self, admin, collection, problem):
        """So it is with the write credential."""
        fresh = admin.request("POST", f"/{collection.id}/credentials/write").json()["write"]

        assert re.fullmatch("cw_[A-Za-z0-9_-]{32}", fresh)
        assert problem(collection.call("write", {}))["status"] == 401
        assert collection.call("write", {}, credential=fresh).status_code == 201
        assert collection.call("read").status_code == 200


class TestIndexes:
    def test_an_index_is_pinned_listed_and_let_go(self, admin, collection):
        """The owner decides; a dot in a path is no part of the route."""
        pinned = admin.request("PUT", f"/{collection.id}/indexes/address.city")

        assert (pinned.status_code, pinned.json()) == (
            200,
            {"path": "address.city", "pinned": True, "uses": 0, "bytes": 0},
        )
        assert admin.request("GET", f"/{collection.id}/indexes").json() == [pinned.json()]
        assert admin.request("DELETE", f"/{collection.id}/indexes/address.city").status_code == 204
        assert admin.request("GET", f"/{collection.id}/indexes").json() == []

    def test_a_path_that_can_have_no_index_is_refused(self, admin, collection, problem):
        """With the reason."""
        response = admin.request("PUT", f"/{collection.id}/indexes/cast.0")

        assert response.status_code == 400
        assert problem(response)["detail"] == 'an index is of a path without positions, not "cast.0"'

    def test_it_needs_the_token(self, server, collection):
        """As all of administration."""
        assert server.request("GET", f"/-/admin/collections/{collection.id}/indexes").status_code == 401


class TestImport:
    def test_an_array_is_added(self, admin, collection):
        """The documents of a JSON array come after those that are there."""
        response = admin.request("POST", f"/{collection.id}/import", [{"_id": 1}, {"_id": 2}])

        assert (response.status_code, response.json()) == (
            201,
            {"insertedCount": 2, "skippedCount": 0, "replacedCount": 0},
        )
        assert collection.documents[3:] == [{"_id": 1}, {"_id": 2}]

    def test_lines_are_added(self, admin, collection):
        """With its own media type the body is NDJSON; blank lines are passed over."""
        headers = {"Content-Type": "application/x-ndjson"}

        response = admin.request("POST", f"/{collection.id}/import", '{"_id": 1}\n\n{"_id": 2}\n', headers=headers)

        assert response.json() == {"insertedCount": 2, "skippedCount": 0, "replacedCount": 0}
        assert collection.documents[3:] == [{"_id": 1}, {"_id": 2}]

    @pytest.mark.parametrize(
        ("body", "headers", "status", "pointer"),
        [
            ([{"_id": 1}, {"_id": 1}], {}, 409, "/1/_id"),
            ([{"_id": 1}, 5], {}, 400, "/1"),
            ({"_id": 1}, {}, 400, ""),
            ('{"_id": 1}\n{"_id": NaN}', {"Content-Type": "application/x-ndjson"}, 400, "/1/_id"),
            ('{"_id": 1}\n{"_id":', {"Content-Type": "application/x-ndjson"}, 400, "/1"),
        ],
    )
    def test_all_or_none(self, admin, collection, problem, body, headers, status, pointer):
        """One document that is refused stops the import, and nothing of it is kept."""
        refused = problem(admin.request("POST", f"/{collection.id}/import", body, headers=headers))

        assert (refused["status"], refused["pointer"]) == (status, pointer)
        assert len(collection.documents) == 3


class TestHealth:
    def test_it_is_told_without_a_token(self, server):
        """Whoever asks learns that the server is well, its version and its store."""
        response = server.request("GET", "/-/health")

        assert response.status_code == 200
        assert response.json() == {"status": "ok", "version": connectome.__version__, "store": "embedded"}


class TestSchema:
    @pytest.fixture
    def movies(self, admin):
        """A collection with a schema, and one document that satisfies it."""
        return admin.collection([{"_id": 7, "title": "Movie ABC", "amount": 1}], schema=MOVIE)

    def test_each_failure_of_a_document_is_told(self, movies, problem):
        """A document that fails twice is told both, with the place of each."""
        refused = problem(movies.call("write", {"title": 5, "amount": -1}))

        assert refused == violation(
            ("expected string, not 5", "/title"), ("expected a number of at least 0, not -1", "/amount")
        )

    def test_each_failure_of_a_batch_is_told(self, movies, problem):
        """In a batch the place starts with the position of the document; none of the batch is kept."""
        refused = problem(movies.call("batchwrite", [{"title": 5}, {"title": "fine"}, {"amount": "x", "title": "a"}]))

        assert refused == violation(("expected string, not 5", "/0/title"), ('expected integer, not "x"', "/2/amount"))
        assert movies.documents == [{"_id": 7, "title": "Movie ABC", "amount": 1}]

    def test_a_missing_field_is_told(self, movies, problem):
        """What is not there has the place of its document."""
        assert problem(movies.call("write", {})) == violation(("'title' is a required property", ""))

    def test_an_update_is_judged_by_what_it_makes(self, movies, problem):
        """A document that an update would break is named, and stays."""
        refused = problem(movies.call("updatewithupsert", {"search query": {}, "data": {"$inc": {"amount": -5}}}))

        assert refused == violation(("expected a number of at least 0, not -4", "/amount"), _id=7)
        assert movies.documents == [{"_id": 7, "title": "Movie ABC", "amount": 1}]

    def test_an_update_that_breaks_one_document_changes_none(self, movies, problem):
        """Of two documents one would be broken: neither is changed."""
        movies.call("write", {"_id": 8, "title": "Rich", "amount": 100})
        before = movies.documents

        refused = problem(movies.call("updatewithupsert", {"search query": {}, "data": {"$inc": {"amount": -5}}}))

        assert refused["_id"] == 7
        assert movies.documents == before

    def test_an_upsert_is_judged_by_what_it_makes(self, movies, problem):
        """A document that an upsert would create is judged as one that is written."""
        body = {"search query": {"amount": 5}, "data": {"title": 9}, "upsert": True}

        refused = problem(movies.call("updatewithupsert", body))

        assert (refused["status"], refused["code"]) == (422, "DocumentValidationFailure")
        assert refused["errors"] == [{"detail": "expected string, not 9", "pointer": "/title"}]
        assert len(movies.documents) == 1

    def test_an_import_is_judged_too(self, admin, movies, problem):
        """No way into a collection leads round its schema."""
        refused = problem(admin.request("POST", f"/{movies.id}/import", [{"title": "fine"}, {"title": 5}]))

        assert refused == violation(("expected string, not 5", "/1/title"))
        assert len(movies.documents) == 1

    def test_a_schema_sees_extended_json(self, admin, problem):
        """To a schema a date is ``{"$date": …}``, and the schema may say so."""
        released = {"type": "object", "required": ["$date"], "properties": {"$date": {"type": "string"}}}
        collection = admin.collection(schema={"properties": {"released": released}})

        assert collection.call("write", {"released": {"$date": "2020-01-02"}}).status_code == 201
        refused = problem(collection.call("write", {"released": "2020-01-02"}))
        assert refused == violation(('expected object, not "2020-01-02"', "/released"))

    def test_a_schema_may_name_a_value_of_extended_json(self, admin, problem):
        """A constant is compared with the document as it travels."""
        owner = {"const": {"$oid": "57e193d7a9cc81b4027498b5"}}
        collection = admin.collection(schema={"properties": {"owner": owner}})

        assert admin.describe(collection)["schema"] == {"properties": {"owner": owner}}
        assert collection.call("write", {"owner": owner["const"]}).status_code == 201
        assert problem(collection.call("write", {"owner": "57e193d7a9cc81b4027498b5"}))["pointer"] == "/owner"

    def test_a_reference_within_the_schema_is_followed(self, admin, problem):
        """``$ref`` leads to a definition in the schema itself."""
        schema = {"$defs": {"name": {"type": "string"}}, "additionalProperties": {"$ref": "#/$defs/name"}}
        collection = admin.collection(schema=schema)

        assert problem(collection.call("write", {"_id": "a", "b": 5}))["pointer"] == "/b"

    def test_nothing_is_fetched_from_the_network(self, admin, problem):
        """A ``$ref`` to a URL is refused when the schema is set, and nobody is asked for it."""
        with socket.create_server(("127.0.0.1", 0)) as elsewhere:
            elsewhere.setblocking(False)
            url = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/schema.json"

            refused = problem(admin.request("POST", "", {"schema": {"properties": {"a": {"$ref": url}}}}))

            with pytest.raises(BlockingIOError):
                elsewhere.accept()
        assert (refused["status"], refused["code"]) == (400, "InvalidSchema")
        assert refused["detail"] == (
            f'not a JSON Schema: $ref "{url}" leads to no schema in this schema, and nothing is fetched from elsewhere'
        )
        assert refused["pointer"].startswith("/schema")

    @pytest.mark.parametrize(
        ("schema", "pointer"),
        [
            ({"type": "strin"}, "/schema/type"),
            ({"properties": {"a": {"minimum": "0"}}}, "/schema/properties/a/minimum"),
            ({"properties": {"a": {"pattern": "("}}}, "/schema/properties/a/pattern"),
            ({"$schema": "http://json-schema.org/draft-04/schema#"}, "/schema/$schema"),
            ({"$schema": 5}, "/schema/$schema"),
        ],
    )
    def test_what_is_no_schema_is_400(self, admin, collection, problem, schema, pointer):
        """A schema is judged when it is set, at creation and later."""
        for response in (
            admin.request("POST", "", {"schema": schema}),
            admin.request("PATCH", f"/{collection.id}", {"schema": schema}),
        ):
            refused = problem(response)
            assert (refused["status"], refused["code"], refused["pointer"]) == (400, "InvalidSchema", pointer)
        assert admin.describe(collection)["schema"] is None

    @pytest.mark.parametrize(
        "schema",
        [
            {"$ref": "#"},
            {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
            {"$ref": "#/type", "type": "object"},
            {"$ref": "#/nowhere"},
            {"$ref": "#nowhere"},
        ],
        ids=["itself", "in a circle", "no schema", "nowhere", "no anchor"],
    )
    def test_a_reference_that_leads_to_no_schema_is_400(self, admin, problem, schema):
        """A schema that could never judge a document is refused when it is set, not when a document comes."""
        refused = problem(admin.request("POST", "", {"schema": schema}))

        assert (refused["status"], refused["code"]) == (400, "InvalidSchema")

    def test_a_schema_may_refer_to_itself_for_what_lies_below(self, admin, problem):
        """A circle that goes down into the document ends with the document."""
        tree = {"properties": {"name": {"type": "string"}, "kids": {"type": "array", "items": {"$ref": "#"}}}}
        collection = admin.collection(schema=tree)

        refused = problem(collection.call("write", {"kids": [{"kids": [{"name": "leaf"}, {"name": 5}]}]}))

        assert refused == violation(("expected string, not 5", "/kids/0/kids/1/name"))

    def test_a_schema_may_be_a_boolean(self, admin, problem):
        """``false`` lets no document in."""
        collection = admin.collection(schema=False)

        assert problem(collection.call("write", {}))["status"] == 422


class TestDataDirectory:
    def test_secrets_are_for_the_owner_alone(self, server, collection):
        """Credentials and the administrator's token lie in files of mode 0600."""
        for name in ("connectome.credentials.json", "connectome.administrator.json"):
            assert stat.S_IMODE((server.data / name).stat().st_mode) == 0o600

    def test_secrets_lie_apart_from_documents(self, server, collection):
        """No other file of the data directory holds a credential."""
        holding = [
            path.name
            for path in server.data.iterdir()
            if collection.write_credential in path.read_text(errors="replace")
        ]

        assert holding == ["connectome.credentials.json"]

    def test_the_administrators_token_is_a_good_one(self, admin):
        """The token that is made holds 192 random bits."""
        assert re.fullmatch("ca_[A-Za-z0-9_-]{32}", admin.token)

    def test_plain_tinydb_reads_the_documents(self, servers, tmp_path):
        """Once the server has stopped, its files are TinyDB's own."""
        documents = [
            {"_id": 1, "title": "Movie ☃", "size": {"w": 1.5}, "at": {"$date": "2020-01-02T03:04:05Z"}},
            {"_id": {"$oid": "57e193d7a9cc81b4027498b5"}, "tags": ["a", None, True]},
            {"_id": 3},
        ]
        with servers(tmp_path) as server:
            collection = server.admin.collection(documents, id="movies")
            collection.call("updatewithupsert", {"search query": {"_id": 1}, "data": {"seen": True}})
            collection.call("batchdelete", {"_id": 3})

        with TinyDB(tmp_path / "movies.json") as database:
            assert database.all() == [{**documents[0], "seen": True}, documents[1]]


class TestRestart:
    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
    def test_everything_that_was_answered_is_there_again(self, servers, tmp_path, how):
        """Documents, their order and types, titles, schemas, credentials and the token survive either end."""
        with servers(tmp_path) as server:
            movies = server.admin.collection([{"_id": 1, "n": 1}, {"_id": 2, "n": 2.0}], id="movies", title="Movies")
            other = server.admin.collection(schema=MOVIE)
            dropped = server.admin.collection([{}])
            movies.call("updatewithupsert", {"search query": {"_id": 1}, "data": {"$inc": {"n": 4}}})
            movies.call(
                "updatewithupsert", {"search query": {"_id": 3}, "data": {"n": {"$numberLong": "3"}}, "upsert": True}
            )
            movies.call("batchdelete", {"_id": 2})
            movies.call("write", {"z": {"$date": "2020-01-02T00:00:00Z"}, "a": 1})
            server.admin.request("DELETE", f"/{dropped.id}")
            rotated = server.admin.request("POST", "/movies/credentials/write").json()["write"]
            token, described = server.admin.token, server.admin.request("GET").json()
            canonical = {"headers": {"Accept": "application/ejson"}}
            documents = movies.call("read", **canonical).text
            server.end(how)

        with servers(tmp_path) as server:
            movies.server = other.server = server
            assert server.admin.token == token
            assert [{**each, "size": 0} for each in server.admin.request("GET").json()] == [
                {**each, "size": 0} for each in described
            ]
            assert movies.call("read", **canonical).text == documents
            assert movies.call("write", {}).status_code == 401
            assert movies.call("write", {"_id": 1}, credential=rotated).status_code == 409
            assert movies.call("write", {"_id": 4}, credential=rotated).status_code == 201
            assert other.call("write", {"title": 5}).status_code == 422

    def test_a_killed_server_left_whole_batches(self, servers, tmp_path):
        """A server that is killed while it writes has kept all that it answered, and no part of a batch."""
        with servers(tmp_path) as server:
            collection = server.admin.collection(id="movies")
            answered = 0
            with suppress(requests.ConnectionError):
                while collection.call("batchwrite", [{"batch": answered}] * 100).status_code == 201:
                    answered += 1
                    if answered == 5:
                        server.process.send_signal(signal.SIGKILL)
            assert server.end() == -signal.SIGKILL

        with servers(tmp_path) as server:
            collection.server = server
            kept = len(collection.documents)
            assert kept % 100 == 0
            assert kept // 100 in (answered, answered + 1)

    def test_a_server_ends_well(self, servers, tmp_path):
        """SIGTERM and Ctrl+C end a server with status 0 and without noise, and another may take its place."""
        for how in (signal.SIGTERM, signal.SIGINT):
            with servers(tmp_path) as server:
                assert server.request("GET", "/-/health").status_code == 200
                assert server.end(how) == 0

    def test_credentials_are_not_logged(self, servers, tmp_path):
        """Nothing that clients send or get is found in the server's output."""
        with servers(tmp_path) as server:
            collection = server.admin.collection([{"title": "private"}])
            collection.call("read")
            collection.call("read", credential="cr_wrong")
            collection.call("readwithquery", {"query": {"a": {"$gtt": 1}}})

        for secret in (collection.read_credential, collection.write_credential, "cr_wrong", "private"):
            assert secret not in server.output
