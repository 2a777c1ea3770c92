"""``connectome serve``: the server in the foreground, and its greeting."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import click

from connectome import __version__, config
from connectome.cli import failed
from connectome.cli.administration import plural
from connectome.config import Settings
from connectome.errors import ConfigurationError, ConnectomeError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from connectome.service import Service
    from connectome.web.serving import Run

_log = logging.getLogger(__name__)

# A greeting of more collections would scroll away what stands above them.
_GREETED: Final = 10


class _Site(NamedTuple):
    """
    What is served.

    login: makes the path of a link to the console, which signs in once; None where that is off.
    """

    app: WSGIApplication
    service: Service
    login: Callable[[], str | None]


def _with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Every setting as an option, but the data directory, which is the argument, and tokens."""
    for name, field in reversed(list(config.described())):
        if name == "data" or not config.option(name):
            continue
        default = config.written(field.default) if field.default != "" else "none"
        help = f"{field.metadata['help']}  [default: {default}; {config.variable(name)}]"
        words = [f"-{field.metadata['short']}"] if field.metadata["short"] else []
        long = f"--{name.replace('_', '-')}"
        if type(field.default) is bool:
            option = click.option(*words, f"{long}/--no-{long[2:]}", name, default=None, help=help)
        else:
            option = click.option(*words, long, name, type=type(field.default), help=help)
        function = option(function)
    return function


@click.command()
@click.argument("data", type=click.Path(path_type=Path), required=False)
@_with_settings
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help=f"The file of settings.  [default: {config.FILE_NAME} in the data directory; {config.FILE_VARIABLE}]",
)
@click.option("--print-config", is_flag=True, help="Print every setting, and where it comes from; serve nothing.")
def serve(data: Path | None, file: Path | None, print_config: bool, **options: Any) -> None:
    """Serve the collections of a data directory until Ctrl+C.  DATA is 'data' where it is not given."""
    settings = Settings.from_environ(data=data, config=file, **options)
    if print_config:
        _print_config(settings)
        return
    if settings.verbose:
        logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if settings.read_only and not settings.shared and not settings.data.is_dir():
        raise ConfigurationError(f"there is no data directory {settings.data} to be read")
    if settings.example and not Path(settings.example).is_file():
        raise ConfigurationError(f"there is no file {settings.example} to fill the data directory from")
    from connectome.web import serving

    if settings.server == "gunicorn":
        serving.require_gunicorn()
        with _ready_file(settings.ready_file):
            _serve_forked(settings, serving.bind(settings.host, settings.port))
    run = serving.chosen(settings.server, settings)
    with _ready_file(settings.ready_file):
        _serve_here(settings, serving.bind(settings.host, settings.port), run)


def _serve_here(settings: Settings, bound: socket.socket, run: Run) -> None:
    """Serve in this process, which opens the store."""
    from connectome.web import serving

    url = serving.url_of(settings.host, bound)
    site = _opened(settings, url)
    try:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: sys.exit(0))
        _say_ready(settings, url, site, pid=os.getpid())
        run(site.app, bound, settings.threads)
    finally:
        site.service.close()
        # Everything is kept: a second signal while Python takes itself apart changes nothing about that.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)


def _serve_forked(settings: Settings, bound: socket.socket) -> NoReturn:
    """Serve in processes forked off this one, each of which opens the store."""
    from connectome.web import forking, serving

    url = serving.url_of(settings.host, bound)

    def prepared(first: bool) -> tuple[WSGIApplication, Callable[[], None]]:
        try:
            site = _opened(settings, url)
            if first:
                _say_ready(settings, url, site, pid=os.getppid())
        except ConnectomeError as error:
            sys.exit(failed(error))
        return site.app, site.service.close

    forking.run(prepared, bound, settings)


def _print_config(settings: Settings) -> None:
    """Every setting as it would stand in the file, and behind it where it comes from."""
    lines = []
    for name, _ in config.described():
        lines.append((f"{name} = {config.written(config.shown(name, getattr(settings, name)))}", settings.origin(name)))
    width = max(len(line) for line, origin in lines if origin != "default") if settings.origins else 0
    for line, origin in lines:
        click.echo(f"{line:{max(width, 40)}}  # {origin}")


@contextmanager
def _ready_file(name: str) -> Iterator[None]:
    """Have no file of this name there but while the server serves; who is forked off here removes nothing."""
    pid = os.getpid()

    def remove() -> None:
        if name and os.getpid() == pid:
            with suppress(OSError):
                os.unlink(name)

    remove()
    try:
        yield
    finally:
        remove()


def _opened(settings: Settings, url: str) -> _Site:
    """The application over the store, which is filled where it is empty and an example is given."""
    from connectome.service import opened
    from connectome.web import console, create_app

    slow = threading.Timer(1.0, lambda: click.echo("Loading the documents …", err=True))
    slow.daemon = True
    slow.start()
    began = time.perf_counter()
    try:
        service = opened(settings, holder=url)
    finally:
        slow.cancel()
    _log.debug("opened the %s store in %.2f s", service.store, time.perf_counter() - began)
    try:
        if settings.example and not service.collections():
            fill(service, Path(settings.example))
        app = create_app(settings, service)
        return _Site(app, service, partial(console.login_path, app))
    except BaseException:
        service.close()
        raise


def fill(service: Service, example: Path) -> None:
    """Make a collection of a file, under the file's name."""
    from connectome.cli.files import read_file

    documents = read_file(example, None, {})
    title = example.stem.replace("_", " ").capitalize()
    service.create(id=example.stem, title=title, documents=documents)


def _say_ready(settings: Settings, url: str, site: _Site, *, pid: int) -> None:
    """Tell people, programs and the browser that requests are answered now."""
    public = settings.public_url or url
    if not settings.quiet:
        _greet(site.service, settings, url, site.login())
    if settings.ready_file:
        temporary = f"{settings.ready_file}.tmp"
        try:
            Path(temporary).write_text(json.dumps({"url": url, "pid": pid}) + "\n")
            os.replace(temporary, settings.ready_file)
        except OSError as error:
            raise ConfigurationError(f"ready_file {settings.ready_file} cannot be written: {error.strerror}") from None
    if settings.open:
        login = site.login()
        if not login:
            click.echo("there is nothing to open: the console is off", err=True)
            return
        import webbrowser

        # In a thread: some browsers come back once they are closed.
        threading.Thread(target=webbrowser.open, args=(public + login,), daemon=True).start()


def _greet(service: Service, settings: Settings, url: str, login: str | None) -> None:
    """Say what is served, where, how the console is entered, and one line that can be pasted."""
    collections = service.collections()
    total = sum(each["count"] or 0 for each in collections)
    public = settings.public_url or url
    store = f"data in {service.place if settings.shared else settings.data}"
    click.echo(f"{click.style('Connectome', bold=True)} {__version__} at {url}, {store}: ", nl=False)
    click.echo(f"{plural(len(collections), 'collection')}, {plural(total, 'document')}", nl=False)
    click.echo(", to be read alone\n" if settings.read_only else "\n")
    click.echo(f"  console  {public + login if login else _why_no_console(settings)}")
    click.echo(f"  API      {public}/collection")
    click.echo(f"  docs     {public}/-/docs")
    for each in collections[:_GREETED]:
        keys = {role: config.masked(key) if key else "…" for role, key in each["credentials"].items()}
        holds = "damaged: see the log" if each["count"] is None else plural(each["count"], "document")
        click.echo(f"\n  {click.style(each['title'], bold=True)}, {holds}")
        click.echo(f"    read   {keys['read']}")
        click.echo(f"    write  {keys['write']}")
    if more := collections[_GREETED:]:
        click.echo(f"\n  and {plural(len(more), 'collection')} more")
    place = "" if settings.data == Settings.data else f" --data {shlex.quote(str(settings.data))}"
    readable = next((each for each in collections if each["count"] is not None and each["credentials"]["read"]), None)
    if readable:
        shown = f"{_program()} credentials show {readable['id']}"
        click.echo(f"\nShow them in full:\n  {shown}{place}\n\nTry it:")
        click.echo(
            f"  curl -s {public}/collection/readwithquery/$({shown} read{place})/{readable['id']}"
            f" -H 'Content-Type: application/json' -d '{_question(service, readable)}'"
        )
    elif not collections:
        click.echo(f"\nNo collection yet.  Make one:\n  {_program()} collections create movies{place}")
    click.echo("\nCtrl+C stops it.")


def _why_no_console(settings: Settings) -> str:
    if not settings.console:
        return "off, as it was told to be"
    if settings.workers > 1:
        return "off, since who is signed in is known to one process alone: --workers 1 has it"
    return "off, since other machines reach it: set CONNECTOME_ADMIN_TOKEN to have it"


def _program() -> str:
    """How this program is called from where it was called."""
    called = sys.argv[0]
    if os.path.basename(called) != "connectome":
        return f"{shlex.quote(sys.executable)} -m connectome"
    found = shutil.which("connectome")
    return "connectome" if found and os.path.realpath(found) == os.path.realpath(called) else shlex.quote(called)


def _question(service: Service, described: dict[str, Any]) -> str:
    """A query that finds something in this collection: the largest values of a numeric field, where it has one."""
    sample = next(iter(service.first_documents(described["id"], 1)), {})
    names = [name for name in sample if name.isalnum()]  # nothing that a shell or a path could take for its own
    number = next((name for name in names if type(sample[name]) is int), None)
    if number is None:
        return json.dumps({"limit": 2})
    return json.dumps(
        {
            "query": {number: {"$gte": sample[number]}},
            "project": {names[0]: 1, number: 1},
            "sort": {number: -1},
            "limit": 2,
        }
    )
