"""The commands that look after files, where the collections are in a MongoDB."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from connectome.cli import main


def run(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="connectome")


@pytest.fixture(autouse=True)
def data(tmp_path, database, monkeypatch):
    """A data directory that is not there, beside a database."""
    monkeypatch.setenv("CONNECTOME_STORE", database)
    monkeypatch.setenv("CONNECTOME_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CONNECTOME_PORT", "0")
    return tmp_path / "data"


@pytest.mark.parametrize("command", [["check"], ["repair", "--salvage", "x"]], ids=["check", "repair"])
def test_there_are_no_files_to_look_at(command, data, tmp_path):
    """The message says so; a directory that is named is looked at all the same."""
    refused = run(*command)
    there = tmp_path / "there"
    there.mkdir()

    assert (refused.exit_code, data.exists()) == (2, False)
    assert "MongoDB" in refused.stderr
    assert run("check", there).exit_code == 0


class TestDoctor:
    def observed(self):
        found = json.loads(run("doctor", "--json").stdout)
        return {each["about"]: (each["verdict"], each["says"]) for each in found}

    def test_the_database_is_looked_at(self, database):
        """Whether it answers, what it holds, whether it has transactions; nobody misses a data directory."""
        assert run("collections", "create", "birds").exit_code == 0
        found = self.observed()

        assert found["store"] == ("ok", f"{database}, 1 collection")
        assert found["transactions"][0] == "ok"
        assert "data directory" not in found

    def test_a_database_that_is_away_fails(self, monkeypatch):
        """The password of its URL is not shown."""
        monkeypatch.setenv("CONNECTOME_STORE", "mongodb://me:secret@127.0.0.1:1/db?serverSelectionTimeoutMS=100")
        verdict, says = self.observed()["store"]

        assert verdict == "fail"
        assert "secret" not in says
        assert run("doctor").exit_code == 1


def test_a_snapshot_is_taken_and_restored(data):
    """It lies in the data directory, which is made, and brings back a collection with its credentials."""
    from contextlib import closing

    from connectome.config import Settings
    from connectome.service import opened

    key = json.loads(run("collections", "create", "birds", "--json").stdout)["credentials"]["write"]
    for words in (["snapshot", "take", "before"], ["collections", "drop", "birds", "--yes"]):
        assert run(*words).exit_code == 0
    assert run("snapshot", "restore", "before").exit_code == 0

    with closing(opened(Settings.from_environ())) as service:
        assert service.writer(key, "birds").insert_one({"_id": 1}) == 1
    assert [path.name for path in (data / "snapshots").iterdir()].count("before.zip") == 1
