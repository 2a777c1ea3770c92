"""Requests and answers as WSGI has them: bodies that are read, and those that are sent in pieces."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import ClientDisconnected, LengthRequired

from connectome.errors import BodyTooLarge
from connectome.formats import CUT
from connectome.web.exchange import NO_LIMIT, PIECE_BYTES, Answer, Pieces, Request, Stream


class Dribble(io.BytesIO):
    """A stream that gives one byte at a time, as a slow connection may."""

    def read(self, size=-1):
        return super().read(min(size, 1))


def request(content, *, limit=10, stream=io.BytesIO, **environ):
    """A request with a body, which ends where the server says."""
    return Request({"wsgi.input": stream(content), "wsgi.input_terminated": True, **environ}, limit)


class TestBody:
    @pytest.mark.parametrize("stream", [io.BytesIO, Dribble])
    @pytest.mark.parametrize("announced", [{"CONTENT_LENGTH": "10"}, {}, {"HTTP_TRANSFER_ENCODING": "chunked"}])
    def test_a_body_of_just_the_limit_is_read(self, stream, announced):
        """In one go or in many, announced or not."""
        assert request(b"x" * 10, stream=stream, **announced).body() == b"x" * 10

    @pytest.mark.parametrize("stream", [io.BytesIO, Dribble])
    def test_a_longer_body_in_chunks_is_refused(self, stream):
        """And not cut to what is allowed: ``{}`` and much space would be a filter for everything."""
        with pytest.raises(BodyTooLarge, match="up to 10 bytes, not more"):
            request(b"{}" + b" " * 100, stream=stream).body()

    def test_a_longer_body_is_refused_unread(self):
        """Its length says enough."""
        asked = request(b"", CONTENT_LENGTH="11")

        with pytest.raises(BodyTooLarge, match="up to 10 bytes, not 11 bytes"):
            asked.body()

    @pytest.mark.parametrize("stream", [io.BytesIO, Dribble])
    def test_what_follows_the_announced_length_is_not_read(self, stream):
        """It is the next request."""
        assert request(b"{}GET /", stream=stream, CONTENT_LENGTH="2").body() == b"{}"

    def test_a_body_that_breaks_off_is_refused(self):
        """A part of what was announced is not what was meant."""
        with pytest.raises(ClientDisconnected):
            request(b"{}", CONTENT_LENGTH="5").body()

    def test_without_an_end_there_is_no_body(self):
        """A server that neither knows the length nor ends the stream would wait for ever."""
        assert Request({"wsgi.input": io.BytesIO(b"{}")}, 10).body() == b""

    def test_a_body_that_cannot_be_read_is_refused(self):
        """A body in chunks, on a server that does not read them, is not taken for none."""
        with pytest.raises(LengthRequired):
            Request({"wsgi.input": io.BytesIO(b"{}"), "HTTP_TRANSFER_ENCODING": "chunked"}, 10).body()

    def test_lines_need_a_length(self):
        """A server that does not tell an end in chunks from a cut would have part of an import for all of it."""
        with pytest.raises(LengthRequired):
            request(b'{"a": 1}\n', HTTP_TRANSFER_ENCODING="chunked").body(ends_itself=False)
        assert request(b"{}\n", CONTENT_LENGTH="3").body(ends_itself=False) == b"{}\n"

    def test_there_may_be_no_limit(self):
        """As for an import."""
        assert request(b"x" * 1000, limit=NO_LIMIT).body() == b"x" * 1000


TEXTS = st.lists(st.integers(0, 3 * PIECE_BYTES).map(lambda size: b"x" * size) | st.just(b"{}"), max_size=12)


class TestPieces:
    @given(TEXTS, *[st.sampled_from([b"", b",", b"[", b"]\n"])] * 3)
    def test_pieces_are_the_whole(self, texts, before, between, after):
        """However large the texts are, the pieces are the same bytes as the whole, and as many as were said."""
        pieces = Pieces(texts, before=before, between=between, after=after)

        assert b"".join(pieces) == before + between.join(texts) + after
        assert len(pieces) == sum(map(len, pieces))

    def test_pieces_are_small(self):
        """A large answer is never joined as a whole."""
        pieces = list(Pieces([b"x" * 500] * 10_000, before=b"[", between=b",", after=b"]\n"))

        assert max(map(len, pieces)) <= PIECE_BYTES + 500
        assert len(pieces) < 100


class TestStream:
    @given(TEXTS, *[st.sampled_from([b"", b",", b"[", b"]\n"])] * 3)
    def test_it_is_what_pieces_are(self, texts, before, between, after):
        """The same bytes, made as they are sent."""
        stream = Stream(iter(texts), before=before, between=between, after=after)

        assert b"".join(stream) == before + between.join(texts) + after

    def test_no_more_is_made_than_is_sent(self):
        """A client that stops reading ends the work."""
        made = []
        pieces = iter(Stream(made.append(n) or b"x" * 1000 for n in range(100_000)))

        for _ in range(5):
            next(pieces)

        assert len(made) < 500

    @pytest.mark.parametrize("form", [(b"[", b",", b"]\n"), (b"", b"", b"")])
    def test_what_is_cut_is_no_json(self, form, caplog):
        """Whatever a server makes of an error midway, nobody takes a part for the whole."""

        def texts():
            yield from [b'{"_id":1}\n'] * 3
            raise RuntimeError("the disk is gone")

        before, between, after = form
        sent = []

        def send():
            for piece in Stream(texts(), before=before, between=between, after=after):
                sent.append(piece)

        with pytest.raises(RuntimeError):
            send()

        *_, last = b"".join(sent).splitlines()
        assert last + b"\n" == CUT[1:]
        with pytest.raises(ValueError, match="Unterminated string"):
            json.loads(last)
        assert "an answer was cut" in caplog.text


class TestAnswer:
    def test_it_is_a_wsgi_application(self):
        """Status, headers, body: and to HEAD the same without the body."""
        started = []

        body = Answer(b"{}\n", "application/json", 201)({"REQUEST_METHOD": "GET"}, lambda *each: started.append(each))
        head = Answer(b"{}\n", "application/json", 201)({"REQUEST_METHOD": "HEAD"}, lambda *each: started.append(each))

        assert (list(body), list(head)) == ([b"{}\n"], [])
        assert started[0] == started[1]
        assert started[0][0] == "201 CREATED"
        assert started[0][1][:2] == [("Content-Type", "application/json"), ("Content-Length", "3")]
