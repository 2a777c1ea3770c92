"""``connectome mock``: files served for the tests of a client, with faults where they are wanted."""

from __future__ import annotations

import re
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from connectome import __version__
from connectome.cli.administration import plural
from connectome.config import Settings
from connectome.errors import ConfigurationError, ConnectomeError, InvalidRequest

if TYPE_CHECKING:
    from connectome.seeds import Planted, SeedFile
    from connectome.web.mocking import Mock
    from connectome.web.mocking.workspaces import Workspace

# On this machine alone, whose users may have everything that a mock server holds, and pages from elsewhere nothing.
_LOCAL_TOKEN: Final = "admin"
_LOOK_SECONDS: Final = 0.2


@click.command()
@click.argument("files", metavar="FILE…", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--host", help="The address to listen on.  [default: 127.0.0.1; CONNECTOME_HOST]")
@click.option("--port", "-p", type=int, help="The port; 0 takes a free one.  [default: 8000; CONNECTOME_PORT]")
@click.option("--id", "identity", default="_id", help="The field that becomes _id, such as json-server's id.")
@click.option("--read-credential", default="read", help="What every collection is read with.  [default: read]")
@click.option("--write-credential", default="write", help="What every collection is written with.  [default: write]")
@click.option("--save", is_flag=True, help="Write what changes back to the files.")
@click.option("--watch", is_flag=True, help="Start anew from a file that has changed.")
@click.option("--delay", multiple=True, metavar="[OPERATION=]MS", help="Let requests wait.")
@click.option("--jitter", multiple=True, metavar="[OPERATION=]MS", help="And up to so much longer.")
@click.option("--fail", multiple=True, metavar="[OPERATION=]SHARE%[:STATUS]", help="Refuse some requests.")
@click.option(
    "--fault",
    multiple=True,
    metavar="[OPERATION=][SHARE%:]KIND",
    help="Spoil answers: truncate cuts them, dribble sends them drop by drop, timeout never.",
)
@click.option("--seed", default=1, show_default=True, help="What chance and the _id that are made come from.")
@click.option(
    "--import",
    "imported",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Start from this data directory, which stays as it is.",
)
@click.option(
    "--export-on-exit",
    "exported",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write a data directory at the end.",
)
@click.option("--read-only", is_flag=True, default=None, help="Refuse every write.  [CONNECTOME_READ_ONLY]")
@click.option("--cors", help="Origins whose pages may have answers.  [default: loopback; CONNECTOME_CORS]")
def mock(
    files: tuple[Path, ...],
    identity: str,
    read_credential: str,
    write_credential: str,
    save: bool,
    watch: bool,
    imported: Path | None,
    exported: Path | None,
    seed: int,
    **options: Any,
) -> None:
    """Serve the collections of files from memory, for the tests of a client."""
    from connectome.seeds import SeedFile
    from connectome.web import console, serving
    from connectome.web.mocking import Mock, faults
    from connectome.web.mocking.serving import Listening
    from connectome.web.mocking.workspaces import Start

    if not files and not imported:
        raise ConfigurationError("there is nothing to serve: name a JSON, NDJSON or CSV file, or --import a directory")
    if not files and (save or watch):
        raise ConfigurationError("--save and --watch are about files, and none is named")
    settings = _settings(**{name: options[name] for name in ("host", "port", "cors", "read_only")})
    if exported:
        _require_room(exported)
    wrong = faults.in_order(
        [
            *faults.delays("delay", options["delay"]),
            *faults.delays("jitter", options["jitter"]),
            *faults.failures(options["fail"]),
            *faults.spoilt(options["fault"]),
        ]
    )
    kept = [SeedFile(path, identity=identity) for path in files]
    beside = _imported(imported) if imported else []
    credentials = {"read": read_credential, "write": write_credential}
    mocked = Mock(Start(_together(beside, kept), credentials, wrong, seed), settings)
    bound = serving.bind(settings.host, settings.port)
    url = serving.url_of(settings.host, bound)
    ended = threading.Event()
    # How everything stands is looked at here: what is written before the thread runs counts, too.
    state = _state(mocked.workspaces.default)
    keeper = threading.Thread(target=_keep, args=(mocked, state, beside, kept, save, watch, ended))

    def stop(*_: object) -> None:
        mocked.close()  # before anybody waits for requests that end no other way
        sys.exit(0)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    try:
        if save or watch:
            keeper.start()
        _greet(mocked.workspaces.default, settings, url, console.login_path(mocked.workspaces.default.app))
        Listening(mocked, bound).run()
    finally:
        ended.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        if keeper.ident:
            keeper.join()
        if exported:
            _export(mocked.workspaces.default, exported)


def _settings(**options: Any) -> Settings:
    """
    The settings of a mock server: those of the environment, but for what keeps documents and serves them.

    What lies in ``./data`` is nobody's business here: a test may not depend on the folder that it runs in.
    """
    options |= {"durability": "memory", "store": "", "server": "waitress", "workers": 1}
    given = Settings.from_environ(in_data=False, **options)
    if given.origin("cors") == "default":
        options["cors"] = "loopback"
    if not given.admin_token:
        from connectome.network import is_loopback

        options["admin_token"] = _LOCAL_TOKEN if is_loopback(given.host) else "ca_" + secrets.token_urlsafe(24)
    return Settings.from_environ(in_data=False, **options)


def _together(beside: Sequence[Planted], files: Iterable[SeedFile]) -> list[Planted]:
    """
    The collections of a directory and of files.

    Raises:
        InvalidRequest: Two of them have one name.
    """
    found = list(beside)
    for file in files:
        read = file.read()
        for each in read:
            if any(each.id.lower() == other.id.lower() for other in found):
                raise InvalidRequest(f"{file.path}: there is a collection {each.id!r} already", pointer=None)
        found += read
    return found


def _imported(directory: Path) -> list[Planted]:
    """
    The collections of a data directory, out of a copy of it: opening it would fold its journals.

    Raises:
        StoreLocked, StoreFailed: It cannot be had.
    """
    from connectome.seeds import Planted
    from connectome.service import Service
    from connectome.stores import Find, open_store
    from connectome.stores.files import DirectoryLock, lock_path

    if not (directory / "connectome.catalog.json").is_file():
        raise ConfigurationError(f"{directory} is no data directory: it has no connectome.catalog.json")
    lock = DirectoryLock(directory) if lock_path(directory).exists() else None
    with tempfile.TemporaryDirectory(prefix="connectome-import-") as temporary:
        copy = Path(temporary) / "data"
        try:
            shutil.copytree(directory, copy, ignore=shutil.ignore_patterns(".lock", "snapshots"))
        finally:
            if lock:
                lock.release()
        with closing(Service(open_store(copy))) as service:
            return [
                Planted(
                    each["id"],
                    list(service.collection(each["id"]).find(Find())),
                    each["title"],
                    each["schema"],
                    each["credentials"],
                )
                for each in service.collections()
            ]


def _require_room(directory: Path) -> None:
    """
    See at the beginning whether there can be an export at the end.

    Raises:
        ConfigurationError: There is something in the way that is no data directory, or that cannot be replaced.
        StoreLocked: A server holds it.
    """
    from connectome.stores.files import DirectoryLock, lock_path

    if not _is_empty(directory):
        if not (directory / "connectome.catalog.json").is_file():
            raise ConfigurationError(f"{directory} is not empty, and is no data directory: nothing is exported over it")
        if directory.is_mount():
            raise ConfigurationError(
                f"{directory} is not empty, and a file system of its own, which cannot be replaced as a whole: "
                "export to a directory in it"
            )
        if lock_path(directory).exists():
            DirectoryLock(directory).release()
    elif not directory.absolute().parent.is_dir():
        raise ConfigurationError(f"there is no directory {directory.absolute().parent} to export to")


def _is_empty(directory: Path) -> bool:
    return not directory.exists() or not any(directory.iterdir())


def _export(workspace: Workspace, directory: Path) -> None:
    """Write a data directory: where one is already, beside it, then in its place."""
    planted = workspace.planted()
    target = directory.resolve()
    if _is_empty(target):
        _fill(target, planted)
    else:
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            _fill(fresh, planted)
            _carry_over(target, fresh)
        except BaseException:
            shutil.rmtree(fresh)
            raise
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        target.rename(old / target.name)
        fresh.rename(target)
        shutil.rmtree(old)
    click.echo(f"exported {plural(len(planted), 'collection')} to {directory}", err=True)


def _fill(directory: Path, planted: Iterable[Planted]) -> None:
    from connectome.service import Service
    from connectome.stores import open_store

    with closing(Service(open_store(directory))) as service:
        for each in planted:
            service.create(
                id=each.id,
                title=each.title,
                schema=each.schema,
                credentials=dict(each.credentials),
                documents=each.documents,
            )


def _carry_over(old: Path, fresh: Path) -> None:
    """Have a new data directory hold what else the old one does: settings, the administrator's token, snapshots."""
    from connectome.stores.embedded import FileLedger, ledger_path
    from connectome.stores.files import Disk, lock_path

    collections = FileLedger(Disk(), ledger_path(old, "catalog")).load().keys()
    left = {lock_path(old), ledger_path(old, "uses")}
    for each in old.iterdir():
        of_collection = re.match(r"([A-Za-z0-9_-]+)\.(?:json|journal)\b", each.name)
        if each in left or (of_collection and of_collection[1] in collections) or (fresh / each.name).exists():
            continue
        if each.is_dir() and not each.is_symlink():
            shutil.copytree(each, fresh / each.name, symlinks=True)
        else:
            shutil.copy2(each, fresh / each.name, follow_symlinks=False)


def _keep(
    mock: Mock,
    kept: Any,
    beside: Sequence[Planted],
    files: Sequence[SeedFile],
    save: bool,
    watch: bool,
    ended: threading.Event,
) -> None:
    """
    Look, until the end, whether documents changed that are to be saved, or a file that is to be read.

    Args:
        kept: The ``_state`` that the files hold.
    """
    workspace = mock.workspaces.default
    seen: list[tuple[int, int]] = []
    complaint = ""
    while True:
        over = ended.wait(_LOOK_SECONDS)
        stamps = [_stamp(file.path) for file in files]
        # What was edited by hand goes first: it is what its owner did last.
        if watch and not over and stamps != seen:
            seen = stamps
            if any(_differs(file) for file in files):
                _reload(mock, beside, files)
                kept = _state(workspace)
        state = _state(workspace)
        if save and state != kept:
            try:
                _save(workspace, beside, files)
            except (OSError, ConfigurationError) as error:
                if str(error) != complaint:
                    complaint = str(error)
                    click.echo(f"connectome: not saved: {complaint}", err=True)
            else:
                kept, seen, complaint = state, [_stamp(file.path) for file in files], ""
        if over:
            return


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # while an editor puts another file in its place there may be none
        return (0, 0)
    return status.st_mtime_ns, status.st_size


def _differs(file: SeedFile) -> bool:
    try:
        return not file.holds(file.path.read_bytes())
    except OSError:
        return False


def _state(workspace: Workspace) -> Any:
    """Something that is another after every change of a document."""
    service = workspace.service
    return id(service), [
        (each["id"], each["count"], service.collection(each["id"]).changed) for each in service.collections()
    ]


def _reload(mock: Mock, beside: Sequence[Planted], files: Sequence[SeedFile]) -> None:
    try:
        mock.workspaces.start_from(_together(beside, files))
    except ConnectomeError as error:
        click.echo(f"connectome: not reloaded, the documents stay as they are: {error.sentence}", err=True)
    else:
        click.echo("reloaded", err=True)


def _save(workspace: Workspace, beside: Sequence[Planted], files: Sequence[SeedFile]) -> None:
    """Write each collection to the file that it came from; new ones to the first that takes any."""
    planted = workspace.planted()
    old = {each.id for each in beside}.union(*(file.names for file in files))
    first = next((file for file in files if file.has_room), None)
    for file in files:
        file.write(each for each in planted if each.id in file.names or (file is first and each.id not in old))


def _greet(workspace: Workspace, settings: Settings, url: str, login: str | None) -> None:
    """Say what is served, where, with which credentials, and one line that can be pasted."""
    collections = workspace.service.collections()
    total = sum(each["count"] for each in collections)
    click.echo(f"Connectome {__version__} mock at {url}: ", nl=False)
    click.echo(f"{plural(len(collections), 'collection')}, {plural(total, 'document')}, in memory")
    if login:
        click.echo(f"\n  console  {url}{login}")
    click.echo(f"  control  {url}/-/mock/")
    click.echo(f"  token    {settings.admin_token}")
    for each in collections:
        keys = each["credentials"]
        click.echo(f"\n  {each['title']}, {plural(each['count'], 'document')}")
        click.echo(f"    read   {url}/collection/readwithquery/{keys['read']}/{each['id']}")
        click.echo(f"    write  {url}/collection/write/{keys['write']}/{each['id']}")
    if collections:
        first = collections[0]
        click.echo("\nTry it:")
        click.echo(f"  curl -s {url}/collection/read/{first['credentials']['read']}/{first['id']}")
    click.echo("\nCtrl+C stops it.")
