"""``connectome migrate``: all collections from one kind of store to another."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from connectome import config
from connectome.cli.administration import plural
from connectome.config import Settings
from connectome.errors import CollectionExists, ConfigurationError, StoreFailed

if TYPE_CHECKING:
    from connectome.query import Document
    from connectome.stores import Collection

# Documents that are copied at once: so many, and so many bytes of BSON, but one at least.
_BATCH: Final = 1000
_BATCH_BYTES: Final = 2**24
_DAY_SECONDS: Final = 86400.0


@click.command()
@click.option("--from", "source", help="A data directory, or the URL of a database.  [default: the data directory]")
@click.option("--to", "target", help=f"Where to, likewise.  [default: {config.variable('store')}]")
@click.option("--resume", is_flag=True, help="Go on with a migration that was cut short.")
def migrate(source: str | None, target: str | None, resume: bool) -> None:
    """
    Copy every collection to another store: documents, schemas, credentials, pinned indexes.

    Nothing else may write to either of them meanwhile; where a migration was cut short, its target is not opened until
    --resume has finished it.  What is copied stays where it was.  A URL with a password is not for the command line,
    where others can read it: CONNECTOME_STORE stands for the database, on either side.
    """
    from connectome.query.deadline import deadline
    from connectome.service import Service
    from connectome.stores import open_store

    places = _places(source, target)
    limit = Settings.from_environ().max_document_bytes
    with deadline(_DAY_SECONDS), ExitStack() as stack:
        here, there = (
            stack.enter_context(closing(Service(open_store(place, max_document_bytes=limit)))) for place in places
        )
        if here.unfinished is not None:
            raise StoreFailed(f"{here.place} has not all that it shall get from {here.unfinished}: finish that first")
        names = [each["id"] for each in here.collections()]
        taken = [name for name in names if name in there]
        if taken and not resume:
            raise CollectionExists(
                f"{there.place} has {', '.join(taken)} already: move them away, or, where an earlier migration was cut "
                "short, go on with it by --resume"
            )
        there.begin_migration(here.place)
        # First all of them, so that a schema that cannot be enforced there is told at once.
        for name in names:
            if name not in there:
                there.create(**here.recipe(name))
        for name in names:
            count = _copied(here.collection(name), there.collection(name), name)
            for index in here.indexes(name):
                if index.pinned:
                    there.pin(name, index.path)
            click.echo(f"{name}: {plural(count, 'document')}", err=True)
        there.end_migration()
        click.echo(f"{plural(len(names), 'collection')} copied and counted", err=True)


def _places(source: str | None, target: str | None) -> tuple[Path | str, Path | str]:
    """Where from and where to; what is not given is the data directory and the database of the settings."""
    settings = Settings.from_environ()
    from_directory = source is None and (target is None or "://" in target)
    here = source or (str(settings.data) if from_directory else settings.store)
    there = target or settings.store
    for option, place in (("--from", here), ("--to", there)):
        if not place:
            raise ConfigurationError(f"{option} is a data directory or the URL of a database; or set CONNECTOME_STORE")
    if "://" not in here and not Path(here).is_dir():
        raise ConfigurationError(f"there is no data directory {here}")
    return here if "://" in here else Path(here), there if "://" in there else Path(there)


def _copied(source: Collection, target: Collection, name: str) -> int:
    """
    Copy those documents of a collection that are not there yet; how many there are then.

    Raises:
        StoreFailed: There are not as many there as here.
    """
    from connectome.query import Filter, Projection
    from connectome.stores import Find

    ids = Projection({"_id": 1})
    with click.progressbar(
        length=source.count(Filter({})), label=name, file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        total = 0
        for batch in _batches(source):
            target.insert_many(_missing(target, batch))
            total += len(batch)
            bar.update(len(batch))
    target.sync()
    found = sum(1 for _ in target.find(Find(projection=ids)))
    if found != total:
        raise StoreFailed(f"{name} has {total} documents here, and {found} there: something else writes to one of them")
    return total


def _batches(collection: Collection) -> Iterator[list[Document]]:
    import bson

    from connectome.stores import Find

    batch: list[Document] = []
    size = 0
    for document in collection.find(Find()):
        batch.append(document)
        size += len(bson.encode(document))
        if len(batch) == _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _missing(collection: Collection, batch: list[Document]) -> list[Document]:
    """Those documents of a batch that a migration which was cut short has not copied."""
    from connectome import extjson
    from connectome.query import Filter, Projection
    from connectome.stores import Find

    find = Find(Filter({"_id": {"$in": [each["_id"] for each in batch]}}), Projection({"_id": 1}))
    there = {extjson.encode(each["_id"], mode="canonical") for each in collection.find(find)}
    return [each for each in batch if extjson.encode(each["_id"], mode="canonical") not in there]
