"""The console over a MongoDB database: every page is there, and what it changes is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectome.formats import read_documents
from connectome.query import Filter

MOVIES = Path(__file__).parents[3] / "data" / "examples" / "movies.json"


@pytest.fixture
def browser(consoles: Callable[..., Any], database: str) -> Any:
    """A browser that is signed in, and sees the movies."""
    made = consoles(store=f"{database}?appName=shibboleth")
    made.service.create(id="movies", title="Movies", documents=list(read_documents(MOVIES.read_bytes(), "json")))
    made.service.pin("movies", "amount")
    return made.client()


PAGES = [
    "/",
    "/new",
    "/collections/movies",
    '/collections/movies?query={"amount": {"$gt": 20}}',
    "/collections/movies/schema",
    "/collections/movies/integration/api",
    "/collections/movies/import",
    "/collections/movies/settings",
    "/activity",
    "/server",
]


def test_every_page_is_there(browser: Any) -> None:
    """And none of them shows the options of the URL, among which a password may be."""
    for page in PAGES:
        shown = browser.get(page)
        assert shown.status_code == 200, page
        assert "shibboleth" not in shown.text, page


def test_what_it_deletes_is_gone(browser: Any) -> None:
    """A form reaches the database."""
    service = browser.application.extensions["connectome"]
    before = service.collection("movies").count(Filter({}))

    assert before
    assert browser.post("/collections/movies/settings/empty", data={"confirm": "movies"}).status_code == 303
    assert service.collection("movies").count(Filter({})) == 0
