"""
A data directory seen from outside, while no server holds it: what is there, what is damaged, what can be saved.

``check`` only reads.  ``salvage`` writes what can be read to another directory, and leaves the damaged one as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from connectome import extjson
from connectome.errors import CollectionDamaged, InvalidJSON, StoreFailed
from connectome.stores.embedded import EmbeddedStore, FileLedger, ledger_path
from connectome.stores.files import Disk, Files, disk_errors
from connectome.stores.journal import JournalFiles, Record, Recovery, record_at

LEDGERS: Final = ("catalog", "credentials", "administrator")


@dataclass(frozen=True)
class Finding:
    """
    What was found of one collection, or of one ledger.

    name: its id, or the name of the ledger's file.
    says: what is there: documents, generation, seq; or what is wrong, with the file and the byte.
    damaged: it would be barred.
    """

    name: str
    says: str
    damaged: bool = False


def check(directory: Path, disk: Files | None = None) -> Iterator[Finding]:
    """
    Everything in a data directory, in order: ledgers, then collections, in the catalog or not.

    Raises:
        StoreFailed: The directory cannot be read.
    """
    disk = disk or Disk()
    catalog: dict[str, Any] = {}
    for name in LEDGERS:
        ledger = FileLedger(disk, ledger_path(directory, name))
        try:
            record = ledger.load()
        except StoreFailed as error:
            yield Finding(ledger.name, error.detail, damaged=True)
            continue
        catalog = record if name == "catalog" else catalog
        yield Finding(ledger.name, f"{len(record)} entries" if record else "not there")
    for name in _collections(disk, directory, catalog):
        yield _checked(JournalFiles(disk, directory / f"{name}.json"), name, known=name in catalog)


def _collections(disk: Files, directory: Path, catalog: dict[str, Any]) -> list[str]:
    with disk_errors(f"reading {directory}"):
        names = disk.names(directory)
    stems = (re.match(r"([A-Za-z0-9_-]{1,64})(\.json|\.journal\.\d+)$", name) for name in names)
    return list(dict.fromkeys([*catalog, *sorted(stem[1] for stem in stems if stem)]))


def _checked(own: JournalFiles, name: str, *, known: bool) -> Finding:
    try:
        recovery = Recovery(own).read()
    except CollectionDamaged as error:
        return Finding(name, str(error.damage), damaged=True)
    state = recovery.state
    says = [
        f"{len(state.tables.get('_default', {}))} documents",
        f"generation {state.generation}, seq {state.seq}",
        f"{state.replayed} records in the journal",
    ]
    if recovery.adopted:
        says.append("edited, and taken as it stands at the next start")
    if recovery.torn:
        says.append(
            f"a torn tail of {len(recovery.torn[1])} bytes, which no sync covered, is cut off at the next start"
        )
    if not known:
        says.append("not in the catalog: 'connectome import' takes it from another place")
    return Finding(name, "; ".join(says))


def salvage(directory: Path, target: Path) -> Iterator[Finding]:
    """
    Write to a new data directory what can be read of another: every document whose row or record is whole.

    Yields:
        For each collection, what was saved.

    Raises:
        StoreFailed: The target is there already, or cannot be written; the catalog cannot be read.
    """
    if target.exists() and any(target.iterdir()):
        raise StoreFailed(f"{target} is not empty: what is saved goes to a new directory")
    disk = Disk()
    ledgers = {name: FileLedger(disk, ledger_path(directory, name)).load() for name in LEDGERS}
    store = EmbeddedStore(target)
    try:
        for name in _collections(disk, directory, ledgers["catalog"]):
            documents, lost = _readable(JournalFiles(disk, directory / f"{name}.json"))
            store.collection(name, None, new=True).insert_many(documents)
            yield Finding(name, f"{len(documents)} documents saved, {lost} places could not be read", damaged=lost > 0)
        for name, record in ledgers.items():
            store.ledger(name).save(record)
    finally:
        store.close()


def _readable(own: JournalFiles) -> tuple[list[dict[str, Any]], int]:
    """The documents that can be read, the newest image of each, and how many places could not be."""
    try:
        rows = Recovery(own).read().state.rows()
        lost = 0
    except CollectionDamaged:
        rows, lost = _rows_of_file(own)
        for generation in own.generations():
            records, unreadable = _records(own.disk.read(own.journal(generation)) or b"")
            lost += unreadable
            for record in records:
                rows.update(record.payload.get("put", {}))
                for number in record.payload.get("del", ()):
                    rows.pop(str(number), None)
    documents: dict[str, dict[str, Any]] = {}
    for row in rows.values():
        try:
            document = extjson.from_json(row)
            documents[extjson.dumps(document["_id"], mode="canonical")] = document
        except (InvalidJSON, KeyError, TypeError):
            lost += 1
    return list(documents.values()), lost


def _records(content: bytes) -> tuple[list[Record], int]:
    """The whole records of a journal, without its header, and how many places between them are no record."""
    records, lost, offset = [], 0, 0
    while offset < len(content):
        found = record_at(content, offset)
        if found:
            records.append(found[0])
            offset = found[1]
            continue
        lost += 1
        newline = content.find(b"\n", offset)
        offset = len(content) if newline < 0 else newline + 1
    return [record for record in records if "format" not in record.payload], lost


def _rows_of_file(own: JournalFiles) -> tuple[dict[str, Any], int]:
    """The rows of a data file that is not JSON as a whole: each that is by itself."""
    text = (own.disk.read(own.path) or b"").decode("utf-8", "replace")
    try:
        return dict(json.loads(text).get("_default", {})), 0
    except (ValueError, AttributeError):
        pass
    rows: dict[str, Any] = {}
    decoder, position, lost = json.JSONDecoder(), 0, 0
    while start := re.compile(r'[{,]\s*"(\d+)":\s*(?=\{)').search(text, position):
        try:
            rows[start[1]], position = decoder.raw_decode(text, start.end())
        except ValueError:
            lost, position = lost + 1, start.end()
    return rows, lost or 1
