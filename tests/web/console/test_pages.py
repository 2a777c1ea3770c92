"""The pages of collections, settings, activity and the server, as Flask's client sees them."""

from __future__ import annotations

import io
import re
import zipfile
from html import unescape

import pytest

from connectome.config import Settings
from connectome.errors import NoSuchCollection, Unauthorized
from connectome.extjson import dumps
from connectome.stores import Find
from connectome.web.console.collections import id_from
from connectome.web.console.importing import format_of

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\u0000\ud83d\ude00".replace(
    "\ud83d\ude00", "😀"
)


def documents(service, id):
    return [{k: v for k, v in each.items() if k != "_id"} for each in service.collection(id).find(Find())]


def text(response):
    """What stands on a page, without its tags."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", response.text)))


class TestCollections:
    def test_each_has_a_row(self, client, service):
        """Id, title, documents, size, schema, last write and where to go stand in the row."""
        service.create(id="birds", title="Birds of Prey", schema={"type": "object"}, documents=[{"n": 1}])
        size = service.describe("birds")["size"]

        page = client.get("/")

        assert f"Birds of Prey birds 1 {size} B enforced" in text(page)
        for path in ("", "/integration", "/settings"):
            assert f'href="/collections/birds{path}"' in page.text
        assert f'datetime="{service.collection("birds").changed.isoformat(timespec="seconds")}"' in page.text

    def test_none_offers_the_example(self, consoles):
        """Where there is no collection, one click makes the example, and shows its credentials."""
        made = consoles()
        client = made.client()

        offered = 'action="/example"' in client.get("/").text
        response = client.post("/example")

        assert offered
        assert response.headers["Location"] == "/collections/movies/created"
        assert made.service.describe("movies")["count"] > 200

    def test_without_the_example_there_is_new_collection_alone(self, consoles, monkeypatch, tmp_path):
        """An installed package has no example, and offers none."""
        monkeypatch.setattr("connectome.web.console.collections.EXAMPLE", tmp_path / "none.json")
        client = consoles().client()

        page = client.get("/").text

        assert 'href="/new"' in page
        assert "/example" not in page
        assert client.post("/example").status_code == 404

    def test_a_damaged_one_says_what_to_do(self, consoles, service, console_):
        """A collection that is barred stands in the list as damaged, with what to do; its pages still open."""
        console_.close()
        file = console_.settings.data / "movies.json"
        file.write_bytes(file.read_bytes()[:-200])
        made = type(console_)(console_.settings.data)
        try:
            client = made.client()

            assert "Movies is damaged:" in text(client.get("/"))
            assert "connectome repair --salvage" in text(client.get("/"))
            for path in ("/server", "/activity", "/collections/movies/settings", "/collections/movies/created"):
                assert client.get(path).status_code == 200
            assert client.post("/collections/movies/settings/drop", data={"confirm": "movies"}).status_code == 303
        finally:
            made.close()


class TestNewCollection:
    def create(self, client, **form):
        return client.post("/new", data={"step": "create", **form})

    def test_a_name_is_enough(self, client, service):
        """A name makes a collection with an id from it; then its credentials are shown, and the way to the code."""
        response = self.create(client, title="Café Menus")
        page = client.get(response.headers["Location"])

        keys = service.describe("cafe-menus")["credentials"]
        assert response.headers["Location"] == "/collections/cafe-menus/created"
        assert service.describe("cafe-menus")["title"] == "Café Menus"
        assert page.text.count(f'data-copy="{keys["read"]}"') == page.text.count(f'data-copy="{keys["write"]}"') == 1
        assert 'href="/collections/cafe-menus/integration/api"' in page.text

    @pytest.mark.parametrize(
        ("title", "id"),
        [("Café menus 2024", "cafe-menus-2024"), ("流れ星", ""), ("  --a__b!! ", "a__b"), ("x" * 99, "x" * 64)],
    )
    def test_an_id_is_made_from_the_name(self, title, id):
        """Letters without marks, digits and underscores stay; anything between them is a hyphen."""
        assert id_from(title) == id

    def test_a_name_without_letters_gets_an_id(self, client, service):
        """Where no letter of the name can stand in a URL, an id is made."""
        id = self.create(client, title="流れ星").headers["Location"].split("/")[2]

        assert service.describe(id)["title"] == "流れ星"

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ('[{"n": 1}, {"n": {"$date": "2024-01-02T00:00:00Z"}}]', None),
            ('{"n": 1}\n\n{"n": {"$date": "2024-01-02T00:00:00Z"}}\n', None),
            ("n\n1\n2", [{"n": 1}, {"n": 2}]),
        ],
    )
    def test_its_first_documents_are_pasted(self, client, service, given, expected):
        """JSON, NDJSON and CSV are told apart, and kept with their types."""
        self.create(client, id="birds", text=given)

        expected = expected or [{"n": 1}, {"n": {"$date": "2024-01-02T00:00:00Z"}}]
        assert dumps(documents(service, "birds")) == dumps(expected)

    def test_or_come_from_a_file(self, client, service):
        """A file is read as its name says, and wins over what was pasted."""
        file = (io.BytesIO(b"code\n007\n"), "codes.csv")

        self.create(client, id="birds", file=file, text='[{"a": 1}]')

        assert documents(service, "birds") == [{"code": "007"}]

    def test_which_may_be_larger_than_a_request_of_the_api(self, consoles):
        """What somebody imports is not bounded by what a program may send at once."""
        made = consoles(max_body_bytes=1000)

        form = {"step": "create", "id": "birds", "text": dumps([{"n": "x" * 600_000}])}
        response = made.client().post("/new", data=form)

        assert response.status_code == 303

    def test_the_preview_shows_fields_types_and_rows(self, client, service):
        """Before anything is kept, the page shows what each field would be, and the first rows."""
        response = client.post("/new", data={"step": "preview", "text": "name,price,by.who\nSoup,4.5,Ann\nTea,,\n"})

        assert "2 documents of CSV, 3 fields" in text(response)
        assert re.findall(r'<span class="mono">([\w.]+)</span>', response.text) == ["name", "price", "by.who"]
        assert re.findall(r'<option value="">(\w+)', response.text.split('id="preview"')[1]) == [
            "string",
            "double",
            "string",
        ]
        assert re.findall(r"<td>(.*?)</td>", response.text)[:3] == ["Soup", "4.5", "Ann"]
        assert len(service.collections()) == 1

    def test_what_was_typed_is_still_there_after_it(self, client):
        """Without a script the preview is a second page, from which the collection is made."""
        form = {"step": "preview", "title": "Food <b>", "id": "food", "text": "name\nSoup", "type-name": "string"}

        page = client.post("/new", data=form).text

        assert 'value="Food &lt;b&gt;"' in page
        assert 'value="food"' in page
        assert re.search(r"<textarea[^>]*>\nname\nSoup</textarea>", page)
        assert "<option selected>string</option>" in page

    def test_the_type_of_a_column_is_chosen(self, client, service):
        """What the preview proposes for CSV can be changed."""
        form = {"id": "food", "text": "code,price\n7,1", "type-code": "string", "type-price": ""}

        self.create(client, **form)

        assert documents(service, "food") == [{"code": "7", "price": 1}]

    @pytest.mark.parametrize(
        ("form", "says"),
        [
            ({"id": "a b"}, "an id has 1 to 64 letters, digits"),
            ({"id": "movies"}, "the id 'movies' is taken"),
            ({"text": '[{"a": 1}, {"a": NaN}]'}, "expected a number, not NaN"),
            ({"text": "a,a\n1,2"}, "the header names 'a' twice"),
            ({"text": "[", "format": "json"}, "malformed JSON in line 1"),
            ({"text": "x", "format": "xml"}, "a format is one of json, ndjson, csv, tsv, ejson, not 'xml'"),
            ({"text": "a\nb", "type-a": "int"}, "line 2, column 'a': expected int"),
            ({"text": '[{"_id": 1}, {"_id": 1}]', "id": "x"}, "_id 1 is taken"),
        ],
    )
    def test_a_mistake_makes_nothing(self, client, service, form, says):
        """What is wrong is said in the API's own words; what was typed is still there, and nothing was made."""
        response = self.create(client, **form)

        assert response.status_code == 400
        assert says in text(response)
        assert re.sub(r"\s+", " ", form.get("text", "")) in text(response)
        assert [each["id"] for each in service.collections()] == ["movies"]

    @pytest.mark.parametrize(
        ("name", "content", "format"),
        [
            ("a.csv", b"[1", "csv"),
            ("a.NDJSON", b"[", "ndjson"),
            ("a.jsonl", b"", "ndjson"),
            ("a.json", b'{"_default": {}}', "json"),
            ("a.json", b'{"a": 1}\n{"a": 2}', "ndjson"),
            ("a.txt", b"\xef\xbb\xbf[", "json"),
            ("", b'{"a":\n1}', "json"),
            ("", b'  {"a": 1}', "ndjson"),
            ("", b"a;b", "csv"),
        ],
    )
    def test_formats_are_told_apart(self, name, content, format):
        """The ending of a name decides, else how the content begins."""
        assert format_of(name, content) == format


class TestSettings:
    PATH = "/collections/movies/settings"

    def test_the_title_is_changed(self, client, service):
        """A new title is kept, and the next page says so once."""
        client.post(f"{self.PATH}/title", data={"title": " Films "})

        assert service.describe("movies")["title"] == "Films"
        assert "The title is now “Films”." in text(client.get(self.PATH))
        assert "The title is now" not in text(client.get(self.PATH))

    @pytest.mark.parametrize("title", ["", "  "])
    def test_no_title_is_none(self, client, service, title):
        """A title has at least one character."""
        response = client.post(f"{self.PATH}/title", data={"title": title})

        assert (response.status_code, service.describe("movies")["title"]) == (400, "Movies")
        assert "A title has at least one character." in text(response)

    @pytest.mark.parametrize("role", ["read", "write"])
    def test_a_credential_is_rotated(self, client, service, role):
        """The old one stops at once; the other stays."""
        before = service.describe("movies")["credentials"]

        client.post(f"{self.PATH}/credentials/{role}")

        after = service.describe("movies")["credentials"]
        assert {each for each in before if before[each] != after[each]} == {role}
        with pytest.raises(Unauthorized):
            getattr(service, role + "r" if role == "write" else "reader")(before[role], "movies")

    def test_documents_are_deleted(self, client, service):
        """Once its id is typed, a collection is emptied; its credentials stay."""
        before = service.describe("movies")

        client.post(f"{self.PATH}/empty", data={"confirm": "movies"})

        after = service.describe("movies")
        assert after["count"] == 0
        assert after["credentials"] == before["credentials"]
        assert f"{before['count']} documents deleted" in text(client.get(self.PATH))

    def test_it_is_dropped(self, client, service):
        """Once its id is typed, a collection is gone."""
        assert client.post(f"{self.PATH}/drop", data={"confirm": "movies"}).headers["Location"] == "/"

        with pytest.raises(NoSuchCollection):
            service.describe("movies")

    @pytest.mark.parametrize("what", ["empty", "drop"])
    @pytest.mark.parametrize("typed", ["", "Movies", "movie"])
    def test_nothing_goes_unconfirmed(self, client, service, what, typed):
        """Another name than its id changes nothing, and the page says what to type."""
        response = client.post(f"{self.PATH}/{what}", data={"confirm": typed})

        assert (response.status_code, service.describe("movies")["count"] > 200) == (400, True)
        assert "Type movies to confirm: nothing was changed." in text(response)

    def test_of_no_collection(self, client):
        """There is nothing to set, and nothing to take away, where there is no collection."""
        for path in ("settings", "activity", "created"):
            assert client.get(f"/collections/none/{path}").status_code == 404
        for path in ("title", "empty", "drop", "credentials/read"):
            form = {"title": "x", "confirm": "none"}
            assert client.post(f"/collections/none/settings/{path}", data=form).status_code == 404


class TestServer:
    def test_each_setting_says_where_it_comes_from(self, tmp_path, consoles):
        """Its value, and default, environment or argument; the token is not shown."""
        environ = {"CONNECTOME_THREADS": "3", "CONNECTOME_ADMIN_TOKEN": "hush-hush", "CONNECTOME_METRICS_TOKEN": "hush"}
        given = Settings.from_environ(environ, data=tmp_path / "d", port=0, host=None)
        made = consoles(
            **{name: getattr(given, name) for name in ("threads", "port", "admin_token", "metrics_token")},
            origins=given.origins,
        )

        page = made.client().get("/server")

        rows = dict(re.findall(r"CONNECTOME_(\w+) (.+?) (?:default|environment|argument)\b", text(page)))
        origins = dict(re.findall(r"CONNECTOME_(\w+) .+? (default|environment|argument)\b", text(page)))
        assert (rows["THREADS"], origins["THREADS"]) == ("3", "environment")
        assert (rows["PORT"], origins["PORT"]) == ("0", "argument")
        assert (rows["HOST"], origins["HOST"]) == ("127.0.0.1", "default")
        assert (rows["ADMIN_TOKEN"], origins["ADMIN_TOKEN"]) == ("set", "environment")
        assert "hush" not in page.text

    def test_a_backup_is_downloaded(self, client):
        """All collections in one archive, without credentials."""
        response = client.get("/server/backup")

        assert re.match(r"attachment; filename=\"connectome-\d{4}-.*\.zip\"", response.headers["Content-Disposition"])
        with zipfile.ZipFile(io.BytesIO(response.data)) as archive:
            assert any("movies" in name for name in archive.namelist())
            assert not any(b"cr_" in archive.read(name) for name in archive.namelist())


class TestActivity:
    @pytest.fixture
    def asked(self, console_, service):
        """Some requests: two answered, one refused, one of a stranger."""
        keys = service.describe("movies")["credentials"]
        client = console_.app.test_client()
        client.post(f"/collection/readwithquery/{keys['read']}/movies", json={"query": {"year": 1}})
        client.get(f"/collection/read/{keys['read']}/movies")
        client.get(f"/collection/read/{keys['write']}/movies")
        client.get("/collection/read/cr_stranger/elsewhere")
        return keys

    @pytest.mark.parametrize(("path", "count"), [("/activity", 4), ("/collections/movies/activity", 3)])
    def test_counts(self, client, asked, path, count):
        """Requests by class, by operation and one by one; the chart has a bar for each class, the table a row."""
        page = client.get(path)

        assert f"Requests {count} Refused (4xx) {count - 2} Failed (5xx) 0" in text(page)
        assert re.findall(r'<rect class="series-(\d)" x', page.text) == ["2", "1"]
        assert "readwithquery 1 0 0" in text(page)
        assert "elsewhere" not in page.text

    def test_names_no_credential(self, client, asked):
        """Neither a valid credential nor one that was made up stands on the page."""
        for path in ("/activity", "/collections/movies/activity"):
            page = client.get(path).text
            assert not any(key in page for key in [*asked.values(), "cr_stranger"])

    def test_slow_queries_have_a_shape(self, client, console_):
        """A slow query is told by its shape, without its values."""
        activity = console_.app.extensions["connectome.activity"]
        activity.record("readwithquery", "movies", 200, 0.25, {"title": "secret", "<b>": {"$gt": 3}})

        page = client.get("/activity")

        assert "{title: ?, <b>: {$gt: ?}} Movies readwithquery 1 250 ms 250 ms" in text(page)
        assert "<b>" not in page.text
        assert "secret" not in page.text

    def test_nothing_yet(self, client):
        """Before the first request the page says so."""
        assert "Nothing was asked in the last hour" in text(client.get("/activity"))

    def test_a_dropped_collection_is_not_named(self, client, asked, service):
        """What is gone is not spoken of."""
        service.drop("movies")

        page = client.get("/activity")

        assert page.status_code == 200
        assert "/collections/movies" not in page.text


class TestHostileValues:
    def test_are_text(self, client, service):
        """A title, and documents of a preview, are shown as the text they are."""
        service.create(id="evil", title=HOSTILE, documents=[{HOSTILE.replace("\0", ""): HOSTILE}])
        pages = [client.get(path) for path in ("/", "/collections/evil/settings", "/collections/evil/created")]
        given = dumps([{HOSTILE.replace("\0", ""): HOSTILE, "__proto__": {"a": "</textarea><script>"}}])
        pages.append(client.post("/new", data={"step": "preview", "title": HOSTILE, "text": given}))

        for page in pages:
            assert page.status_code == 200
            assert "&lt;script&gt;alert(1)" in page.text
            assert not re.search(r"<script(?![^>]* src=\"/-/console/)|<img", page.text)

    def test_long_ones_are_cut(self, client):
        """A document of a megabyte, or of five hundred fields, makes no page of that size."""
        given = dumps([{f"field{n}": n for n in range(500)}, {"long": "x" * 300_000}])

        page = client.post("/new", data={"step": "preview", "text": given})

        assert re.search(r"without more than \d+ further fields", text(page))
        assert page.text.count('<th scope="col">') == 30
        assert page.text.count("x" * 61) == page.text.split("</textarea>")[0].count("x" * 61)
