"""The six operations of a collection, called over HTTP as any client calls them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

ABC = {"amount": 10, "title": "Movie ABC"}
BDD = {"amount": 100, "title": "Movie BDD"}
XYZ = {"amount": 39, "title": "Movie XYZ"}


def update(query, data, **options):
    """The body of ``updatewithupsert``."""
    return {"search query": query, "data": data, **options}


def without_id(document):
    """A document without its ``_id``."""
    return {name: value for name, value in document.items() if name != "_id"}


def counts(matched, modified, upserted=None):
    """The answer to ``updatewithupsert``."""
    return {"matchedCount": matched, "modifiedCount": modified, "upsertedId": upserted}


class TestExistingClients:
    """The calls that existing clients make, word for word, with ``requests`` alone."""

    def test_readwithquery_filters_projects_sorts_and_limits(self, collection):
        """The movies from 30 upward come as XYZ, BDD, each with amount, title and _id."""
        response = requests.post(
            collection.url("readwithquery"),
            json={
                "query": {"amount": {"$gte": 30}},
                "project": {"amount": 1, "title": 1},
                "sort": {"amount": 1},
                "limit": 10,
            },
        )

        assert response.status_code == 200
        assert [[*document] for document in response.json()] == [["_id", "amount", "title"]] * 2
        assert [(each["amount"], each["title"]) for each in response.json()] == [(39, "Movie XYZ"), (100, "Movie BDD")]

    def test_updatewithupsert_creates_with_upsert(self, collection):
        """An upsert that matches nothing creates a document from the search query and the data."""
        response = requests.post(
            collection.url("updatewithupsert"),
            json={"search query": {"title": "foo"}, "data": {"amount": 1}, "upsert": True},
        )

        created = requests.post(collection.url("readwithquery"), json={"query": {"title": "foo"}}).json()
        assert response.status_code == 200
        assert created == [{"_id": response.json()["upsertedId"], "title": "foo", "amount": 1}]

    def test_updatewithupsert_is_404_without_upsert(self, collection):
        """An update that matches nothing and may not create is a problem of its own, NoMatch."""
        response = requests.post(
            collection.url("updatewithupsert"), json={"search query": {"title": "foo"}, "data": {"amount": 1}}
        )

        assert response.status_code == 404
        assert response.json() == {
            "type": "urn:connectome:NoMatch",
            "title": "Nothing matches",
            "status": 404,
            "detail": "no document matches the search query, and upsert is false: nothing was changed",
            "code": "NoMatch",
        }
        assert collection.documents == [ABC, BDD, XYZ]

    def test_batchwrite_inserts_all(self, collection):
        """An array of documents is added in its order, each with an identity."""
        response = requests.post(collection.url("batchwrite"), json=[{"title": "foo"}, {"title": "bar"}])

        assert response.status_code == 201
        assert response.json()["insertedCount"] == 2
        assert requests.post(collection.url("readwithquery"), json={"skip": 3}).json() == [
            {"_id": response.json()["insertedIds"][0], "title": "foo"},
            {"_id": response.json()["insertedIds"][1], "title": "bar"},
        ]

    def test_batchwrite_inserts_none(self, collection):
        """An array with one document that is refused adds nothing."""
        response = requests.post(collection.url("batchwrite"), json=[{"_id": 1}, {"_id": 2}, {"_id": 1}])

        assert response.status_code == 409
        assert collection.documents == [ABC, BDD, XYZ]

    def test_batchdelete_removes_every_match(self, collection):
        """A filter as the body of DELETE removes all documents that match it."""
        requests.post(collection.url("batchwrite"), json=[{"title": "foo"}, {"title": "foo"}])

        response = requests.delete(collection.url("batchdelete"), json={"title": "foo"})

        assert (response.status_code, response.json()) == (200, {"deletedCount": 2})
        assert collection.documents == [ABC, BDD, XYZ]

    def test_batchdelete_without_a_body_deletes_nothing(self, collection):
        """Some proxies strip the body of DELETE: that is 400, and never "delete everything"."""
        response = requests.delete(collection.url("batchdelete"))

        assert response.status_code == 400
        assert response.json()["detail"] == "a JSON body was expected, and none came"
        assert collection.documents == [ABC, BDD, XYZ]

    def test_batchdelete_of_an_empty_filter_deletes_everything(self, collection):
        """An explicit {} matches, and removes, every document."""
        response = requests.delete(collection.url("batchdelete"), json={})

        assert (response.status_code, response.json()) == (200, {"deletedCount": 3})
        assert collection.documents == []


class TestReadWithQuery:
    def test_every_key_is_optional(self, collection):
        """An empty object reads everything, in the order in which it was written."""
        assert collection.read({}) == [ABC, BDD, XYZ]

    @pytest.mark.parametrize(
        ("sort", "expected"),
        [
            ({"amount": 1}, [ABC, XYZ, BDD]),
            ({"amount": -1}, [BDD, XYZ, ABC]),
            ({}, [ABC, BDD, XYZ]),
            ([["amount", 1]], [ABC, XYZ, BDD]),
            ([["title", -1]], [XYZ, BDD, ABC]),
            ([], [ABC, BDD, XYZ]),
        ],
    )
    def test_sort_is_an_object_or_pairs(self, collection, sort, expected):
        """A sort may be given in either form; an empty one keeps the order of writing."""
        assert collection.read({"sort": sort}) == expected

    @pytest.mark.parametrize(
        ("sort", "expected"),
        [
            ('{"group": 1, "n": -1}', [(1, 2), (1, 1), (2, 2), (2, 1)]),
            ('{"n": -1, "group": 1}', [(1, 2), (2, 2), (1, 1), (2, 1)]),
            ('[["group", -1], ["n", 1]]', [(2, 1), (2, 2), (1, 1), (1, 2)]),
            ('[["n", 1], ["group", -1]]', [(2, 1), (1, 1), (2, 2), (1, 2)]),
        ],
    )
    def test_sort_fields_count_in_their_order(self, admin, sort, expected):
        """The first field of a sort decides, the second decides among equals, in both forms."""
        collection = admin.collection([{"group": group, "n": n} for group in (2, 1) for n in (1, 2)])

        assert [(each["group"], each["n"]) for each in collection.read(f'{{"sort": {sort}}}')] == expected

    @pytest.mark.parametrize(
        ("part", "expected"),
        [
            ({"skip": 1}, [XYZ, BDD]),
            ({"limit": 1}, [ABC]),
            ({"skip": 1, "limit": 1}, [XYZ]),
            ({"limit": 0}, [ABC, XYZ, BDD]),
            ({"skip": 2, "limit": 0}, [BDD]),
            ({"limit": 2.0}, [ABC, XYZ]),
            ({"limit": {"$numberLong": "2"}}, [ABC, XYZ]),
            ({"skip": 3}, []),
            ({"skip": 2, "limit": 5}, [BDD]),
        ],
    )
    def test_skip_and_limit_take_a_part(self, collection, part, expected):
        """``skip`` counts before ``limit``, both after the sort; a limit of 0 is none."""
        assert collection.read({"sort": {"amount": 1}, **part}) == expected

    @pytest.mark.parametrize(
        ("part", "expected"),
        [
            ({"skip": 2**63 - 1}, []),
            ({"skip": 2**63 - 1, "limit": 1}, []),
            ({"skip": 1, "limit": 2**63 - 1}, [BDD, XYZ]),
            ({"limit": 2**63 - 1, "sort": {"amount": 1}}, [ABC, XYZ, BDD]),
            ({"skip": 1e300}, []),
            ({"skip": 1, "limit": 1e300, "sort": {"amount": 1}}, [XYZ, BDD]),
        ],
    )
    def test_skip_and_limit_may_be_as_large_as_a_number(self, collection, part, expected):
        """No whole number is too large to skip or to limit by."""
        assert collection.read(part) == expected

    @pytest.mark.parametrize(
        ("project", "expected"),
        [
            ({"title": 1, "_id": 0}, {"title": "Movie ABC"}),
            ({"title": 0, "_id": 0}, {"amount": 10}),
            ({"_id": 0}, {"amount": 10, "title": "Movie ABC"}),
            ({"nothing": 1, "_id": 0}, {}),
        ],
    )
    def test_project_keeps_or_drops(self, collection, project, expected):
        """A projection keeps the fields it names, or drops them."""
        assert collection.call("readwithquery", {"project": project, "limit": 1}).json() == [expected]

    def test_there_is_no_hidden_limit(self, admin):
        """A read without a limit answers with every document, however many there are."""
        collection = admin.collection([{"_id": n} for n in range(2500)])

        assert collection.read({}) == [{"_id": n} for n in range(2500)]


class TestExplain:
    def test_it_says_how_a_query_is_answered(self, collection):
        """The plan, documents looked at and answered, milliseconds: and no documents."""
        body = {"query": {"amount": {"$gte": 30}}, "sort": {"amount": 1}}

        response = collection.call("readwithquery", body, params={"explain": "true"})

        explained = response.json()
        assert response.status_code == 200
        assert [*explained] == ["winningPlan", "nReturned", "totalDocsExamined", "executionTimeMillis"]
        assert [*explained["winningPlan"]] == ["stage", "path"]
        assert explained["winningPlan"]["stage"] in ("IDHACK", "IXSCAN", "COLLSCAN")
        assert (explained["nReturned"], explained["totalDocsExamined"]) == (2, 3)
        assert explained["executionTimeMillis"] >= 0

    @pytest.mark.parametrize(("flag", "answered"), [("true", dict), ("false", list)])
    def test_only_true_asks_for_it(self, collection, flag, answered):
        """Otherwise the documents come."""
        assert type(collection.call("readwithquery", {}, params={"explain": flag}).json()) is answered

    def test_a_query_that_is_refused_is_not_explained(self, collection, problem):
        """As where its documents are asked for."""
        response = collection.call("readwithquery", {"query": {"a": {"$gtt": 1}}}, params={"explain": "true"})

        assert problem(response)["pointer"] == "/query/a/$gtt"

    def test_what_is_neither_true_nor_false_is_400(self, collection, problem):
        """Nobody who asks for an explanation gets documents."""
        refused = problem(collection.call("readwithquery", {}, params={"explain": "yes"}))

        assert (refused["status"], refused["detail"]) == (400, "explain is true or false, not 'yes'")


class TestRead:
    def test_all_documents_come_in_the_order_of_writing(self, collection):
        """GET reads the whole collection."""
        response = requests.get(collection.url("read"))

        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/json"
        assert [(each["amount"], each["title"]) for each in response.json()] == [
            (10, "Movie ABC"),
            (100, "Movie BDD"),
            (39, "Movie XYZ"),
        ]

    def test_an_empty_collection_is_an_empty_array(self, admin):
        """Nothing to read is no error."""
        assert admin.collection().call("read").text.rstrip("\n") == "[]"

    def test_nothing_read_is_kept_by_caches(self, collection):
        """Documents and credentials pass through: no cache keeps them, no link gives the URL away."""
        headers = collection.call("read").headers

        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"


class TestWrite:
    def test_an_identity_is_made(self, collection):
        """A document without _id gets one of 24 hexadecimal digits."""
        response = collection.call("write", {"title": "foo"})

        assert response.status_code == 201
        assert [*response.json()] == ["insertedId"]
        assert re.fullmatch("[0-9a-f]{24}", response.json()["insertedId"])
        assert collection.documents == [ABC, BDD, XYZ, {"title": "foo"}]

    def test_an_identity_is_kept(self, collection):
        """A document with _id keeps it, and the answer repeats it."""
        response = collection.call("write", {"_id": "mine", "title": "foo"})

        assert (response.status_code, response.json()) == (201, {"insertedId": "mine"})
        assert collection.documents == [ABC, BDD, XYZ, {"_id": "mine", "title": "foo"}]

    def test_a_taken_identity_is_refused(self, collection, problem):
        """A second document with one _id is 409, and the first is as it was."""
        collection.call("write", {"_id": "mine", "title": "first"})

        response = collection.call("write", {"_id": "mine", "title": "second"})

        assert problem(response) == {
            "type": "urn:connectome:DuplicateKey",
            "title": "The _id is taken",
            "status": 409,
            "detail": '_id "mine" is taken',
            "code": "DuplicateKey",
            "pointer": "/_id",
        }
        assert collection.documents == [ABC, BDD, XYZ, {"_id": "mine", "title": "first"}]


class TestBatchWrite:
    def test_identities_come_in_the_order_of_the_documents(self, collection):
        """``insertedIds`` holds the given and the made ones, each at its document's place."""
        answer = collection.call("batchwrite", [{"_id": 3}, {}, {"_id": "a"}]).json()

        assert answer == {"insertedCount": 3, "insertedIds": [3, answer["insertedIds"][1], "a"]}
        assert re.fullmatch("[0-9a-f]{24}", answer["insertedIds"][1])

    def test_an_empty_array_inserts_nothing(self, collection):
        """No documents is a batch too."""
        response = collection.call("batchwrite", [])

        assert (response.status_code, response.json()) == (201, {"insertedCount": 0, "insertedIds": []})

    @pytest.mark.parametrize("batch", [[{"_id": 1}, {"_id": 2}, {"_id": 1}], [{"_id": 1}, {"_id": 2}, {"_id": "here"}]])
    def test_nothing_is_kept_of_a_batch_with_a_taken_identity(self, collection, problem, batch):
        """An _id that is taken, in the batch or in the collection, refuses the batch and is pointed at."""
        collection.call("write", {"_id": "here"})

        refused = problem(collection.call("batchwrite", batch))

        assert (refused["status"], refused["code"], refused["pointer"]) == (409, "DuplicateKey", "/2/_id")
        assert collection.documents == [ABC, BDD, XYZ, {"_id": "here"}]


class TestUpdateWithUpsert:
    def test_every_match_is_changed(self, collection):
        """Without ``multi`` all documents that match are changed."""
        response = collection.call("updatewithupsert", update({"amount": {"$gte": 30}}, {"seen": True}))

        assert (response.status_code, response.json()) == (200, counts(2, 2))
        assert collection.documents == [ABC, {**BDD, "seen": True}, {**XYZ, "seen": True}]

    def test_only_the_first_match_is_changed_without_multi(self, collection):
        """``"multi": false`` changes the first document that matches."""
        response = collection.call("updatewithupsert", update({"amount": {"$gte": 30}}, {"seen": True}, multi=False))

        assert response.json() == counts(1, 1)
        assert collection.documents == [ABC, {**BDD, "seen": True}, XYZ]

    def test_documents_that_stay_the_same_are_not_counted(self, collection):
        """``modifiedCount`` leaves out those that already were as the update makes them."""
        assert collection.call("updatewithupsert", update({}, {"amount": 10})).json() == counts(3, 2)
        assert collection.call("updatewithupsert", update({}, {"amount": 10})).json() == counts(3, 0)

    def test_operators_change_in_place(self, collection):
        """``data`` may hold update operators."""
        data = {"$inc": {"amount": 1}, "$push": {"tags": "new"}, "$unset": {"title": ""}}

        assert collection.call("updatewithupsert", update({"amount": 10}, data)).json() == counts(1, 1)
        assert collection.documents == [{"amount": 11, "tags": ["new"]}, BDD, XYZ]

    def test_an_upsert_that_matches_is_an_update(self, collection):
        """With ``upsert`` a match is changed and nothing is created."""
        response = collection.call("updatewithupsert", update({"amount": 10}, {"seen": True}, upsert=True))

        assert response.json() == counts(1, 1)
        assert collection.documents == [{**ABC, "seen": True}, BDD, XYZ]

    def test_an_upsert_starts_from_the_equalities_of_the_query(self, collection):
        """Equalities seed the document, comparisons do not, and ``$setOnInsert`` adds."""
        query = {"_id": "new", "kind": {"$eq": "film"}, "place.city": "Riga", "amount": {"$gt": 5}}
        data = {"$inc": {"views": 1}, "$setOnInsert": {"fresh": True}}

        response = collection.call("updatewithupsert", update(query, data, upsert=True))

        assert (response.status_code, response.json()) == (200, counts(0, 0, "new"))
        assert collection.read({"query": {"_id": "new"}}) == [
            {"_id": "new", "kind": "film", "place": {"city": "Riga"}, "fresh": True, "views": 1}
        ]

    @pytest.mark.parametrize("identity", [None, 0, False, ""])
    def test_an_upsert_tells_an_identity_that_is_like_nothing(self, admin, identity):
        """An _id such as null or 0 is created, and is no reason for a 404."""
        collection = admin.collection()

        response = collection.call("updatewithupsert", update({"_id": identity}, {"a": 1}, upsert=True))

        assert (response.status_code, response.json()) == (200, counts(0, 0, identity))
        assert collection.documents == [{"_id": identity, "a": 1}]

    def test_one_document_that_refuses_stops_all(self, admin, problem):
        """An update of many that fails on one changes none."""
        collection = admin.collection([{"_id": 1, "n": 1}, {"_id": 2, "n": "one"}, {"_id": 3, "n": 3}])

        refused = problem(collection.call("updatewithupsert", update({}, {"$inc": {"n": 1}})))

        assert (refused["status"], refused["code"], refused["pointer"]) == (400, "TypeMismatch", "/data/$inc/n")
        assert collection.documents == [{"_id": 1, "n": 1}, {"_id": 2, "n": "one"}, {"_id": 3, "n": 3}]

    def test_an_upsert_onto_a_taken_identity_is_refused(self, admin, problem):
        """The document that an upsert would create obeys the uniqueness of _id too."""
        collection = admin.collection([{"_id": 1, "a": 1}])

        refused = problem(collection.call("updatewithupsert", update({"_id": 1, "a": 2}, {"b": 1}, upsert=True)))

        assert (refused["status"], refused["code"], refused["detail"]) == (409, "DuplicateKey", "_id 1 is taken")
        assert collection.documents == [{"_id": 1, "a": 1}]

    def test_an_upsert_has_no_expression_in_its_query(self, collection, problem):
        """Not even one that matches: what it should create could not be told."""
        body = {"search query": {"$and": [{"$expr": {"$eq": ["$_id", 1]}}]}, "data": {"a": 1}, "upsert": True}

        refused = problem(collection.call("updatewithupsert", body))

        assert (refused["status"], refused["code"]) == (400, "QueryFeatureNotAllowed")
        assert refused["pointer"] == "/search query"

    def test_an_array_filter_that_nothing_uses_is_refused(self, collection, problem):
        """``arrayFilters`` is not ignored: one that no path names is 400, as in MongoDB."""
        refused = problem(collection.call("updatewithupsert", update({}, {"z": 1}, arrayFilters=[{"x": 1}])))

        assert (refused["status"], refused["code"]) == (400, "FailedToParse")
        assert collection.documents == [ABC, BDD, XYZ]


class TestBatchDelete:
    def test_a_filter_that_matches_nothing_deletes_nothing(self, collection):
        """Nothing to delete is no error."""
        response = collection.call("batchdelete", {"title": "foo"})

        assert (response.status_code, response.json()) == (200, {"deletedCount": 0})
        assert collection.documents == [ABC, BDD, XYZ]

    def test_operators_select(self, collection):
        """The body is a filter as anywhere else."""
        assert collection.call("batchdelete", {"amount": {"$lt": 50}}).json() == {"deletedCount": 2}
        assert collection.documents == [BDD]

    def test_an_identity_is_free_again(self, admin):
        """What was deleted may be written again."""
        collection = admin.collection([{"_id": 1, "a": 1}])
        collection.call("batchdelete", {})

        assert collection.call("write", {"_id": 1, "a": 2}).status_code == 201
        assert collection.documents == [{"_id": 1, "a": 2}]

    @pytest.mark.parametrize("body", ["", " ", "null", "[]", '"title"'])
    def test_what_is_no_filter_deletes_nothing(self, collection, problem, body):
        """Only an object is a filter; anything else is 400."""
        assert problem(collection.call("batchdelete", body))["status"] == 400
        assert collection.documents == [ABC, BDD, XYZ]


class TestGuards:
    def test_a_dry_run_of_an_update_says_what_would_happen(self, collection):
        """The counts are those of the update, up to three documents are shown before and after, and nothing changes."""
        body = update({"amount": {"$gte": 30}}, {"$inc": {"amount": 1}})

        answer = collection.call("updatewithupsert", body, params={"dry_run": "true"}).json()

        examples = [(without_id(each["before"]), without_id(each["after"])) for each in answer.pop("examples")]
        assert examples == [(BDD, {**BDD, "amount": 101}), (XYZ, {**XYZ, "amount": 40})]
        assert answer == {**counts(2, 2), "dryRun": True}
        assert collection.documents == [ABC, BDD, XYZ]

    def test_a_dry_run_of_an_upsert_shows_what_it_would_create(self, collection):
        """There is a document after, none before, and none is created."""
        body = update({"_id": 7, "title": "foo"}, {"amount": 1}, upsert=True)

        answer = collection.call("updatewithupsert", body, params={"dry_run": "true"}).json()

        created = {"_id": 7, "title": "foo", "amount": 1}
        assert answer == {**counts(0, 0, 7), "dryRun": True, "examples": [{"before": None, "after": created}]}
        assert collection.documents == [ABC, BDD, XYZ]

    def test_a_dry_run_of_a_deletion_shows_what_would_go(self, collection):
        """Up to three of the documents, whatever their number, and all are still there."""
        collection.call("batchwrite", [{"n": 1}, {"n": 2}])

        answer = collection.call("batchdelete", {}, params={"dry_run": "true"}).json()

        assert (answer["deletedCount"], answer["dryRun"]) == (5, True)
        assert [without_id(each["before"]) for each in answer["examples"]] == [ABC, BDD, XYZ]
        assert [each["after"] for each in answer["examples"]] == [None] * 3
        assert len(collection.documents) == 5

    def test_a_dry_run_refuses_what_the_update_would_refuse(self, collection):
        """It is the update in everything but that nothing is kept."""
        response = collection.call("updatewithupsert", update({}, {"$inc": {"title": 1}}), params={"dry_run": "true"})

        assert response.status_code == 400
        assert response.json()["pointer"] == "/data/$inc/title"

    @pytest.mark.parametrize(
        ("operation", "body"), [("updatewithupsert", update({}, {"$set": {"n": 1}})), ("batchdelete", {})]
    )
    def test_more_than_allowed_changes_nothing(self, collection, problem, operation, body):
        """Three documents are more than two: 409, with both numbers."""
        response = collection.call(operation, body, params={"max_affected": "2"})

        members = problem(response)
        assert (members["status"], members["code"]) == (409, "TooManyAffected")
        assert members["detail"] == "3 documents would change, and the request allows 2: nothing was changed"
        assert collection.documents == [ABC, BDD, XYZ]

    @pytest.mark.parametrize(
        ("operation", "body", "parameter", "hint"),
        [
            ("updatewithupsert", update({}, {"z": 1}), "dryRun", "did you mean 'dry_run'?"),
            ("batchdelete", {}, "dryrun", "did you mean 'dry_run'?"),
            ("batchdelete", {}, "max-affected", "did you mean 'max_affected'?"),
            ("write", {}, "dry_run", "it is for updatewithupsert and batchdelete"),
            ("batchwrite", [{}], "max_affected", "it is for updatewithupsert and batchdelete"),
        ],
    )
    def test_a_guard_that_would_not_guard_is_400(self, collection, problem, operation, body, parameter, hint):
        """A misspelt one, or one where there is nothing to guard: nothing is changed without it."""
        refused = problem(collection.call(operation, body, params={parameter: "true"}))

        assert (refused["status"], refused["code"]) == (400, "BadValue")
        assert refused["detail"] == f"'{parameter}' is no parameter of this operation; {hint}"
        assert collection.documents == [ABC, BDD, XYZ]

    def test_what_does_not_change_does_not_count(self, collection):
        """An update that matches three and changes one is allowed to change one."""
        body = update({}, {"$max": {"amount": 39}})

        assert collection.call("updatewithupsert", body, params={"max_affected": "1"}).json() == counts(3, 1)

    @pytest.mark.parametrize("params", [{"dry_run": "yes"}, {"max_affected": "-1"}, {"max_affected": "two"}])
    def test_a_guard_that_cannot_be_read_is_400(self, collection, problem, params):
        """Nobody who asks for a guard gets none."""
        members = problem(collection.call("batchdelete", {}, params=params))
        assert (members["status"], members["code"]) == (400, "BadValue")
        assert collection.documents == [ABC, BDD, XYZ]


class TestPositions:
    def test_the_element_by_which_the_query_matched(self, collection):
        """``$`` in a path stands for it."""
        collection.call("write", {"_id": 1, "cast": [{"role": "a", "n": 1}, {"role": "b", "n": 2}]})

        collection.call("updatewithupsert", update({"cast.role": "b"}, {"$set": {"cast.$.n": 9}}))

        assert collection.read({"query": {"_id": 1}, "project": {"cast.n": 1}}) == [
            {"_id": 1, "cast": [{"n": 1}, {"n": 9}]}
        ]

    def test_elements_that_a_filter_names(self, collection):
        """``$[name]`` stands for every element that meets the filter of that name."""
        collection.call("write", {"_id": 1, "grades": [70, 95, 100]})

        body = update({"_id": 1}, {"$set": {"grades.$[high]": 90}}, arrayFilters=[{"high": {"$gt": 90}}])
        assert collection.call("updatewithupsert", body).json() == counts(1, 1)

        assert collection.read({"query": {"_id": 1}}) == [{"_id": 1, "grades": [70, 90, 90]}]

    @pytest.mark.parametrize(
        ("data", "filters", "pointer"),
        [
            ({"$set": {"a.$[x]": 1}}, [{"x": {"$gtt": 1}}], "/arrayFilters/0/x/$gtt"),
            ({"$set": {"a.$[x]": 1}}, [{"x": 1}, {"x": 2}], "/arrayFilters/1"),
            ({"$set": {"a.$[y]": 1}}, [{"x": 1}], "/data/$set/a.$[y]"),
        ],
    )
    def test_a_filter_that_is_wrong_is_pointed_at(self, collection, problem, data, filters, pointer):
        """In the array filters, or where the update names one that is not there."""
        response = collection.call("updatewithupsert", update({}, data, arrayFilters=filters))

        members = problem(response)
        assert (members["status"], members["pointer"]) == (400, pointer)

    def test_an_update_may_be_a_pipeline(self, collection):
        """It computes from the document as it is."""
        collection.call("updatewithupsert", update({}, [{"$set": {"double": {"$multiply": ["$amount", 2]}}}]))

        assert [each["double"] for each in collection.documents] == [20, 200, 78]


class TestCredentials:
    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    def test_the_header_serves_where_the_path_holds_a_hyphen(self, collection, scheme):
        """``Authorization: Bearer`` carries the credential of a URL that shows none."""
        headers = {"Authorization": f"{scheme} {collection.read_credential}"}

        response = requests.get(collection.url("read", "-"), headers=headers)

        assert (response.status_code, len(response.json())) == (200, 3)

    @pytest.mark.parametrize(
        ("operation", "body", "status"),
        [
            ("readwithquery", {}, 200),
            ("read", "", 200),
            ("write", {}, 201),
            ("batchwrite", [], 201),
            ("updatewithupsert", update({}, {"a": 1}), 200),
            ("batchdelete", {}, 200),
        ],
    )
    def test_every_operation_takes_the_header(self, collection, operation, body, status):
        """Each of the six may be called without a credential in its URL."""
        headers = {"Authorization": f"Bearer {collection.credential(operation)}"}

        assert collection.call(operation, body, credential="-", headers=headers).status_code == status

    def test_the_path_counts_before_the_header(self, collection):
        """A credential in the path is the one that is used, whatever the header says."""
        headers = {"Authorization": "Bearer nonsense"}

        assert collection.call("read", headers=headers).status_code == 200

    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}])
    def test_a_hyphen_without_the_header_is_refused(self, collection, problem, headers):
        """Where the path promises a header, none is 401, and the detail says what was expected."""
        response = collection.call("read", credential="-", headers=headers)

        assert problem(response)["status"] == 401
        assert problem(response)["detail"] == (
            "the path holds '-' in place of the credential, and no 'Authorization: Bearer …' came"
        )
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="Connectome"'

    def test_a_credential_opens_its_own_collection_only(self, collection, admin, problem):
        """What opens one collection is nothing to another."""
        other = admin.collection()

        assert problem(collection.call("read", credential=other.read_credential))["status"] == 401
        assert problem(collection.call("write", {}, credential=other.write_credential))["status"] == 401


class TestConcurrency:
    def test_upserts_of_one_key_make_one_document(self, admin):
        """Of many upserts at once one creates and the others change what it created."""
        collection = admin.collection()
        body = update({"title": "new"}, {"$inc": {"n": 1}}, upsert=True)

        def upsert(_):
            return requests.post(collection.url("updatewithupsert"), json=body).json()

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(upsert, range(32)))

        assert collection.documents == [{"title": "new", "n": 32}]
        assert sorted(answer["matchedCount"] for answer in answers) == [0] + [1] * 31

    def test_one_writer_gets_an_identity(self, admin):
        """Of many writes of one _id at once one is 201 and the others are 409."""
        collection = admin.collection()

        def write(n):
            return requests.post(collection.url("write"), json={"_id": "one", "n": n}).status_code

        with ThreadPoolExecutor(8) as threads:
            statuses = list(threads.map(write, range(16)))

        assert sorted(statuses) == [201] + [409] * 15
        assert collection.documents == [{"_id": "one", "n": statuses.index(201)}]

    def test_a_reader_never_sees_half_a_batch(self, admin):
        """While batches are written, every read finds whole batches."""
        collection = admin.collection()

        def write(n):
            assert requests.post(collection.url("batchwrite"), json=[{"batch": n}] * 50).status_code == 201

        def count(_):
            return len(requests.get(collection.url("read")).json())

        with ThreadPoolExecutor(8) as threads:
            writes = threads.map(write, range(10))
            seen = list(threads.map(count, range(40)))
            list(writes)

        assert {count % 50 for count in seen} == {0}
        assert len(collection.documents) == 500


class TestRefusals:
    @pytest.mark.parametrize(
        ("operation", "body", "status"),
        [
            ("write", {"_id": "taken"}, 409),
            ("write", {"_id": [1]}, 400),
            ("write", '{"a": 1, "a": 2}', 400),
            ("write", '{"a": NaN}', 400),
            ("write", [{}], 400),
            ("batchwrite", [{"_id": 1}, {"_id": "taken"}], 409),
            ("batchwrite", [{"_id": 1}, {"_id": 1.0}], 409),
            ("batchwrite", [{}, {}, 5], 400),
            ("batchwrite", [{}, {"_id": {"$regularExpression": {"pattern": "a", "options": ""}}}], 400),
            ("batchwrite", '[{"a": 1}, {"a": 1', 400),
            ("updatewithupsert", update({}, {"$inc": {"title": 1}}), 400),
            ("updatewithupsert", update({}, {"$set": {"seen": True}, "$inc": {"mixed": 1}}), 400),
            ("updatewithupsert", update({}, {"$set": {"seen": True}, "amount": 1}), 400),
            ("updatewithupsert", update({}, {"$st": {"amount": 1}}), 400),
            ("updatewithupsert", update({}, {"amount": 1, "amount.x": 2}), 400),
            ("updatewithupsert", update({}, {"_id": "other", "seen": True}), 400),
            ("updatewithupsert", update({"a": {"$gtt": 1}}, {"seen": True}, upsert=True), 400),
            ("updatewithupsert", update({}, {"seen": True}, mutli=False), 400),
            ("updatewithupsert", update({"title": "foo"}, {"seen": True}), 404),
            ("updatewithupsert", update({"_id": "taken", "x": 1}, {"seen": True}, upsert=True), 409),
            ("updatewithupsert", update({"_id": [1]}, {"seen": True}, upsert=True), 400),
            ("batchdelete", "", 400),
            ("batchdelete", {"a": {"$gtt": 1}}, 400),
            ("batchdelete", {"$or": []}, 400),
        ],
    )
    def test_a_refused_request_leaves_no_trace(self, admin, problem, operation, body, status):
        """Whatever is refused, the documents, and the file that holds them, are byte for byte what they were."""
        collection = admin.collection([{"_id": "taken", "amount": 10, "mixed": 1}, {"title": "Movie", "mixed": "one"}])
        before = (collection.call("read").content, kept(collection))

        refused = problem(collection.call(operation, body))

        assert refused["status"] == status
        assert (collection.call("read").content, kept(collection)) == before


def kept(collection):
    """The file of a collection; empty where a database keeps it."""
    return collection.file.read_bytes() if collection.file.exists() else b""
