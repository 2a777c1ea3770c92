"""Seed files: what is read from them, what is refused, and how they are written again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from mocks import DB

from connectome.errors import ConfigurationError, InvalidJSON, InvalidRequest
from connectome.query import Filter
from connectome.seeds import Planted, SeedFile, collections


@pytest.fixture
def file(tmp_path):
    """What makes a seed file of a name and a content."""

    def made(name, content, **options):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return SeedFile(path, **options)

    return made


class TestReading:
    def test_a_db_json_is_a_collection_for_each_key(self, file):
        """Arrays are collections, an object is a collection of one document, ``$schema`` is none."""
        read = file("db.json", DB, identity="id").read()

        assert [(each.id, len(each.documents), each.alone) for each in read] == [
            ("posts", 2, False),
            ("comments", 2, False),
            ("profile", 1, True),
        ]
        assert read[0].documents[0] == {"_id": "1", "title": "a title", "views": 100}

    def test_without_an_identity_id_is_a_field(self, file):
        """``id`` stays as it is where nobody says that it is the ``_id``."""
        assert file("db.json", DB).read()[0].documents[0] == {"id": "1", "title": "a title", "views": 100}

    def test_the_fuller_form_says_more(self):
        """Title, schema and credentials stand beside the documents, whose Extended JSON is read."""
        said = {"title": "T", "schema": {"type": "object"}, "credentials": {"read": "r", "write": "w"}}
        (read,) = collections({"collections": {"posts": {**said, "documents": [{"n": {"$numberLong": "5"}}]}}})

        assert (read.id, read.title, read.schema, read.credentials) == ("posts", *said.values())
        assert read.documents == [{"n": 5}]

    def test_an_array_called_collections_is_a_collection(self):
        """Only an object under the one key ``collections`` is the fuller form."""
        assert [each.id for each in collections({"collections": [{"a": 1}]})] == ["collections"]
        assert [each.id for each in collections({"collections": {"a": 1}, "posts": []})] == ["collections", "posts"]

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("birds.json", '[{"n": 1}, {"n": 2}]'),
            ("birds.json", '{"_default": {"1": {"n": 1}, "2": {"n": 2}}}'),
            ("birds.ndjson", '{"n": 1}\n{"n": 2}\n'),
            ("birds.jsonl", '{"n": 1}\n{"n": 2}\n'),
            ("birds.csv", "n\n1\n2\n"),
        ],
    )
    def test_documents_alone_are_a_collection_of_the_files_name(self, file, name, content):
        """An array, NDJSON, CSV and TinyDB's own files hold one collection."""
        assert file(name, content).read() == [Planted("birds", [{"n": 1}, {"n": 2}])]

    @pytest.mark.parametrize(
        ("content", "pointer"),
        [
            ('{"posts": 3}', "/posts"),
            ('{"posts": [{}, 3]}', "/posts/1"),
            ('{"posts": [{"d": {"$date": "x"}}]}', "/posts/0/d/$date"),
            ('{"posts": [{"id": 1, "_id": 2}]}', "/posts/0"),
            ('{"a/b": []}', "/a~1b"),
            ('{"collections": {"posts": {"documents": [3]}}}', "/collections/posts/documents/0"),
            ('{"collections": {"posts": {"titel": "x"}}}', "/collections/posts/titel"),
            ('{"collections": {"posts": {"credentials": {"reed": "x"}}}}', "/collections/posts/credentials/reed"),
            ("[3]", "/0"),
        ],
    )
    def test_what_is_wrong_is_said_with_its_place(self, file, content, pointer):
        """A refusal names the file, and points into it."""
        with pytest.raises((InvalidRequest, InvalidJSON)) as refused:
            file("db.json", content, identity="id").read()

        assert refused.value.pointer == pointer
        assert "/db.json: " in refused.value.detail

    def test_another_ending_is_refused(self, file):
        """A file whose ending says nothing of its format is refused with those that do."""
        with pytest.raises(ConfigurationError, match=r"notes\.txt does not end in \.json, \.ndjson"):
            file("notes.txt", "")

    def test_a_file_that_gives_no_name_is_refused(self, file):
        """A collection cannot be called ``my birds``."""
        with pytest.raises(InvalidRequest, match="called as the file"):
            file("my birds.csv", "n\n1\n").read()


class TestWriting:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("db.json", json.dumps(json.loads(DB), indent=2) + "\n"),
            ("db.json", json.dumps(json.loads(DB), indent="\t")),
            ("db.json", json.dumps(json.loads(DB))),
            ("db.json", json.dumps(json.loads(DB), separators=(",", ":"))),
            ("db.json", json.dumps({"collections": {"a": {"title": "T", "schema": True, "documents": [{"id": 1}]}}})),
            ("birds.json", '[\n{"id": 1, "name": "Ä"},\n{"id": 2}\n]\n'),
            ("birds.json", '[\n    {\n        "id": 1\n    }\n]\n'),
            ("birds.ndjson", '{"id":1}\n{"id":2}\n'),
            ("birds.ndjson", '{"id":1}\r\n{"id":2}\r\n'),
            ("birds.json", '[\r\n  {\r\n    "id": 1\r\n  }\r\n]\r\n'),
            ("birds.json", '[\n{"id":1,"name":"Ä"},\n{"id":2}\n]\n'),
            ("birds.ejson", '[\n{"id":{"$numberInt":"1"},"name":"a"},\n{"id":{"$numberInt":"2"}}\n]\n'),
            ("birds.csv", "id,name\r\n1,a\r\n2,b\r\n"),
            ("birds.csv", "id,color,name\n1,,a\n2,,b\n"),
            ("birds.tsv", "id\tname\n1\ta\n2\tb\n"),
        ],
    )
    def test_the_layout_stays(self, file, name, content):
        """What was read is written as it stood: indentation, line feeds, ``id``, one object alone."""
        seed = file(name, content, identity="id")
        read = seed.read()
        seed.write(read[:-1])
        assert seed.path.read_bytes() != content.encode()
        seed.write(read)

        assert seed.path.read_bytes() == content.encode()

    @pytest.mark.parametrize(
        ("name", "content"),
        [("birds.csv", "id,name\n1,a\n"), ("birds.tsv", "id\tname\n1\ta\n"), ("birds.ndjson", '{"id":1}\n')],
    )
    def test_a_file_without_documents_can_be_read_again(self, file, name, content):
        """What is left of a table is its header, and new documents have their place under it."""
        seed = file(name, content)
        seed.read()
        seed.write([Planted("birds")])
        (read,) = seed.read()
        seed.write([Planted("birds", [{"id": 1, "name": "a"}] if "name" in content else [{"id": 1}])])

        assert list(read.documents) == []
        assert seed.path.read_text() == content

    def test_a_link_stays_one(self, file, tmp_path):
        """The file that it leads to is written."""
        real = tmp_path / "elsewhere.ndjson"
        real.write_text('{"n":1}\n')
        link = tmp_path / "birds.ndjson"
        link.symlink_to(real)
        seed = SeedFile(link)
        seed.read()
        seed.write([Planted("birds", [{"n": 2}])])

        assert (link.is_symlink(), real.read_text()) == (True, '{"n":2}\n')

    def test_one_object_becomes_an_array_with_the_second(self, file):
        """A document more than fits into one object makes an array of it."""
        seed = file("db.json", '{"profile": {"name": "x"}}')
        (read,) = seed.read()
        seed.write([Planted("profile", [*read.documents, {"name": "y"}], alone=True)])

        assert json.loads(seed.path.read_text()) == {"profile": [{"name": "x"}, {"name": "y"}]}

    def test_what_has_not_changed_is_not_written(self, file):
        """A file that holds what it should is left alone."""
        seed = file("birds.ndjson", '{"n":1}\n')

        assert seed.write(seed.read()) is False

    def test_what_somebody_else_wrote_is_not_written_over(self, file):
        """An edit that was not read yet is not lost."""
        seed = file("birds.ndjson", '{"n":1}\n')
        seed.read()
        seed.path.write_text('{"n":2}\n')

        with pytest.raises(ConfigurationError, match="changed by somebody else"):
            seed.write([Planted("birds", [{"n": 3}])])
        assert seed.path.read_text() == '{"n":2}\n'


class TestManual:
    def test_the_examples_are_seeds(self):
        """The files that docs/mock.md shows are read as it says, and its filter for requests is one."""
        page = (Path(__file__).parents[1] / "docs/mock.md").read_text()
        plain, fuller, verify = map(json.loads, re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))

        assert [each.id for each in collections(plain, identity="id")] == ["posts", "comments", "profile"]
        assert plain == {name: each for name, each in json.loads(DB).items() if name != "$schema"}
        assert [(each.id, each.title) for each in collections(fuller)] == [("movies", "Movies")]
        assert Filter(verify["filter"]).matches(
            {"operation": "write", "collection": "posts", "body": {"title": "abc"}, "status": 201}
        )
