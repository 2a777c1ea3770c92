"""Refusals: every route against everything that can be wrong with a request, each a problem as RFC 9457 has it."""

from __future__ import annotations

import errno
import os

import pytest
import requests

from connectome.config import Settings
from connectome.query.deadline import deadline
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import create_app
from connectome.web.api import OPERATIONS

# Operation → method, role, a body that it takes.
CALLS = {
    "readwithquery": ("POST", "read", {}),
    "read": ("GET", "read", ""),
    "write": ("POST", "write", {}),
    "batchwrite": ("POST", "write", []),
    "updatewithupsert": ("POST", "write", {"search query": {}, "data": {"a": 1}}),
    "batchdelete": ("DELETE", "write", {"a": "nothing"}),
}
WITH_BODY = [name for name in CALLS if name != "read"]
# What lies below /-/admin/collections: path → methods.
ADMIN_PATHS = {
    "": {"GET", "POST"},
    "/{id}": {"GET", "PATCH", "DELETE"},
    "/{id}/credentials": {"GET", "POST"},
    "/{id}/credentials/read": {"POST", "DELETE"},
    "/{id}/credentials/write": {"POST", "DELETE"},
    "/{id}/import": {"POST"},
}
ADMIN_CALLS = [(method, path) for path, methods in ADMIN_PATHS.items() for method in sorted(methods)]
ADMIN_WITH_BODY = [("POST", ""), ("PATCH", "/{id}"), ("POST", "/{id}/import")]
ALL_METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}

MALFORMED = {
    "type": "urn:connectome:InvalidJSON",
    "title": "The body is not the JSON that is accepted",
    "status": 400,
    "detail": "malformed JSON in line 1, column 9: expected value, not the end",
    "code": "InvalidJSON",
}
UNAUTHORIZED = {
    "type": "urn:connectome:Unauthorized",
    "title": "The credential is not valid",
    "status": 401,
    "detail": "the credential is not valid for this collection",
    "code": "Unauthorized",
}


def allowed(methods):
    """What Allow says of a route with these methods."""
    return methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


def said(response):
    """The headers of a response that do not hang on the moment."""
    return {
        name.lower(): value for name, value in response.headers.items() if name.lower() not in ("date", "connection")
    }


class TestEveryOperation:
    def test_no_operation_is_left_out(self):
        """The table above knows every operation that is declared, with its method and role."""
        assert {name: (each.method, each.role) for name, each in OPERATIONS.items()} == {
            name: (method, role) for name, (method, role, _) in CALLS.items()
        }

    @pytest.mark.parametrize(
        ("operation", "method"),
        [(name, wrong) for name, (method, _, _) in CALLS.items() for wrong in sorted(ALL_METHODS - {method})],
    )
    def test_the_wrong_method_is_405(self, collection, server, problem, operation, method):
        """A method that the operation does not have is refused, and Allow names those that it has."""
        expected = CALLS[operation][0]

        response = server.request(method, collection.path(operation), {})

        assert {*response.headers["Allow"].split(", ")} == allowed({expected})
        refused = problem(response)
        assert (refused["status"], refused["code"]) == (405, "MethodNotAllowed")
        assert refused["detail"].startswith(f"{method} is not a method of this route: expected ")
        assert expected in refused["detail"]

    @pytest.mark.parametrize("operation", CALLS)
    def test_the_wrong_credential_is_401(self, collection, problem, operation):
        """A credential that opens nothing is refused, with a challenge as HTTP wants it."""
        response = collection.call(operation, CALLS[operation][2], credential="cr_none")

        assert problem(response) == UNAUTHORIZED
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="Connectome"'

    @pytest.mark.parametrize("operation", CALLS)
    def test_the_wrong_credential_in_the_header_is_401(self, collection, problem, operation):
        """The header's credential is judged as that of the path."""
        headers = {"Authorization": "Bearer cr_none"}

        response = collection.call(operation, CALLS[operation][2], credential="-", headers=headers)

        assert problem(response) == UNAUTHORIZED

    @pytest.mark.parametrize("operation", CALLS)
    def test_a_collection_that_is_not_there_answers_as_one_that_is(self, collection, server, operation):
        """Nobody learns which collections exist: the answer is the same to the letter."""
        method, _, body = CALLS[operation]

        there = server.request(method, f"/collection/{operation}/nonsense/{collection.id}", body)
        nowhere = server.request(method, f"/collection/{operation}/nonsense/nowhere", body)

        assert (there.status_code, nowhere.status_code) == (401, 401)
        assert there.content == nowhere.content
        # A server may close a connection of which it has not read all: that hangs on when the body comes in.
        assert said(there) == said(nowhere)

    @pytest.mark.parametrize("operation", CALLS)
    def test_the_credential_of_the_other_role_is_403(self, collection, problem, operation):
        """A reader cannot write with its credential, nor a writer read."""
        _, role, body = CALLS[operation]
        other = collection.write_credential if role == "read" else collection.read_credential

        refused = problem(collection.call(operation, body, credential=other))

        assert refused == {
            "type": "urn:connectome:Forbidden",
            "title": "The credential is for the other role",
            "status": 403,
            "detail": f"this operation needs the {role} credential, "
            f"and this is the {'write' if role == 'read' else 'read'} credential",
            "code": "Forbidden",
        }

    @pytest.mark.parametrize("operation", WITH_BODY)
    def test_a_malformed_body_is_400(self, collection, problem, operation):
        """JSON that ends too early is refused, with the place where it does."""
        assert problem(collection.call(operation, '{"query":')) == {
            **MALFORMED,
            "detail": "malformed JSON in line 1, column 10: expected value, not the end",
        }

    @pytest.mark.parametrize("operation", WITH_BODY)
    def test_no_body_is_400(self, collection, problem, operation):
        """An operation with a body refuses a request without one."""
        refused = problem(collection.call(operation))

        assert (refused["status"], refused["code"]) == (400, "BadValue")
        assert refused["detail"] == "a JSON body was expected, and none came"

    @pytest.mark.parametrize("operation", WITH_BODY)
    @pytest.mark.parametrize("body", ["5", "null", '"text"', "true"])
    def test_a_body_of_another_type_is_400(self, collection, problem, operation, body):
        """A body is the object, or the array, that the operation takes."""
        refused = problem(collection.call(operation, body))

        assert refused == {
            "type": "urn:connectome:BadValue",
            "title": "The body is not what the operation takes",
            "status": 400,
            "detail": f"expected {'array' if operation == 'batchwrite' else 'object'}, not {body}",
            "code": "BadValue",
            "pointer": "",
        }

    @pytest.mark.parametrize(
        ("operation", "body", "pointer", "detail"),
        [
            ("readwithquery", {"qeury": {}}, "/qeury", "unknown key 'qeury'; did you mean 'query'?"),
            ("readwithquery", {"query": {}, "limt": 1}, "/limt", "unknown key 'limt'; did you mean 'limit'?"),
            (
                "readwithquery",
                {"$$$": {}},
                "/$$$",
                "unknown key '$$$'; expected 'query', 'project', 'sort', 'skip', 'limit'",
            ),
            (
                "updatewithupsert",
                {"search query": {}, "data": {"a": 1}, "upset": True},
                "/upset",
                "unknown key 'upset'; did you mean 'upsert'?",
            ),
            (
                "updatewithupsert",
                {"searchquery": {}, "data": {"a": 1}},
                "/searchquery",
                "unknown key 'searchquery'; did you mean 'search query'?",
            ),
            (
                "updatewithupsert",
                {"search_query": {}, "data": {"a": 1}},
                "/search_query",
                "unknown key 'search_query'; did you mean 'search query'?",
            ),
        ],
    )
    def test_an_unknown_key_is_400(self, collection, problem, operation, body, pointer, detail):
        """A misspelt key is never passed over: the problem names the nearest one that is known."""
        refused = problem(collection.call(operation, body))

        assert (refused["status"], refused["pointer"], refused["detail"]) == (400, pointer, detail)

    @pytest.mark.parametrize(
        ("body", "detail"),
        [
            ({"data": {"a": 1}}, "'search query' is a required property"),
            ({"search query": {}}, "'data' is a required property"),
        ],
    )
    def test_a_missing_key_is_400(self, collection, problem, body, detail):
        """The two keys that every update has are named where they are missing."""
        refused = problem(collection.call("updatewithupsert", body))

        assert (refused["status"], refused["pointer"], refused["detail"]) == (400, "", detail)


class TestEveryAdministrationRoute:
    @pytest.mark.parametrize(
        ("path", "method"),
        [(path, wrong) for path, methods in ADMIN_PATHS.items() for wrong in sorted(ALL_METHODS - methods)],
    )
    def test_the_wrong_method_is_405(self, admin, collection, problem, path, method):
        """A method that the route does not have is refused, and Allow names those that it has."""
        response = admin.request(method, path.format(id=collection.id), {})

        assert {*response.headers["Allow"].split(", ")} == allowed(ADMIN_PATHS[path])
        assert problem(response)["status"] == 405

    @pytest.mark.parametrize("method", sorted(ALL_METHODS - {"GET"}))
    def test_health_is_only_read(self, server, problem, method):
        """The server's health has GET alone."""
        response = server.request(method, "/-/health")

        assert {*response.headers["Allow"].split(", ")} == {"GET", "HEAD", "OPTIONS"}
        assert problem(response)["status"] == 405

    @pytest.mark.parametrize(
        ("headers", "detail"),
        [
            ({}, "administration needs a token, and no 'Authorization: Bearer …' came"),
            ({"Authorization": "Bearer ca_none"}, "this is not the administrator's token"),
            (
                {"Authorization": "Basic YWRtaW46YWRtaW4="},
                "administration needs a token, and no 'Authorization: Bearer …' came",
            ),
        ],
        ids=["no token", "wrong token", "wrong scheme"],
    )
    @pytest.mark.parametrize(("method", "path"), ADMIN_CALLS)
    def test_the_wrong_token_is_401(self, server, collection, problem, method, path, headers, detail):
        """Who is not the administrator gets nowhere, and changes nothing."""
        response = server.request(
            method, "/-/admin/collections" + path.format(id=collection.id), {"title": "taken over"}, headers=headers
        )

        assert problem(response) == {**UNAUTHORIZED, "detail": detail}
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="Connectome"'
        assert server.admin.describe(collection)["title"] == collection.id

    def test_a_token_that_is_not_ascii_is_401(self, server, problem):
        """It is no token, or, to a server that hands on no such header, none at all."""
        response = server.request("GET", "/-/admin/collections", headers={"Authorization": "Bearer ☃".encode()})

        assert problem(response)["status"] == 401

    @pytest.mark.parametrize("role", ["read", "write"])
    @pytest.mark.parametrize(("method", "path"), ADMIN_CALLS)
    def test_a_collections_credential_is_no_token(self, server, collection, problem, method, path, role):
        """The keys of a collection do not administer it."""
        token = collection.read_credential if role == "read" else collection.write_credential

        response = server.request(
            method,
            "/-/admin/collections" + path.format(id=collection.id),
            headers={"Authorization": f"Bearer {token}"},
        )

        assert problem(response) == {**UNAUTHORIZED, "detail": "this is not the administrator's token"}

    @pytest.mark.parametrize(("method", "path"), ADMIN_WITH_BODY)
    def test_a_malformed_body_is_400(self, admin, collection, problem, method, path):
        """JSON that ends too early is refused, with the place where it does."""
        assert problem(admin.request(method, path.format(id=collection.id), '{"title"')) == {
            **MALFORMED,
            "detail": "malformed JSON in line 1, column 9: expected ':' delimiter, not the end",
        }

    @pytest.mark.parametrize(("method", "path"), ADMIN_WITH_BODY)
    def test_no_body_is_400(self, admin, collection, problem, method, path):
        """A route with a body refuses a request without one."""
        assert problem(admin.request(method, path.format(id=collection.id)))["status"] == 400

    @pytest.mark.parametrize(("method", "path"), ADMIN_WITH_BODY)
    def test_a_body_of_another_type_is_400(self, admin, collection, problem, method, path):
        """A body is an object, and of an import an array."""
        assert problem(admin.request(method, path.format(id=collection.id), "5"))["status"] == 400

    @pytest.mark.parametrize(("method", "path"), ADMIN_WITH_BODY)
    def test_a_compressed_body_is_415(self, admin, collection, problem, method, path):
        """A body with a Content-Encoding is refused here too."""
        response = admin.request(method, path.format(id=collection.id), {}, headers={"Content-Encoding": "br"})

        assert problem(response)["status"] == 415

    @pytest.mark.parametrize(
        ("method", "path", "body", "pointer", "detail"),
        [
            ("POST", "", {"idd": "movies"}, "/idd", "unknown key 'idd'; did you mean 'id'?"),
            ("POST", "", {"tilte": "Movies"}, "/tilte", "unknown key 'tilte'; did you mean 'title'?"),
            (
                "POST",
                "",
                {"credentials": {"reed": "x"}},
                "/credentials/reed",
                "unknown key 'reed'; did you mean 'read'?",
            ),
            ("PATCH", "/{id}", {"shema": {}}, "/shema", "unknown key 'shema'; did you mean 'schema'?"),
            ("PATCH", "/{id}", {"id": "other"}, "/id", "unknown key 'id'; expected 'title', 'schema'"),
        ],
    )
    def test_an_unknown_key_is_400(self, admin, collection, problem, method, path, body, pointer, detail):
        """A misspelt key is never passed over."""
        refused = problem(admin.request(method, path.format(id=collection.id), body))

        assert (refused["status"], refused["pointer"], refused["detail"]) == (400, pointer, detail)

    @pytest.mark.parametrize(("method", "path"), [call for call in ADMIN_CALLS if call[1]])
    def test_a_collection_that_is_not_there_is_404(self, admin, problem, method, path):
        """The administrator may know what exists, and is told that this does not."""
        response = admin.request(method, path.format(id="nowhere"), {})

        assert problem(response) == {
            "type": "urn:connectome:NamespaceNotFound",
            "title": "No such collection",
            "status": 404,
            "detail": "there is no collection 'nowhere'",
            "code": "NamespaceNotFound",
        }

    def test_a_misspelt_collection_is_named(self, admin, problem):
        """The nearest collection that is there is offered."""
        admin.collection(id="misspelt-often")

        refused = problem(admin.request("GET", "/mispelt-often"))

        assert refused["detail"] == "there is no collection 'mispelt-often'; did you mean 'misspelt-often'?"


class TestRoutes:
    @pytest.mark.parametrize(
        "path",
        [
            "/collection",
            "/collection/read",
            "/collection/read/{credential}",
            "/collection/raed/{credential}/{id}",
            "/collection/READ/{credential}/{id}",
            "/collection/read/{credential}/{id}/more",
            "/collections/read/{credential}/{id}",
            "/{credential}",
            "/-",
            "/-/admin",
            "/-/admin/nothing",
            "/-/admin/collections/{id}/nothing",
            "/-/admin/collections/{id}/credentials/read/more",
            "/-/healthy",
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_an_unknown_route_is_404(self, server, collection, problem, method, path):
        """A path that is no route says which are, and does not repeat what came."""
        response = server.request(method, path.format(credential=collection.read_credential, id=collection.id))

        assert problem(response) == {
            "type": "urn:connectome:NotFound",
            "title": "Not Found",
            "status": 404,
            "detail": "there is nothing at this path: expected /collection/<operation>/<credential>/<collection>, "
            "/-/admin/collections or /-/health",
            "code": "NotFound",
        }

    @pytest.mark.parametrize("path", ["/collection//read/{credential}/{id}", "/collection/read//{credential}/{id}"])
    def test_a_doubled_slash_gives_no_credential_away(self, server, collection, path):
        """No redirect repeats a URL that holds a credential, in its body or its Location."""
        path = path.format(credential=collection.read_credential, id=collection.id)

        response = server.request("GET", path, allow_redirects=False)

        assert collection.read_credential not in response.text + response.headers.get("Location", "")

    @pytest.mark.parametrize("credential", ["%00", "%FF%FE", "%2e%2e", "a%0d%0ab", "%F0%9F%90%A6"])
    def test_a_strange_credential_is_401(self, server, collection, problem, credential):
        """Whatever bytes stand in the place of a credential are no credential."""
        assert problem(server.request("GET", f"/collection/read/{credential}/{collection.id}")) == UNAUTHORIZED


class TestPointers:
    @pytest.mark.parametrize(
        ("body", "code", "pointer"),
        [
            ({"query": {"a": {"$gtt": 1}}}, "BadValue", "/query/a/$gtt"),
            ({"query": {"$or": [{}, {"n": {"$gtt": 1}}]}}, "BadValue", "/query/$or/1/n/$gtt"),
            ({"query": {"a/b~c": {"$gtt": 1}}}, "BadValue", "/query/a~1b~0c/$gtt"),
            ({"query": {"a": {"$elemMatch": {"b": {"$in": 5}}}}}, "BadValue", "/query/a/$elemMatch/b/$in"),
            ({"query": {"a": {"$not": {"$size": -1}}}}, "BadValue", "/query/a/$not/$size"),
            ({"query": {"$where": "true"}}, "BadValue", "/query/$where"),
            ({"query": []}, "BadValue", "/query"),
            ({"project": {"a": 1, "b": 0}}, "Location31254", "/project/b"),
            ({"project": {"a": 1, "a.b": 1}}, "Location31249", "/project/a.b"),
            ({"sort": {"a": 2}}, "Location15975", "/sort/a"),
            ({"sort": [["a", 1], ["b"]]}, "BadValue", "/sort/1"),
            ({"sort": [["a", "up"]]}, "Location15974", "/sort/0"),
            ({"sort": "a"}, "BadValue", "/sort"),
            ({"skip": -1}, "BadValue", "/skip"),
            ({"limit": "ten"}, "BadValue", "/limit"),
            ({"limit": True}, "BadValue", "/limit"),
            ({"limit": 1.5}, "BadValue", "/limit"),
            ('{"query": {"a": NaN}}', "InvalidJSON", "/query/a"),
        ],
    )
    def test_a_read_is_refused_at_its_place(self, admin, problem, body, code, pointer):
        """The pointer leads to what is wrong in the body, also where the collection is empty."""
        refused = problem(admin.collection().call("readwithquery", body))

        assert (refused["status"], refused["code"], refused["pointer"]) == (400, code, pointer)

    def test_a_refusal_in_full(self, collection, problem):
        """What was expected and what came, MongoDB's name for it, and the place."""
        assert problem(collection.call("readwithquery", {"query": {"$or": [{"n": {"$gtt": 1}}]}})) == {
            "type": "urn:connectome:BadValue",
            "title": "The query is wrong",
            "status": 400,
            "detail": "unknown operator: $gtt; did you mean $gt?",
            "code": "BadValue",
            "pointer": "/query/$or/0/n/$gtt",
        }

    @pytest.mark.parametrize(
        ("query", "data", "code", "pointer"),
        [
            ({"a": {"$gtt": 1}}, {"b": 1}, "BadValue", "/search query/a/$gtt"),
            ({}, {"$st": {"a": 1}}, "FailedToParse", "/data/$st"),
            ({}, {"$set": {"a": 1}, "b": 1}, "FailedToParse", "/data/b"),
            ({}, {"b": 1, "$set": {"a": 1}}, "FailedToParse", "/data/b"),
            ({}, {"$set": 5}, "FailedToParse", "/data/$set"),
            ({}, {"$inc": {"a": "1"}}, "TypeMismatch", "/data/$inc/a"),
            ({}, {"a": 1, "a.b": 2}, "ConflictingUpdateOperators", "/data/a.b"),
            ({}, {"$pull": {"a": {"$gtt": 1}}}, "BadValue", "/data/$pull/a/$gtt"),
            ({}, 5, "BadValue", "/data"),
            ([], {"b": 1}, "BadValue", "/search query"),
        ],
    )
    def test_an_update_is_refused_at_its_place(self, admin, problem, query, data, code, pointer):
        """An update that can never be right is refused where nothing matches too."""
        refused = problem(admin.collection().call("updatewithupsert", {"search query": query, "data": data}))

        assert (refused["status"], refused["code"], refused["pointer"]) == (400, code, pointer)

    @pytest.mark.parametrize(
        ("data", "code", "pointer"),
        [
            ({"$inc": {"title": 1}}, "TypeMismatch", "/data/$inc/title"),
            ({"$push": {"amount": 1}}, "BadValue", "/data/$push/amount"),
            ({"$set": {"amount.x": 1}}, "PathNotViable", "/data/$set/amount.x"),
            ({"amount.x": 1}, "PathNotViable", "/data/amount.x"),
            ({"$set": {"_id": 5}}, "ImmutableField", "/data/$set/_id"),
            ({"_id": 5}, "ImmutableField", "/data/_id"),
        ],
    )
    def test_an_update_is_refused_by_a_document_at_its_place(self, collection, problem, data, code, pointer):
        """What only the documents make wrong has its place in ``data`` all the same."""
        refused = problem(collection.call("updatewithupsert", {"search query": {}, "data": data}))

        assert (refused["status"], refused["code"], refused["pointer"]) == (400, code, pointer)

    def test_an_ambiguous_upsert_is_the_querys_fault(self, collection, problem):
        """A search query that fixes one field twice cannot seed a document."""
        body = {"search query": {"$and": [{"x": 1}, {"x": 2}]}, "data": {"a": 1}, "upsert": True}

        refused = problem(collection.call("updatewithupsert", body))

        assert (refused["status"], refused["code"], refused["pointer"]) == (
            400,
            "NotSingleValueField",
            "/search query",
        )

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"search query": {"_id": [1]}, "data": {"a": 1}, "upsert": True}, 400),
            ({"search query": {"x": 1}, "data": {"$push": {"_id": 1}}, "upsert": True}, 400),
            ({"search query": {"_id": 1, "x": 1}, "data": {"a": 1}, "upsert": True}, 409),
        ],
        ids=["query", "data", "taken"],
    )
    def test_no_pointer_leads_out_of_the_body(self, admin, problem, body, status):
        """A document that an upsert makes is not in the body: nothing points at ``/_id`` there."""
        refused = problem(admin.collection([{"_id": 1}]).call("updatewithupsert", body))

        assert refused["status"] == status
        assert refused.get("pointer") in (None, "/search query/_id", "/data/$push/_id")

    @pytest.mark.parametrize(
        ("operation", "body", "status", "pointer"),
        [
            ("write", {"_id": "taken"}, 409, "/_id"),
            ("write", {"_id": [1]}, 400, "/_id"),
            ("batchwrite", [{"_id": 1}, {"_id": "taken"}], 409, "/1/_id"),
            ("batchwrite", [{"_id": 1}, {"_id": 2}, {"_id": 1}], 409, "/2/_id"),
            ("batchwrite", [{"_id": 1}, {"_id": [1]}], 400, "/1/_id"),
            ("batchwrite", [{}, 5], 400, "/1"),
            ("batchwrite", '[{}, {"a": [NaN]}]', 400, "/1/a/0"),
            ("batchdelete", {"a": {"$gtt": 1}}, 400, "/a/$gtt"),
            ("batchdelete", {"$or": [{}, {"$gtt": 1}]}, 400, "/$or/1/$gtt"),
        ],
    )
    def test_a_write_is_refused_at_its_place(self, admin, problem, operation, body, status, pointer):
        """A body that is itself a document, or documents, or a filter, is pointed into from its root."""
        refused = problem(admin.collection([{"_id": "taken"}]).call(operation, body))

        assert (refused["status"], refused["pointer"]) == (status, pointer)


@pytest.fixture(scope="module")
def narrow(servers, tmp_path_factory):
    """A collection on a server that reads bodies of up to 64 bytes."""
    with servers(tmp_path_factory.mktemp("narrow"), "--max-body-bytes", "64") as server:
        yield server.admin.collection(id="narrow")


class TestBodyTooLarge:
    @pytest.mark.parametrize("operation", WITH_BODY)
    def test_every_operation_refuses_it(self, narrow, problem, operation):
        """A body over the limit is 413, and says what the limit is and what came."""
        assert problem(narrow.call(operation, b'{"a": "' + b"x" * 56 + b'"}')) == {
            "type": "urn:connectome:BodyTooLarge",
            "title": "The body is too large",
            "status": 413,
            "detail": "the server reads bodies of up to 64 bytes, not 65 bytes",
            "code": "BodyTooLarge",
        }

    @pytest.mark.parametrize(("method", "path"), [("POST", ""), ("PATCH", "/narrow")])
    def test_administration_refuses_it(self, narrow, problem, method, path):
        """The limit holds for the administrator's small bodies."""
        refused = problem(narrow.server.admin.request(method, path, {"title": "x" * 100}))

        assert (refused["status"], refused["code"]) == (413, "BodyTooLarge")

    def test_a_body_in_chunks_is_measured_too(self, narrow, problem):
        """Without a Content-Length the limit is the same."""
        response = requests.post(narrow.url("write"), data=iter([b'{"a": "', b"x" * 100, b'"}']))

        assert problem(response)["status"] == 413

    def test_a_body_of_just_the_limit_is_read(self, narrow):
        """64 bytes are not over 64 bytes."""
        body = b'{"a": "' + b"x" * 55 + b'"}'

        assert len(body) == 64
        assert narrow.call("write", body).status_code == 201

    def test_a_wrong_credential_comes_first(self, narrow, problem):
        """Who may not write is not told of limits."""
        response = narrow.call("write", b"x" * 100, credential="nonsense")

        assert problem(response) == UNAUTHORIZED

    def test_an_import_has_no_limit(self, narrow):
        """The administrator may bring in any number of documents at once."""
        documents = [{"_id": n} for n in range(100)]

        response = narrow.server.admin.request("POST", "/narrow/import", documents)

        assert (response.status_code, response.json()["insertedCount"]) == (201, 100)


@pytest.fixture
def service(tmp_path):
    """The collections of a store in this process."""
    service = Service(open_store(tmp_path))
    yield service
    service.close()


@pytest.fixture
def movies(service):
    """The description of a collection with one document."""
    return service.create(id="movies", documents=[{"_id": 1, "title": "Movie ABC"}])


@pytest.fixture
def client(service, tmp_path):
    """Flask's client of an application over ``service``."""
    return create_app(Settings(data=tmp_path, admin_token="secret-token"), service).test_client()


@pytest.fixture
def problem_of():
    """The problem in a response of Flask's client."""

    def members(response):
        assert response.content_type == "application/problem+json"
        assert response.json["status"] == response.status_code
        assert "Traceback" not in response.text
        return response.json

    return members


def full_disk(number):
    """What stands in for ``os.write`` where the disk takes no more."""

    def write(*_):
        raise OSError(number, os.strerror(number))

    return write


class TestWhatIsRare:
    """What a running server cannot be made to do on demand: in this process, with Flask's client."""

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    @pytest.mark.parametrize("operation", ["write", "batchwrite", "updatewithupsert", "batchdelete"])
    def test_a_full_disk_is_507(self, client, movies, monkeypatch, problem_of, operation, number):
        """Where the disk takes no more, the problem says so, and nothing was changed."""
        keys = movies["credentials"]
        method, _, body = CALLS[operation]
        body = {"write": {}, "batchwrite": [{}], "batchdelete": {}}.get(operation, body)

        with monkeypatch.context() as disk:
            disk.setattr(os, "write", full_disk(number))
            response = client.open(f"/collection/{operation}/{keys['write']}/movies", method=method, json=body)

        assert problem_of(response) == {
            "type": "urn:connectome:NoSpace",
            "title": "The disk is full",
            "status": 507,
            "detail": "no space left while writing the journal of movies.json: nothing was changed",
            "code": "NoSpace",
        }
        assert client.get(f"/collection/read/{keys['read']}/movies").json == [{"_id": 1, "title": "Movie ABC"}]

    def test_writing_goes_on_where_there_is_space_again(self, client, movies, monkeypatch):
        """A write that failed is not in the way of the next one."""
        url = f"/collection/write/{movies['credentials']['write']}/movies"
        with monkeypatch.context() as disk:
            disk.setattr(os, "write", full_disk(errno.ENOSPC))
            assert client.post(url, json={"_id": 2}).status_code == 507

        assert client.post(url, json={"_id": 2}).json == {"insertedId": 2}

    def test_a_disk_that_fails_is_503(self, client, movies, monkeypatch, problem_of):
        """Where the journal cannot be written for another reason, the client may try again soon."""
        with monkeypatch.context() as disk:
            disk.setattr(os, "write", full_disk(errno.EIO))
            response = client.post(f"/collection/write/{movies['credentials']['write']}/movies", json={})

        assert problem_of(response) == {
            "type": "urn:connectome:StorageFailed",
            "title": "The store has failed",
            "status": 503,
            "detail": "Input/output error while writing the journal of movies.json",
            "code": "StorageFailed",
        }
        assert response.headers["Retry-After"] == "1"

    def test_an_accident_is_500_and_tells_nothing(self, client, service, movies, monkeypatch, problem_of, caplog):
        """What nobody foresaw is a problem without a traceback; the log has it, without the credential."""

        def accident(*_):
            raise RuntimeError("cr_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")

        monkeypatch.setattr(service, "reader", accident)

        response = client.get(f"/collection/read/{movies['credentials']['read']}/movies")

        assert problem_of(response) == {
            "type": "urn:connectome:InternalError",
            "title": "Internal error",
            "status": 500,
            "detail": "the server failed in a way that it did not expect",
            "code": "InternalError",
        }
        assert [record.message for record in caplog.records] == ["unexpected RuntimeError"]
        assert caplog.records[0].exc_text.endswith("RuntimeError: cr_…")

    def test_a_token_of_the_owner_counts(self, client, movies, service):
        """``CONNECTOME_ADMIN_TOKEN`` takes the place of the one that is made."""
        assert client.get("/-/admin/collections", headers={"Authorization": "Bearer secret-token"}).status_code == 200
        made = {"Authorization": f"Bearer {service.administrator_token()}"}
        assert client.get("/-/admin/collections", headers=made).status_code == 401

    def test_a_query_without_end_is_400(self, client, service, problem_of):
        """A regular expression that would take for ever is stopped by the clock; no place is to blame."""
        key = service.create(id="texts", documents=[{"text": "a" * 40 + "b"}])["credentials"]["read"]

        with deadline(0.05):
            response = client.post(
                f"/collection/readwithquery/{key}/texts", json={"query": {"text": {"$regex": "^(a|a)*$"}}}
            )

        assert problem_of(response) == {
            "type": "urn:connectome:MaxTimeMSExpired",
            "title": "The query is wrong",
            "status": 400,
            "detail": "the request took longer than it may",
            "code": "MaxTimeMSExpired",
        }
