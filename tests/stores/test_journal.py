"""The journal: what stands in it, and what is believed of it when it is read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from faulty import MemoryDisk, abandon, everything, opened
from tinydb import TinyDB

from connectome.errors import CollectionDamaged, ConnectomeError, StoreError
from connectome.query import Filter, Update
from connectome.stores import Modify
from connectome.stores.journal import change, line, record_at

# What is written one after the other, each one record.
WRITES: list[Callable[[Any], Any]] = [
    lambda birds: birds.insert_one({"_id": "kestrel", "eggs": 4}),
    lambda birds: birds.insert_many([{"_id": "owl", "eggs": 3}, {"_id": "wren", "eggs": 7}]),
    lambda birds: birds.update(Modify(Filter({}), Update({"$inc": {"eggs": 1}}), multi=True)),
    lambda birds: birds.insert_one({"_id": "crane", "calls": ["krü", "kr\n\0oo"]}),
    lambda birds: birds.delete_many(Filter({"_id": "owl"})),
    lambda birds: birds.insert_one({"_id": "stork", "eggs": 5}),
]


def read_record(line):
    """The record on a line; None where it is not whole."""
    found = record_at(line, 0)
    return found and found[0]


class Kept:
    """
    A disk with a collection that was killed after ``WRITES``.

    states: the documents before the first write and after each; ends: where the header and each record end.
    """

    def __init__(self, directory: Path, durability: str = "full") -> None:
        self.directory = directory
        self.durability = durability
        disk = MemoryDisk()
        store = opened(directory, disk, durability=durability)
        birds = store.collection("birds", None, new=True)
        self.file = directory / "birds.json"
        self.path = directory / "birds.journal.1"
        self.states = [everything(birds)]
        self.ends = [len(disk.content(self.path))]
        for write in WRITES:
            write(birds)
            self.states.append(everything(birds))
            self.ends.append(len(disk.content(self.path)))
        self.disk = disk.kill()
        abandon(store, disk)
        self.journal: bytes = self.disk.content(self.path)

    def read_back(self, journal: bytes | None = None) -> list[Any]:
        """The documents that a restart finds, with another journal where one is given."""
        disk = self.disk.kill()
        if journal is not None:
            disk.put(self.path, journal)
        return reopened(self.directory, disk)


def reopened(directory: Path, disk: MemoryDisk) -> list[Any]:
    """The documents that a restart finds, twice: the second time in what the first wrote."""
    store = opened(directory, disk)
    try:
        found = everything(store.collection("birds", None))
    finally:
        store.close()
    store = opened(directory, disk)
    try:
        assert everything(store.collection("birds", None)) == found, "a second restart finds something else"
    finally:
        store.close()
    return found


def damage(directory: Path, disk: MemoryDisk) -> str:
    """What is said of a collection that is refused; nothing of it is changed."""
    before = disk.files(directory)
    store = opened(directory, disk)
    try:
        with pytest.raises(CollectionDamaged) as refused:
            store.collection("birds", None)
    finally:
        store.close()
    assert disk.files(directory) == before
    return str(refused.value.damage)


@pytest.fixture
def kept(directory: Path) -> Kept:
    return Kept(directory)


@pytest.fixture
def clean(directory: Path) -> Iterator[MemoryDisk]:
    """A disk with a collection of one bird that was stopped cleanly."""
    disk = MemoryDisk()
    store = opened(directory, disk)
    store.collection("birds", None, new=True).insert_one({"_id": "owl"})
    store.close()
    return disk


class TestFormat:
    def test_each_record_is_a_line(self, kept):
        """A header, then one line for each request, whatever its documents hold."""
        lines = kept.journal.split(b"\n")

        assert lines.pop() == b""
        assert len(lines) == 1 + len(WRITES)
        assert b"\0" not in kept.journal

    def test_a_line_is_crc_prev_seq_durable_length_json(self, kept):
        """Eight hexadecimal digits of crc32 over the rest, eight of the record before, three numbers, the payload."""
        line = kept.journal.split(b"\n")[1]
        crc, prev, seq, durable, length, text = line.split(b" ", 5)

        assert int(crc, 16) == crc32(line[9:])
        assert prev == kept.journal[9:17]
        assert (seq, durable) == (b"1", b"0")
        assert int(length) == len(text)
        assert json.loads(text) == {"put": {"1": {"_id": "kestrel", "eggs": 4}}}

    def test_the_records_are_a_chain(self, kept):
        """Each names the checksum of the one before, and counts on from it; the first goes on where the header does."""
        records = [read_record(line) for line in kept.journal.splitlines()]

        assert [record.seq for record in records] == list(range(len(WRITES) + 1))
        assert [record.prev for record in records[2:]] == [record.crc for record in records[1:-1]]
        assert records[1].prev == records[0].prev

    def test_durable_is_the_last_synced(self, kept):
        """With a sync for each write, that is the record before."""
        records = [read_record(line) for line in kept.journal.splitlines()]

        assert [record.durable for record in records[1:]] == list(range(len(WRITES)))

    def test_durable_stands_still_without_a_sync(self, directory):
        """As long as nothing is synced, nothing is said to be."""
        kept = Kept(directory, "os")

        assert {read_record(line).durable for line in kept.journal.splitlines()} == {0}

    def test_the_header_names_what_it_belongs_to(self, kept):
        """Format, collection, generation."""
        payload = read_record(kept.journal.splitlines()[0]).payload

        assert payload == {"format": 1, "collection": "birds", "generation": 1}

    def test_after_images_not_operators(self, kept):
        """An update of many puts every document as it is then."""
        payload = read_record(kept.journal.splitlines()[3]).payload

        assert [row["eggs"] for row in payload["put"].values()] == [5, 4, 8]

    @pytest.mark.parametrize("line", [b"", b"x", b"00000000 00000000 1 0 2 {}", b"\xff" * 40])
    def test_what_is_no_record_is_none(self, line):
        """A line without its checksum or its form."""
        assert read_record(line) is None

    def test_a_data_file_is_plain_tinydb(self, clean, directory, tmp_path):
        """TinyDB reads the documents; the meta is a table of its own."""
        copy = tmp_path / "copy.json"
        copy.write_bytes(clean.content(directory / "birds.json"))

        with TinyDB(copy) as database:
            assert database.all() == [{"_id": "owl"}]
            assert {*database.table("_connectome").all()[0]} == {
                "format",
                "id",
                "generation",
                "seq",
                "prev",
                "saved_ns",
                "sha256",
            }


class TestRestart:
    def test_after_a_clean_stop(self, clean, directory):
        """The file holds everything, the journal nothing."""
        (journal,) = (name for name in clean.files(directory) if "journal" in name)

        assert clean.files(directory)[journal].count(b"\n") == 1
        assert reopened(directory, clean) == [{"_id": "owl"}]

    @pytest.mark.parametrize("durability", ["full", "interval", "os"])
    def test_after_a_kill(self, directory, durability):
        """Everything that was written is there, in its order."""
        kept = Kept(directory, durability)

        assert kept.read_back() == kept.states[-1]

    def test_a_kill_ends_in_new_files(self, kept):
        """What was recovered from a journal goes into a file of a new generation."""
        store = opened(kept.directory, kept.disk)
        store.collection("birds", None)
        store.close()

        assert [*kept.disk.files(kept.directory)] == ["birds.journal.2", "birds.json"]

    def test_memory_keeps_nothing(self, directory):
        """No file is written but the lock."""
        disk = MemoryDisk()
        store = opened(directory, disk, durability="memory")
        store.collection("birds", None, new=True).insert_one({"_id": 1})
        store.close()

        assert disk.files(directory) == {}

    def test_temporary_files_are_removed(self, clean, directory):
        """What a crash left half written under a name of its own."""
        clean.put(directory / "birds.json.tmp", b"half")

        assert reopened(directory, clean) == [{"_id": "owl"}]
        assert "birds.json.tmp" not in clean.files(directory)

    def test_a_clean_stop_after_a_failed_checkpoint_holds_everything(self, directory):
        """The data file has all documents, also where the journal of the failed checkpoint is empty."""
        disk = MemoryDisk()
        store = opened(directory, disk, checkpoint_writes=1)
        birds = store.collection("birds", None, new=True)
        disk.fail(2, "create")
        birds.insert_one({"_id": 1})
        store._background.submit(lambda: None).result()
        disk.heal()
        store.close()

        assert json.loads(disk.content(directory / "birds.json"))["_default"] == {"1": {"_id": 1}}


class TestTail:
    def test_a_torn_record_is_cut_and_kept_beside(self, kept):
        """The bytes that are cut off stand in a file named for the journal and the time."""
        torn = kept.journal[: kept.ends[-2] + 20]
        kept.disk.put(kept.path, torn)

        assert reopened(kept.directory, kept.disk) == kept.states[-2]
        (beside,) = (name for name in kept.disk.files(kept.directory) if ".torn-" in name)
        assert beside.startswith("birds.journal.1.torn-")
        assert kept.disk.content(kept.directory / beside) == torn[kept.ends[-2] :]

    @pytest.mark.parametrize("size", [16, 512, 5000])
    def test_zeros_at_the_end_are_cut(self, kept, size):
        """Room that a file system made and never wrote."""
        assert kept.read_back(kept.journal + bytes(size)) == kept.states[-1]

    def test_a_complete_line_with_a_wrong_checksum_is_refused(self, kept):
        """No crash does that: the message names the file and the byte."""
        start = kept.ends[-2]
        wrong = kept.journal.replace(b"stork", b"store")
        kept.disk.put(kept.path, wrong)

        assert damage(kept.directory, kept.disk).startswith(f"birds.journal.1, byte {start}: ")

    def test_a_damaged_record_that_a_later_one_says_was_durable_is_refused(self, kept):
        """Also where it looks torn."""
        wrong = bytearray(kept.journal)
        wrong[kept.ends[-3] + 30 : kept.ends[-2]] = bytes(kept.ends[-2] - kept.ends[-3] - 30)
        kept.disk.put(kept.path, bytes(wrong))

        assert damage(kept.directory, kept.disk).startswith(f"birds.journal.1, byte {kept.ends[-3]}: ")

    def test_an_unsynced_group_torn_out_of_order_is_cut(self, directory):
        """Where no later record says that the damaged one was durable, it was not."""
        kept = Kept(directory, "os")
        wrong = bytearray(kept.journal)
        wrong[kept.ends[3] : kept.ends[4]] = bytes(kept.ends[4] - kept.ends[3])

        assert kept.read_back(bytes(wrong)) == kept.states[3]

    @pytest.mark.parametrize("before", [1, 2, 5, 15, 16, 100])
    def test_a_first_block_that_never_arrived_is_cut(self, directory, before):
        """A record that begins so many bytes before a block of the disk ends, and of which the other blocks arrived."""
        disk = MemoryDisk()
        store = opened(directory, disk)
        birds = store.collection("birds", None, new=True)
        path = directory / "birds.journal.1"
        for length in range(600, 1200):
            payload = change([(1, b'{"_id":1,"a":"%s"}' % (b"x" * length))], [])
            if (len(disk.content(path)) + len(line(1, 0, 0, payload)) + before) % 512 == 0:
                birds.insert_one({"_id": 1, "a": "x" * length})
                break
        start = len(disk.content(path))
        assert (start + before) % 512 == 0
        expected = everything(birds)
        birds.insert_one({"_id": "last", "a": "y" * 700})
        content = disk.content(path)
        image = disk.kill()
        abandon(store, disk)
        image.put(path, content[:start] + bytes(before) + content[start + before :])

        assert reopened(directory, image) == expected

    @pytest.mark.parametrize("record", range(1, len(WRITES)))
    def test_a_record_cannot_be_left_out(self, kept, record):
        """The chain breaks where one is missing."""
        kept.disk.put(kept.path, kept.journal[: kept.ends[record - 1]] + kept.journal[kept.ends[record] :])

        assert damage(kept.directory, kept.disk).startswith(f"birds.journal.1, byte {kept.ends[record - 1]}: ")

    def test_a_journal_cut_anywhere_is_a_prefix(self, kept):
        """Whole records are there, a piece of one is not, at every offset of the journal."""
        for size in range(kept.ends[0], len(kept.journal)):
            whole = sum(end <= size for end in kept.ends) - 1
            expected = [kept.states[whole]]
            if size + 1 in kept.ends:
                # All of a record but its newline is there: either may be said.
                expected.append(kept.states[whole + 1])
            assert kept.read_back(kept.journal[:size]) in expected, f"cut at {size}"

    def test_a_header_cut_anywhere_is_refused(self, kept):
        """A journal gets its name with its header: no crash leaves one without."""
        for size in range(kept.ends[0]):
            disk = kept.disk.kill()
            disk.put(kept.path, kept.journal[:size])
            assert damage(kept.directory, disk), f"cut at {size}"

    @pytest.mark.parametrize("bit", range(8))
    def test_a_flipped_bit_is_never_passed_on(self, kept, bit):
        """In the header, and in the last three records: refused, or of no consequence; nothing acknowledged is lost."""
        for position in [*range(kept.ends[0]), *range(kept.ends[-4], len(kept.journal))]:
            wrong = bytearray(kept.journal)
            wrong[position] ^= 1 << bit
            try:
                found = kept.read_back(bytes(wrong))
            except CollectionDamaged:
                continue
            assert found == kept.states[-1], f"bit {bit} of byte {position} of {len(wrong)}"

    @pytest.mark.parametrize("bit", range(8))
    def test_a_flipped_bit_in_unsynced_records_leaves_a_prefix(self, directory, bit):
        """Without a sync, what is damaged may be cut off, with all behind it."""
        kept = Kept(directory, "os")
        for position in range(kept.ends[-4], len(kept.journal)):
            wrong = bytearray(kept.journal)
            wrong[position] ^= 1 << bit
            whole = sum(end <= position for end in kept.ends) - 1
            try:
                found = kept.read_back(bytes(wrong))
            except CollectionDamaged:
                continue
            # A record of which nothing but the newline is wrong may be taken as it is.
            expected = kept.states[whole : whole + 1 + (position + 1 in kept.ends)]
            assert found in expected, f"bit {bit} of byte {position} of {len(wrong)}"


class TestFiles:
    def test_a_missing_journal_is_refused(self, clean, directory):
        """It was there before the file could name its generation."""
        (journal,) = (name for name in clean.files(directory) if "journal" in name)
        clean.remove(directory / journal)

        assert damage(directory, clean) == f"{journal}, byte 0: the journal is missing"

    def test_a_missing_data_file_is_refused(self, clean, directory):
        """A collection is never silently empty."""
        clean.remove(directory / "birds.json")

        assert damage(directory, clean).startswith("birds.json, byte 0: ")

    def test_the_journal_of_another_collection_is_refused(self, kept, directory):
        """Its header names the other."""
        store = opened(directory, kept.disk)
        store.collection("bees", None, new=True)
        store.close()
        kept.disk.put(kept.path, kept.disk.content(directory / "bees.journal.1"))

        assert damage(directory, kept.disk).startswith("birds.journal.1, byte 0: ")

    def test_an_older_data_file_is_refused(self, clean, directory):
        """A file that was put back from a copy does not fit the journal."""
        old = clean.content(directory / "birds.json")
        store = opened(directory, clean)
        store.collection("birds", None).insert_one({"_id": "wren"})
        store.close()
        clean.put(directory / "birds.json", old)

        assert damage(directory, clean)

    @pytest.mark.parametrize("bit", [0, 5])
    def test_a_decayed_data_file_is_never_passed_on(self, clean, directory, bit):
        """A flipped bit anywhere, with the time of writing as it was saved: refused, or of no consequence."""
        path = directory / "birds.json"
        content = clean.content(path)
        for position in range(len(content)):
            wrong = bytearray(content)
            wrong[position] ^= 1 << bit
            disk = clean.kill()
            disk.put(path, bytes(wrong), modified=clean.modified_ns(path))
            try:
                found = reopened(directory, disk)
            except CollectionDamaged:
                continue
            assert found == [{"_id": "owl"}], f"bit {bit} of byte {position}"

    def test_a_decayed_data_file_is_refused(self, clean, directory):
        """Its checksum is wrong, and nobody has written it since."""
        path = directory / "birds.json"
        wrong = clean.content(path).replace(b"owl", b"awl")
        clean.put(path, wrong, modified=clean.modified_ns(path))

        assert damage(directory, clean).startswith("birds.json, byte 0: its checksum is wrong")

    @pytest.mark.parametrize("size", range(0, 100, 7))
    def test_a_cut_data_file_is_refused(self, clean, directory, size):
        """What does not parse is no collection, whoever wrote it."""
        path = directory / "birds.json"
        clean.put(path, clean.content(path)[:size])

        assert damage(directory, clean).startswith("birds.json, byte ")


class TestEditing:
    def test_a_file_edited_by_hand_is_adopted(self, clean, directory, caplog):
        """After a clean stop; a line in the log says so."""
        path = directory / "birds.json"
        clean.put(path, clean.content(path).replace(b"owl", b"barn owl"))

        assert reopened(directory, clean) == [{"_id": "barn owl"}]
        assert [each.getMessage() for each in caplog.records] == [
            "birds.json was edited while no server ran: it is taken as it stands"
        ]

    def test_a_file_edited_by_tinydb_is_adopted(self, clean, directory, tmp_path):
        """It keeps the meta, and writes everything else anew."""
        copy = tmp_path / "copy.json"
        copy.write_bytes(clean.content(directory / "birds.json"))
        with TinyDB(copy) as database:
            database.insert({"_id": "wren"})
        clean.put(directory / "birds.json", copy.read_bytes())

        assert reopened(directory, clean) == [{"_id": "owl"}, {"_id": "wren"}]

    def test_a_file_edited_while_its_journal_held_records_is_refused(self, kept):
        """The records would be replayed on other documents."""
        content = json.loads(kept.disk.content(kept.file))
        content["_default"]["9"] = {"_id": "barn owl"}
        kept.disk.put(kept.file, json.dumps(content).encode())

        assert "start once with the unedited file" in damage(kept.directory, kept.disk)

    def test_a_plain_tinydb_file_is_adopted(self, directory, tmp_path):
        """One that never saw this server."""
        with TinyDB(tmp_path / "plain.json") as database:
            database.insert({"_id": "wren"})
        disk = MemoryDisk()
        disk.put(directory / "birds.json", (tmp_path / "plain.json").read_bytes())

        assert reopened(directory, disk) == [{"_id": "wren"}]

    def test_documents_without_an_id_get_one_that_stays(self, directory):
        """The _id that was made at the first start is there at the second."""
        disk = MemoryDisk()
        disk.put(directory / "birds.json", b'{"_default": {"1": {"name": "wren"}}}')

        (found,) = reopened(directory, disk)

        assert found["name"] == "wren"

    def test_documents_without_an_id_get_one_that_survives_a_kill(self, directory):
        """The _id that was made is on the disk before anybody sees it."""
        disk = MemoryDisk()
        disk.put(directory / "birds.json", b'{"_default": {"1": {"name": "wren"}}}')
        store = opened(directory, disk)
        seen = everything(store.collection("birds", None))
        after = disk.kill()
        abandon(store, disk)

        assert reopened(directory, after) == seen

    def test_an_edited_file_that_is_no_collection_is_left_as_it_is(self, clean, directory):
        """A row without a number is refused, and what the owner wrote is not written over."""
        path = directory / "birds.json"
        edited = clean.content(path).replace(b'"1":{"_id"', b'"one":{"_id"')
        clean.put(path, edited)
        store = opened(directory, clean)
        try:
            with pytest.raises(StoreError):
                store.collection("birds", None)
        finally:
            store.close()

        assert clean.content(path) == edited

    @pytest.mark.parametrize("meta", [True, False])
    def test_a_crash_while_a_file_is_adopted_leaves_it_adoptable(self, clean, directory, meta):
        """Whatever call was the last, the documents as they were edited are found."""
        path = directory / "birds.json"
        content = clean.content(path).replace(b"owl", b"barn owl")
        if not meta:
            clean = MemoryDisk()
            content = json.dumps({"_default": json.loads(content)["_default"]}).encode()
        clean.put(path, content)
        images: list[tuple[int, MemoryDisk]] = []

        def take(disk: MemoryDisk) -> None:
            images.append((-1, disk.kill()))
            images.extend((seed, disk.crash((seed, len(disk.log)))) for seed in range(6))

        clean.after = take
        store = opened(directory, clean)
        store.collection("birds", None)
        clean.after = lambda _: None
        abandon(store, clean)
        for number, (seed, image) in enumerate(images):
            try:
                found = reopened(directory, image)
            except ConnectomeError as error:
                found = [getattr(error, "damage", error)]
            assert found == [{"_id": "barn owl"}], f"call {number // 7}, seed {seed}, {image.files(directory)}"
