"""What tests of the console share: Flask's client, signed in; and Chromium on a page of a real server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page, expect

from connectome.config import Settings
from connectome.formats import read_documents
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import console, create_app

MOVIES = Path(__file__).parents[3] / "data" / "examples" / "movies.json"
TOKEN = "the-administrator-s-own-token"
# Of the rules of WCAG 2.2, those of levels A and AA, and what axe holds good practice.
AXE = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

# As long as a page may take on a machine that is busy with other tests.
expect.set_options(timeout=20_000)


class Client(FlaskClient):
    """A browser as Flask sees it: it asks for pages, and its changes come from a page of the same origin."""

    def open(self, *args: Any, **options: Any) -> Any:
        headers = {"Accept": "text/html,*/*;q=0.8", "Sec-Fetch-Site": "same-origin", **options.pop("headers", {})}
        return super().open(*args, headers=headers, buffered=True, **options)  # files are closed


class Console:
    """An application over a fresh data directory: ``app``, its ``service``, and the browsers that come to it."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.settings = Settings(data=data, **settings)
        self.service = Service(open_store(self.settings.place))
        self.app = create_app(self.settings, self.service)
        self.app.test_client_class = Client

    def client(self, *, signed_in: bool = True) -> Client:
        """A browser with no cookies but, where it is signed in, that of its session."""
        client: Any = self.app.test_client()
        if signed_in:
            assert client.get(str(console.login_path(self.app))).status_code == 303
        return client

    def close(self) -> None:
        """Let go of the data directory."""
        self.service.close()


@pytest.fixture
def consoles(tmp_path: Path) -> Iterator[Callable[..., Console]]:
    """Makes applications of settings: ``consoles(host="0.0.0.0")``; one at a time over one data directory."""
    made: list[Console] = []

    def make(**settings: Any) -> Console:
        made.append(Console(tmp_path / f"data{len(made)}", **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def console_(consoles: Callable[..., Console]) -> Console:
    """An application with the collection ``movies`` of the example."""
    made = consoles()
    made.service.create(id="movies", title="Movies", documents=list(read_documents(MOVIES.read_bytes(), "json")))
    return made


@pytest.fixture
def service(console_: Console) -> Service:
    """What ``client`` sees the pages of."""
    return console_.service


@pytest.fixture
def client(console_: Console) -> Client:
    """A browser that is signed in."""
    return console_.client()


@pytest.fixture(scope="session")
def console_server(servers: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with the movies example, for the whole session: what a test changes, it makes for itself."""
    data = tmp_path_factory.mktemp("console") / "data"
    data.mkdir(exist_ok=True)
    (data / "connectome.toml").write_text(f'admin_token = "{TOKEN}"\n')
    with servers(data, "--example", str(MOVIES)) as server:
        yield server


def _signed_in(url: str) -> dict[str, str]:
    """The cookie of a session of its own, so that a test may sign out."""
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Sec-Fetch-Site": "same-origin"}
        answer = session.post(f"{url}/login", {"token": TOKEN}, headers=headers, allow_redirects=False, timeout=30)
        assert answer.status_code == 303, answer.text
        return answer.cookies.get_dict()


@contextmanager
def watched(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """
    A page of a server, signed in, on which nothing may go wrong: no error, no word of a refused policy on its
    browser's console, no request to another host.  ``page.allowed`` is what a test expects there after all.
    """
    wrong: list[str] = []
    with closing(browser.new_context(base_url=url, **options)) as context:
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
        page = context.new_page()
        page.allowed = []  # type: ignore[attr-defined]
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((url + "/", "data:", "blob:")) else wrong.append(f"asks {request.url}")
            ),
        )
        context.add_cookies([{"name": name, "value": value, "url": url} for name, value in _signed_in(url).items()])
        page.goto("/")
        yield page
    allowed: list[str] = page.allowed  # type: ignore[attr-defined]
    assert [each for each in wrong if not any(re.search(pattern, each) for pattern in allowed)] == []


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Browser, console_server: Any) -> Iterator[Page]:
    """A page in Chromium, signed in, in both themes."""
    with watched(browser, console_server.url, color_scheme=request.param) as page:
        yield page


@pytest.fixture
def narrow_page(browser: Browser, console_server: Any) -> Iterator[Page]:
    """A page that is 320 px wide."""
    with watched(browser, console_server.url, viewport={"width": 320, "height": 640}) as page:
        yield page


@pytest.fixture(scope="session")
def accessible() -> Callable[[Page], None]:
    """Has axe look at a page as it stands: ``accessible(page)`` fails on every violation."""
    axe = Axe()

    def check(page: Page) -> None:
        found = axe.run(page, options=AXE)
        assert not found.violations_count, found.generate_report()

    return check


@pytest.fixture(scope="session")
def reflowed() -> Callable[[Page], None]:
    """``reflowed(page)`` fails where the page as a whole scrolls sideways."""

    def check(page: Page) -> None:
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")

    return check


@pytest.fixture(scope="session")
def problem_of() -> Callable[[Any], tuple[int, str]]:
    """The status and the detail of a response of Flask's client that is a problem."""

    def members(response: Any) -> tuple[int, str]:
        assert response.mimetype == "application/problem+json", response.text
        problem = response.get_json(force=True)
        assert problem["status"] == response.status_code
        return problem["status"], problem["detail"]

    return members
