"""``connectome serve``: the server in the foreground, and its greeting."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from connectome import __version__, config
from connectome.cli.administration import plural
from connectome.cli.files import read_file
from connectome.config import Settings
from connectome.service import Service
from connectome.stores import Find, open_store


def _with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Every setting as an option, but the data directory, which is the argument."""
    for name, field in reversed(list(config.described())):
        if name != "data":
            help = f"{field.metadata['help']}  [default: {field.default or 'none'}; {config.variable(name)}]"
            long = f"--{name.replace('_', '-')}"
            if type(field.default) is bool:
                function = click.option(f"{long}/--no-{long[2:]}", default=None, help=help)(function)
            else:
                function = click.option(long, type=type(field.default), help=help)(function)
    return function


@click.command()
@click.argument("data", type=click.Path(path_type=Path), required=False)
@click.option(
    "--example",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Fill an empty data directory from this file, as a collection of its name.",
)
@_with_settings
def serve(data: Path | None, example: Path | None, **options: Any) -> None:
    """Serve the collections of a data directory (DATA; 'data' where it is not given)."""
    from connectome.web import console, create_app, serving

    settings = Settings.from_environ(data=data, **options)
    run = serving.chosen(settings.server)
    bound = serving.bind(settings.host, settings.port)
    url = serving.url_of(settings.host, bound)
    slow = threading.Timer(1.0, lambda: click.echo("Loading the documents …", err=True))
    slow.start()
    try:
        service = Service(open_store(settings.place, holder=url, **settings.embedded))
    finally:
        slow.cancel()
    try:
        if example and not service.collections():
            _fill(service, example)
        app = create_app(settings, service)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: sys.exit(0))
        _greet(service, settings, url, console.login_path(app))
        run(app, bound, settings.threads)
    finally:
        service.close()
        # Everything is kept: a second signal while Python takes itself apart changes nothing about that.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)


def _fill(service: Service, example: Path) -> None:
    documents = read_file(example, None, {})
    title = example.stem.replace("_", " ").capitalize()
    service.create(id=example.stem, title=title, documents=documents)


def _greet(service: Service, settings: Settings, url: str, login: str | None) -> None:
    """Say what is served, where, how the console is entered, and one line that can be pasted."""
    collections = service.collections()
    total = sum(each["count"] or 0 for each in collections)
    click.echo(f"Connectome {__version__} at {url}, data in {service.place}: ", nl=False)
    click.echo(f"{plural(len(collections), 'collection')}, {plural(total, 'document')}")
    if login:
        click.echo(f"\n  console  {url}{login}")
    else:
        click.echo("\n  console  off, since other machines reach it: set CONNECTOME_ADMIN_TOKEN to have it")
    for each in collections:
        keys = {role: secret or "…" for role, secret in each["credentials"].items()}
        holds = "damaged: see the log" if each["count"] is None else plural(each["count"], "document")
        click.echo(f"\n  {each['title']}, {holds}")
        click.echo(f"    read   {url}/collection/readwithquery/{keys['read']}/{each['id']}")
        click.echo(f"    write  {url}/collection/write/{keys['write']}/{each['id']}")
    if first := next((each for each in collections if each["count"] is not None and each["credentials"]["read"]), None):
        click.echo("\nTry it:")
        click.echo(
            f"  curl -s {url}/collection/readwithquery/{first['credentials']['read']}/{first['id']}"
            f" -H 'Content-Type: application/json' -d '{_question(service, first)}'"
        )
    elif not collections:
        click.echo("\nNo collection yet.  Make one:  connectome create movies")
    click.echo("\nCtrl+C stops it.")


def _question(service: Service, described: dict[str, Any]) -> str:
    """A query that finds something in this collection: the largest values of a numeric field, where it has one."""
    sample = next(iter(service.collection(described["id"]).find(Find(limit=1))), {})
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
