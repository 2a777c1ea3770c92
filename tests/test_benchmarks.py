"""``make bench`` measures every row, believes no answer that it has not compared, and writes a report."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks import load, plots, report, server
from benchmarks.documents import QUESTIONS, documents
from benchmarks.measure import Figure, NoFigure, Worker, interleaved
from benchmarks.peers import PEERS, Peer
from benchmarks.peers.hand import Hand
from benchmarks.report import Results
from benchmarks.rows import ROWS
from benchmarks.run import Run

ROOT = Path(__file__).parent.parent
SIZES = (100, 200)


class Forgetful(Hand):
    """A peer that loses a document in every answer."""

    def find(self, question, arguments, find):
        return json.dumps(json.loads(super().find(question, arguments, find))[1:]).encode()


@pytest.fixture(scope="module")
def printed_and_kept(tmp_path_factory):
    """What ``python -m benchmarks`` prints of two small sizes, and its results."""
    kept = tmp_path_factory.mktemp("bench") / "results.json"
    options = ["--sizes", ",".join(map(str, SIZES)), "--rounds", "1", "--peers", "TinyDB,SQLite*", "--json", str(kept)]
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options, "--rows", ",".join(ROWS)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout, Results.from_json(json.loads(kept.read_text()))


class TestDocuments:
    def test_they_are_as_large_as_it_says(self):
        """473 bytes of JSON on average, 11 to 15 fields, 2 to 5 of cast."""
        made = list(documents(5000))

        assert sum(len(json.dumps(each, separators=(",", ":"))) for each in made) / 5000 == pytest.approx(473, abs=3)
        assert {len(each) for each in made} == {11, 12, 13, 14, 15}
        assert {len(each["cast"]) for each in made} == {2, 3, 4, 5}

    def test_a_larger_collection_begins_with_the_smaller(self):
        """Sizes can be compared, and runs too: the same seed makes the same documents."""
        assert list(documents(50)) == list(documents(80))[:50]

    @pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
    def test_every_question_finds_something(self, question, tmp_path):
        """No variant asks for what is not there, or for something that a peer kept from the variant before."""
        hand = Hand(tmp_path)
        hand.fill(list(documents(2000)))
        variants = question.variants(2000)

        assert all(json.loads(hand.find(question.name, each["arguments"], each["find"])) for each in variants)
        assert len({json.dumps(each) for each in variants}) == (1 if not variants[0]["arguments"] else len(variants))
        hand.close()


class TestRows:
    @pytest.mark.parametrize("row", ROWS)
    def test_each_is_measured(self, row, printed_and_kept):
        """Connectome has a figure in every row; those that hardly depend on the size, at the largest alone."""
        _, results = printed_and_kept
        sizes = [size for size in SIZES if row in results.sizes[size]]

        assert sizes == ([SIZES[-1]] if ROWS[row].at_largest else [*SIZES])
        for size in sizes:
            figure = results.sizes[size][row]["Connectome"]
            assert figure.cost is not None, figure.note

    def test_all_peers_agree_with_hand(self, printed_and_kept):
        """Nobody who was asked gave another answer."""
        _, results = printed_and_kept

        differing = [
            (size, row, name)
            for size, figures in results.sizes.items()
            for row, found in figures.items()
            for name, figure in found.items()
            if figure.note.startswith(("differs", "failed"))
        ]
        assert differing == []

    def test_a_wrong_answer_is_no_figure(self, tmp_path, monkeypatch):
        """Who loses a document gets no time, but the difference."""
        forgetful = Peer("forgetful", f"{__name__}:Forgetful")
        monkeypatch.setitem(PEERS, "forgetful", forgetful)
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
        peers = [PEERS["hand"], forgetful]

        figures = Run(
            300, tmp_path, peers, [ROWS["half"], ROWS["range-first"]], 1, 0.1, None, lambda line: None
        ).measure()

        count = len([film for film in documents(300) if film["amount"] >= 5000])
        assert figures["half"]["hand"].cost
        assert figures["half"]["forgetful"] == Figure(None, f"differs: {count - 1} documents, not {count}")
        assert figures["range-first"]["forgetful"].note.startswith("differs: ")

    def test_a_peer_that_takes_too_long_is_ended(self, tmp_path):
        """No answer is waited for longer than there is patience."""
        (tmp_path / "films").write_bytes(b"{}\n" * 2_000_000)

        with Worker(PEERS["hand"], tmp_path, patience=0.05) as worker, pytest.raises(NoFigure, match="over 0 s"):
            worker.call("fill", file=str(tmp_path / "films"))

    def test_a_slow_peer_is_asked_less_often(self):
        """The budget of one holds up no other; each is asked once at least."""
        asked = {"slow": 0, "fast": 0}

        def measure(name, seconds):
            def sample():
                asked[name] += 1
                return seconds

            return sample

        figures = interleaved({"slow": measure("slow", 9.0), "fast": measure("fast", 1.0)}, rounds=3, budget=100)
        assert figures == {"slow": Figure(9.0, samples=3), "fast": Figure(1.0, samples=3)}

        figures = interleaved({"slow": measure("slow", 9.0)}, rounds=3, budget=0)
        assert figures == {"slow": Figure(9.0, samples=1)}

    def test_a_peer_that_is_not_installed_says_so(self):
        """The reason names what is missing, and how to get it."""
        absent = Peer("absent", "nowhere:Nobody", ("no_such_module",))

        assert absent.missing() == "no_such_module not installed (pip install -e '.[bench]')"


class TestHTTP:
    def test_every_route_is_measured(self, tmp_path):
        """Connectome answers each route under load, and as json-server does where that is installed."""
        skipped: dict[str, str] = {}

        table = server.measure(200, tmp_path, rounds=1, seconds=0.05, skipped=skipped, say=lambda line: None)

        assert list(table) == ["one", "page", "filter-limit", "filter-sort-limit", "filter-1pct", "create"]
        for route, answered in table.items():
            assert {name: each["note"] for name, each in answered.items()} == dict.fromkeys(answered, ""), route
            assert all(load["rate"] > 0 for each in answered.values() for load in each["loads"].values())
            assert {name.partition(",")[0] for name in answered} >= {"Connectome", "Flask"}
        assert set(skipped) <= {"Flask on granian", "json-server"}

    def test_an_error_is_no_figure(self, tmp_path):
        """Requests that are refused are not counted as answered."""
        with pytest.raises(NoFigure, match="refused"):
            load.put("http://127.0.0.1:9", [load.Request("/")], connections=1, seconds=0.05)


class TestReport:
    def test_ratios_come_first(self, printed_and_kept):
        """Each size has a table of ratios and one of everybody's figures; each row stands in both."""
        printed, _ = printed_and_kept

        assert printed.index("### 200 documents") < printed.index("### 100 documents")
        for row in ROWS.values():
            assert printed.count(f"| {row.number} | {row.title} |") == (2 if row.at_largest else 4)

    def test_it_goes_between_the_marks_of_a_page(self, printed_and_kept, tmp_path):
        """What stood there is replaced, and what stands around it stays; twice is as once."""
        _, results = printed_and_kept
        page = tmp_path / "page.md"
        page.write_text(f"# Before\n\n{report.BEGIN}\n\nold\n\n{report.END}\n\nAfter\n")
        text = report.markdown(results, ["plots/questions.svg"])

        report.insert(page, text)
        report.insert(page, text)

        assert page.read_text() == f"# Before\n\n{report.BEGIN}\n\n{text}\n{report.END}\n\nAfter\n"
        assert "![questions](plots/questions.svg)" in text

    def test_a_page_without_a_place_is_left_alone(self, tmp_path):
        """The refusal says what is missing."""
        page = tmp_path / "page.md"
        page.write_text("nothing here\n")

        with pytest.raises(ValueError, match="has no place for the results"):
            report.insert(page, "text")
        assert page.read_text() == "nothing here\n"

    def test_the_page_on_performance_has_a_place(self):
        """The results can be put into docs/performance.md."""
        text = (ROOT / "docs/performance.md").read_text()

        assert text.count(report.BEGIN) == text.count(report.END) == 1

    def test_a_goal_is_told_from_the_figures(self):
        """Half of hand's time is twice as good, and a goal of one and a half is reached."""
        figures = {"half": {"hand": Figure(2.0), "Connectome": Figure(1.0), "neosqlite": Figure(4.0)}}

        row = report.summary(100_000, figures).splitlines()[-1]

        assert row.split(" | ")[-4:] == ["2×", "4× neosqlite", "4× neosqlite", "✓ 1.7× hand; ✗ 30× neosqlite |"]

    def test_the_plots_show_growth(self, printed_and_kept, tmp_path):
        """Each plot is an SVG with a panel for each row that has two sizes."""
        _, results = printed_and_kept

        written = plots.write(results, tmp_path)

        assert [path.name for path in written] == ["questions.svg", "writes.svg"]
        panels = [
            element.text
            for path in written
            for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
            if element.get("class") == "title"
        ]
        assert {row.title for row in ROWS.values() if not row.at_largest} == set(panels)

    def test_one_size_is_no_plot(self, printed_and_kept, tmp_path):
        """A point shows no growth."""
        _, results = printed_and_kept
        alone = Results(results.machine, sizes={100: results.sizes[100]})

        assert plots.write(alone, tmp_path) == []
