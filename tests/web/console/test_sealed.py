"""The console over a store that keeps credentials as digests: each is shown once, and then only its end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectome.config import Settings
from connectome.service import Service
from connectome.stores.embedded import EmbeddedStore
from connectome.web import console, create_app

SECRET = re.compile(r"c[rw]_[A-Za-z0-9_-]{32}")


class SharedStore(EmbeddedStore):
    """A store that might be shared, and is not."""

    shared = True


@pytest.fixture
def client(tmp_path: Path) -> Iterator[object]:
    service = Service(SharedStore(tmp_path / "data"))
    app = create_app(Settings(data=tmp_path / "data"), service)
    client = app.test_client()
    client.environ_base |= {"HTTP_ACCEPT": "text/html,*/*;q=0.8", "HTTP_SEC_FETCH_SITE": "same-origin"}
    client.get(str(console.login_path(app)))
    client.post("/new", data={"title": "Movies", "id": "movies", "text": "", "step": "create"})
    yield client
    service.close()


def text(page: object) -> str:
    """What a page says, without its tags."""
    return " ".join(re.sub("<[^>]*>", "", page.get_data(as_text=True)).split())  # type: ignore[attr-defined]


def secrets(page: object) -> set[str]:
    return set(SECRET.findall(page.get_data(as_text=True)))  # type: ignore[attr-defined]


def test_those_of_a_new_collection_are_shown_once(client):
    """The page says so; the next one has their last four characters."""
    page = client.get("/collections/movies/created")

    made = secrets(page)
    assert {each[:3] for each in made} == {"cr_", "cw_"}
    assert "They are shown once: copy them now." in text(page)
    again = client.get("/collections/movies/created")
    assert secrets(again) == set()
    assert all(f"…{each[-4:]}" in text(again) for each in made)


def test_a_fresh_one_is_shown_once(client):
    """Of a rotation, and one with a name."""
    client.get("/collections/movies/created")
    path = "/collections/movies/settings"
    for action in ({"grace": "3600"}, {"grace": "0"}):
        client.post(f"{path}/credentials/read", data=action)
        (fresh,) = secrets(client.get(path))
        page = client.get(path)
        assert secrets(page) == set()
        assert f"…{fresh[-4:]} It was shown when it was made, and is not known any more" in text(page)
        assert ("read.1" in text(page)) is (action["grace"] != "0")

    client.post(f"{path}/credentials", data={"name": "ci", "role": "write", "expires": "30"})
    (named,) = secrets(client.get(path))
    assert named.startswith("cw_")
    client.post(f"{path}/credentials/ci/revoke")
    assert "The credential ci is revoked." in text(client.get(path))


@pytest.mark.parametrize("name", ["", "a b", "read"])
def test_a_name_that_is_none_is_refused_on_the_page(client, name):
    """With what is expected, and the form open."""
    page = client.post("/collections/movies/settings/credentials", data={"name": name, "role": "read"})

    assert page.status_code == 400
    assert 'id="error-name"' in page.get_data(as_text=True)


def test_what_cannot_be_revoked_stays(client):
    """The page says why."""
    client.post("/collections/movies/settings/credentials/read/revoke")

    assert "Every collection has a read credential: rotate it instead." in text(
        client.get("/collections/movies/settings")
    )


def test_code_has_a_word_in_place_of_a_credential_that_nobody_knows(client):
    """The reader puts his own there."""
    page = client.get("/collections/movies/integration/api?show=1")

    assert page.status_code == 200
    assert "READ_CREDENTIAL" in page.get_data(as_text=True)
    code = client.post("/collections/movies/integration/api/snippet", json={"operation": "write"}).json["code"]
    assert "WRITE_CREDENTIAL" in "".join(piece for _, piece in code)
