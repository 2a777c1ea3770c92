"""What this installation and a data directory are like: ``doctor``, ``version``."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import click

from connectome import __version__, config
from connectome.cli.administration import data_argument, directory_of, json_option, plural, print_json
from connectome.config import Settings
from connectome.errors import AddressUnavailable, ConfigurationError, ConnectomeError, StoreLocked

# Libraries that need not be there: the extra that brings each, and what it is good for.
_OPTIONAL: Final = {
    "orjson": ("fast", "reads and writes JSON two to three times as fast"),
    "msgspec": ("fast", "opens collections sooner, and keeps them in less memory"),
    "granian": ("fast", "answers several times as many requests a second"),
    "jsonschema-rs": ("fast", "checks documents against schemas a hundred times as fast"),
    "gunicorn": ("gunicorn", "serves with several processes over one MongoDB"),
}
# Less than this is short; a checkpoint needs room for a second copy of a collection besides.
_LITTLE_BYTES: Final = 2**30
_NOTHING_BYTES: Final = 2**24

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Observation:
    """One thing that was looked at: ``warn`` should be known, with ``fail`` the server cannot do its work."""

    verdict: Verdict
    about: str
    says: str


@click.command()
@data_argument
@click.option("--data", type=click.Path(path_type=Path), help="The same, as for all other commands.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, directory: Path | None, data: Path | None, as_json: bool) -> None:
    """Say what is well and what is not.  Looked at is all that a server needs."""
    found = list(_observed(directory_of(directory, data)))
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        colours = {"ok": "green", "warn": "yellow", "fail": "red"}
        width = max(len(each.about) for each in found)
        for each in found:
            click.echo(
                f"{click.style(f'{each.verdict:4}', fg=colours[each.verdict])}  {each.about:{width}}  {each.says}"
            )
    ctx.exit(any(each.verdict == "fail" for each in found))


def _observed(data: Path | None) -> Iterator[Observation]:
    yield Observation("ok", "connectome", f"{__version__}, on Python {platform.python_version()}")
    for name, (extra, good_for) in _OPTIONAL.items():
        version = _installed(name)
        missing = f"not installed; it {good_for}: pip install 'connectome[{extra}]'"
        yield Observation("ok" if version else "warn", name, version or missing)
    try:
        settings = Settings.from_environ(data=data)
    except ConfigurationError as error:
        yield Observation("fail", "settings", error.detail)
        return
    changed = [name for name, _ in config.described() if settings.origin(name) != "default"]
    yield Observation("ok", "settings", f"not the defaults: {', '.join(changed)}" if changed else "the defaults")
    if settings.shared:
        yield from _database(settings)
    # Beside a database it holds little, and need not be there.
    if not settings.shared or settings.data.is_dir():
        yield from _directory(settings.data)
    yield _port(settings)


def _database(settings: Settings) -> Iterator[Observation]:
    """The server that the collections are on, and what it holds of them."""
    from connectome.service import Service
    from connectome.stores.mongodb import MongoDBStore

    try:
        store = MongoDBStore(settings.store)
        with closing(Service(store)) as service:
            yield Observation("ok", "store", f"{store.place}, {plural(len(service.collections()), 'collection')}")
    except ConnectomeError as error:
        yield Observation("fail", "store", error.detail)
        return
    alone = "a standalone server has none: a write of many documents may be cut short; run a replica set, be it of one"
    has = store.transactions
    yield Observation("ok" if has else "warn", "transactions", "the server has them" if has else alone)


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _directory(data: Path) -> Iterator[Observation]:
    if not data.is_dir():
        beside = next(each for each in [data, *data.absolute().parents] if each.exists())
        verdict: Verdict = "fail" if data.exists() else "warn"
        what = "is a file" if data.exists() else "is not there; 'connectome init' and 'connectome serve' make it"
        yield Observation(verdict, "data directory", f"{data} {what}")
        yield _space(beside, 0)
        return
    yield _mode(data, "data directory", 0o700)
    for file in (*sorted(data.glob("connectome.*.json")), data / config.FILE_NAME):
        if file.is_file() and (file.name != config.FILE_NAME or "\nadmin_token" in _text(file)):
            yield _mode(file, file.name, 0o600)
    yield from _content(data)
    yield _space(data, max((each.stat().st_size for each in data.glob("*.json")), default=0))


def _text(file: Path) -> str:
    try:
        return "\n" + file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _mode(path: Path, about: str, expected: int) -> Observation:
    mode = path.stat().st_mode & 0o777
    if not os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)):
        return Observation("fail", about, f"{path} cannot be read and written by this user")
    if mode & 0o077:
        secret = path.is_file()
        says = f"{path} has mode {mode:04o}: others can see it; chmod {expected:o} {path}"
        return Observation("fail" if secret else "warn", about, says)
    return Observation("ok", about, f"{path}, mode {mode:04o}")


def _content(data: Path) -> Iterator[Observation]:
    """The lock, and, where nobody holds it, the files."""
    from connectome.stores import inspection
    from connectome.stores.files import DirectoryLock

    try:
        lock = DirectoryLock(data)
    except StoreLocked as error:
        yield Observation("ok", "lock", error.detail.partition(";")[0])
        yield Observation("ok", "files", "not looked at while they are in use")
        return
    except ConnectomeError as error:
        yield Observation("fail", "lock", error.detail)
        return
    try:
        yield Observation("ok", "lock", "free: no server holds the directory")
        findings = list(inspection.check(data))
    finally:
        lock.release()
    for each in findings:
        if each.damaged:
            yield Observation("fail", each.name, each.says)
        elif "torn tail" in each.says:
            yield Observation("warn", each.name, each.says)
    if not any(each.damaged for each in findings):
        yield Observation("ok", "files", f"{plural(len(findings), 'file')} looked at; 'connectome check' shows them")
    if torn := sorted(file.name for file in data.glob("*.torn-*")):
        yield Observation("warn", "torn writes", f"kept from earlier crashes, may be deleted: {', '.join(torn)}")


def _space(directory: Path, largest: int) -> Observation:
    free = shutil.disk_usage(directory).free
    verdict: Verdict = "fail" if free < _NOTHING_BYTES + largest else "warn" if free < _LITTLE_BYTES + largest else "ok"
    needs = f"; a checkpoint needs {largest / 1e6:.0f} MB of them for a while" if largest > 10**6 else ""
    return Observation(verdict, "disk", f"{free / 1e9:.1f} GB free{needs}")


def _port(settings: Settings) -> Observation:
    from connectome.stores.files import holder
    from connectome.web import serving

    where = f"{settings.host} port {settings.port}"
    try:
        serving.bind(settings.host, settings.port).close()
    except AddressUnavailable as error:
        held = settings.data.is_dir() and any(line.endswith(f":{settings.port}") for line in holder(settings.data)[1:])
        return (
            Observation("ok", "port", f"{where} is the server's") if held else Observation("fail", "port", error.detail)
        )
    return Observation("ok", "port", f"{where} is free")


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Print the version.  With --json, also those of Python and of the optional libraries."""
    if as_json:
        libraries = {name: _installed(name) or None for name in _OPTIONAL}
        print_json(
            {"connectome": __version__, "python": platform.python_version(), "platform": sys.platform, **libraries}
        )
    else:
        click.echo(__version__)
