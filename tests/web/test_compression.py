"""Large answers go out as gzip to whoever takes it, and to nobody else."""

from __future__ import annotations

import gzip
import subprocess
from contextlib import closing

import pytest
from werkzeug.test import Client

from connectome.config import Settings
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import create_app
from connectome.web.exchange import WHOLE_BYTES

READ = "/collection/read/cr_reader/movies"


@pytest.fixture
def clients(tmp_path):
    """Makes clients of an application over so many documents of some 1000 bytes each."""
    with closing(Service(open_store(tmp_path / "data"))) as service:

        def make(count, **settings):
            service.create(id="movies", credentials={"read": "cr_reader", "write": "cw_writer"})
            documents = [{"_id": n, "text": "text " * 200} for n in range(count)]
            service.writer("cw_writer", "movies").insert_many(documents)
            return Client(create_app(Settings(data=tmp_path, admin_token="token", **settings), service))

        yield make


def read(client, accept_encoding="gzip", path=READ, **headers):
    """Everything, by a client that takes this."""
    return client.get(path, headers={"Accept-Encoding": accept_encoding, **headers})


class TestCompression:
    @pytest.mark.parametrize("count", [10, 200, 2000])
    def test_it_is_the_same_answer(self, clients, count):
        """Whole, in pieces, or made as it is sent."""
        client = clients(count)

        plain, small = client.get(READ), read(client)

        assert gzip.decompress(small.data) == plain.data
        assert small.headers["Content-Encoding"] == "gzip"
        assert small.headers["Vary"] == "Accept-Encoding"
        assert small.headers["ETag"] == plain.headers["ETag"]
        assert len(small.data) < len(plain.data) / 3
        assert ("Content-Length" in small.headers) == (len(plain.data) <= WHOLE_BYTES)
        assert small.headers.get("Content-Length", str(len(small.data))) == str(len(small.data))

    @pytest.mark.parametrize("accepted", ["gzip", "GZIP", "br, gzip;q=0.5", "*", "gzip, deflate, br, zstd"])
    def test_who_takes_it_gets_it(self, clients, accepted):
        """However it is said."""
        assert read(clients(10), accepted).headers.get("Content-Encoding") == "gzip"

    @pytest.mark.parametrize(
        "accepted",
        ["", "identity", "gzip;q=0", "br", "*;q=0", "gzip;q=0, *", "identity, gzip;q=0.5", "gzipped", "\xff"],
    )
    def test_who_does_not_take_it_does_not(self, clients, accepted):
        """Nor who likes the plain form better."""
        response = read(clients(10), accepted)

        assert "Content-Encoding" not in response.headers
        assert len(response.json) == 10

    def test_a_small_answer_stays_as_it_is(self, clients):
        """It would save less than it takes."""
        assert "Content-Encoding" not in read(clients(3)).headers

    def test_the_owner_may_have_none(self, clients):
        """With 0."""
        assert "Content-Encoding" not in read(clients(10, compress_bytes=0)).headers

    def test_what_is_known_has_no_body_to_compress(self, clients):
        """Nor has HEAD."""
        client = clients(10)
        known = client.get(READ).headers["ETag"]

        assert read(client, **{"If-None-Match": known}).status_code == 304
        assert client.head(READ, headers={"Accept-Encoding": "gzip"}).data == b""

    @pytest.mark.parametrize("kind", ["waitress", "granian"])
    def test_curl_reads_it(self, servers, tmp_path, kind):
        """Through a server, of either length."""
        pytest.importorskip("granian", reason="granian comes with the extra fast")
        with servers(tmp_path / "data", "--server", kind) as server:
            collection = server.admin.collection([{"_id": n, "text": "text " * 200} for n in range(3000)])
            for body in ("{}", '{"limit": 20}'):
                command = ["curl", "-s", "--compressed", "-i", "-d", body, collection.url("readwithquery")]
                answer = subprocess.run(command, capture_output=True, check=True).stdout
                head, _, content = answer.partition(b"\r\n\r\n")
                assert b"content-encoding: gzip" in head.lower()
                assert content.endswith(b'"}]\n')
