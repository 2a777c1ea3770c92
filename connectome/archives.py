"""
Backups: the collections of a service in one zip archive, readable without Connectome.

``catalog.json`` has titles and schemas, ``<id>.ndjson`` the documents in Extended JSON without loss, and, where they
were asked for, ``credentials.json`` the credentials.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from connectome import extjson
from connectome.errors import InvalidRequest


@dataclass(frozen=True)
class Archived:
    """One collection in a backup; without credentials where they were left out."""

    id: str
    title: str
    schema: Any
    documents: list[Any]
    credentials: Mapping[str, Any] | None = None


def write(collections: Iterable[Archived]) -> bytes:
    """The archive of these collections."""
    content = io.BytesIO()
    catalog, credentials = {}, {}
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in collections:
            lines = (extjson.dumps(document, mode="stored") + "\n" for document in each.documents)
            archive.writestr(f"{each.id}.ndjson", "".join(lines))
            catalog[each.id] = {"title": each.title, "schema": each.schema, "count": len(each.documents)}
            if each.credentials is not None:
                credentials[each.id] = dict(each.credentials)
        archive.writestr("catalog.json", json.dumps(catalog, ensure_ascii=False, indent=2))
        if credentials:
            archive.writestr("credentials.json", json.dumps(credentials, indent=2))
    return content.getvalue()


def read(content: bytes) -> list[Archived]:
    """
    The collections of an archive.

    Raises:
        InvalidRequest: It is no archive of ours, or one that is not whole.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # Every member is read, and its checksum with it, before anything is made of any.
            members = {name: archive.read(name) for name in archive.namelist()}
        catalog = json.loads(members["catalog.json"])
        credentials = json.loads(members.get("credentials.json", b"{}"))
        found = [
            Archived(
                name,
                entry["title"],
                entry["schema"],
                [extjson.from_json(json.loads(line)) for line in members[f"{name}.ndjson"].splitlines()],
                credentials.get(name),
            )
            for name, entry in catalog.items()
        ]
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InvalidRequest(f"not a backup of Connectome, or not a whole one: {error}", pointer=None) from None
    for each in found:
        if len(each.documents) != catalog[each.id]["count"]:
            raise InvalidRequest(f"the backup has not all documents of {each.id!r}", pointer=None)
    return found
