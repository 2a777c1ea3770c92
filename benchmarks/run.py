"""The rows at one size: fill every peer, open it anew, ask it for the first time, again, and then have it write."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.documents import QUESTIONS, SCHEMA, VARIANTS, documents, span
from benchmarks.measure import Figure, Measure, NoFigure, Worker, interleaved
from benchmarks.peers import PEERS, Peer, write_lines
from benchmarks.rows import ROWS, Row

Figures = dict[str, dict[str, Figure]]

# What is first asked in one process: questions on paths of their own, so that each finds nothing prepared for it.
_FIRST_QUESTIONS: Final = (("compound",), ("limit",), ("range", "member", "dotted", "cast", "prefix"))
# Asked every first question, and every other one as often as all, however long it takes.
_IN_FULL: Final = ("hand", "Connectome")
_OPENINGS: Final = 2
_LEAST_SECONDS: Final = 0.01
_WRITE_SECONDS: Final = 0.06
# A question that takes longer than this is asked once; one that would take longer than that, not at all.
_LONG_SECONDS: Final = 0.2
_TOO_LONG_SECONDS: Final = 4.0
_PATIENCE_SECONDS: Final = 60.0
_LONGEST_SECONDS: Final = 600.0


@dataclass
class Run:
    """
    The measurement of one size.

    rounds: samples of each row, at most.
    budget: seconds that one peer may take for the samples of one row.
    before: the figures at the size before, which tell what to leave out.
    say: gets each line of progress.
    """

    size: int
    directory: Path
    peers: Sequence[Peer]
    rows: Sequence[Row]
    rounds: int
    budget: float
    before: tuple[int, Figures] | None
    say: Callable[[str], None]
    figures: Figures = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._file = self.directory / "documents.ndjson"
        self._workers: dict[str, Worker] = {}
        self._expected: dict[tuple[str, int], tuple[int, str]] = {}
        self._wanted = {row.name for row in self.rows}

    def measure(self) -> Figures:
        """Every row that is wanted, by its name, and in it every peer's figure, by its name."""
        write_lines(self._file, list(documents(self.size)))
        with ExitStack() as stack:
            present = self._filled()
            self._ask_first(stack, present)
            for row in self._rows("warm"):
                self._ask_again(row)
            for kind, measures in (
                ("update", self._updates),
                ("delete", self._deletions),
                ("batch", self._batches),
                ("insert", self._inserts),
            ):
                for row in self._rows(kind):
                    measures(row)
            self.say(f"{self.size:,}: done")
        # As the tables are read, whatever the order in which it was measured.
        return {name: self.figures[name] for name in ROWS if name in self.figures}

    def _rows(self, kind: str) -> list[Row]:
        return [row for row in ROWS.values() if row.kind == kind and row.name in self._wanted]

    def _home(self, peer: Peer) -> Path:
        return self.directory / "".join(filter(str.isalnum, peer.name))

    def _filled(self) -> list[Peer]:
        present = []
        for peer in self.peers:
            self.say(f"{self.size:,}: filling {peer.name}")
            if self.size > peer.most:
                self._note_everywhere(peer, f"up to {peer.most:,}")
                continue
            try:
                patience = _LONGEST_SECONDS if peer.name in _IN_FULL else _PATIENCE_SECONDS
                with Worker(peer, self._home(peer), patience=patience) as worker:
                    worker.call("fill", file=os.devnull if peer.writes_only else str(self._file))
                present.append(peer)
            except NoFigure as reason:
                self._note_everywhere(peer, f"filling it: {reason}")
        return present

    def _note_everywhere(self, peer: Peer, note: str) -> None:
        for name in self._wanted:
            self.figures.setdefault(name, {})[peer.name] = Figure(None, note)

    def _keep(self, row: str, found: Mapping[str, Figure]) -> None:
        if row in self._wanted:
            self.figures.setdefault(row, {}).update(found)

    def _ask_first(self, stack: ExitStack, present: list[Peer]) -> None:
        """Open each peer in new processes, of which the last stays for what follows."""
        samples: dict[str, dict[str, list[float]]] = {}
        notes: dict[str, dict[str, Figure]] = {}
        for turn, peer in itertools.product(range(_OPENINGS), present):
            in_full = peer.name in _IN_FULL
            # A large collection is opened once by those who are not the question.
            openings = min(self.rounds, _OPENINGS if in_full or self.size <= 10_000 else 1)
            if turn >= openings:
                continue
            self.say(f"{self.size:,}: opening {peer.name}")
            for questions in _FIRST_QUESTIONS if in_full else (("range",),):
                with ExitStack() as ending:
                    worker = ending.enter_context(Worker(peer, self._home(peer), patience=_PATIENCE_SECONDS))
                    try:
                        opened = worker.call("open")
                    except NoFigure as reason:
                        self._note_everywhere(peer, f"opening it: {reason}")
                        continue
                    if not peer.writes_only:
                        self._first_answers(peer, worker, questions, opened, samples, notes)
                    if turn == openings - 1 and "range" in questions:
                        self._workers[peer.name] = worker
                        stack.push(ending.pop_all())
        # Hand first, whose answers are compared with.
        self._workers = {peer.name: self._workers[peer.name] for peer in present if peer.name in self._workers}
        for row, taken in samples.items():
            self._keep(row, {name: Figure(median(costs), samples=len(costs)) for name, costs in taken.items()})
        for row, noted in notes.items():
            self._keep(row, noted)

    def _first_answers(
        self,
        peer: Peer,
        worker: Worker,
        questions: tuple[str, ...],
        opened: dict[str, Any],
        samples: dict[str, dict[str, list[float]]],
        notes: dict[str, dict[str, Figure]],
    ) -> None:
        def add(row: str, cost: float) -> None:
            samples.setdefault(row, {}).setdefault(peer.name, []).append(cost)

        if "range" in questions and peer.on_disk:
            notes.setdefault("memory", {})[peer.name] = Figure(None, "on disk")
        elif "range" in questions:
            add("memory", opened["bytes"] / self.size)
        for question in questions:
            if not {question, f"{question}-first", "open"} & self._wanted:
                continue
            try:
                seconds = self._checked(peer, worker, question, 0)
            except NoFigure as reason:
                notes.setdefault(f"{question}-first", {})[peer.name] = Figure(None, str(reason))
                continue
            add(f"{question}-first", seconds)
            if question == "range":
                add("open", opened["seconds"] + seconds)

    def _checked(self, peer: Peer, worker: Worker, question: str, number: int) -> float:
        """
        Seconds that an answer took, once it is known to be the one that hand gives.

        Raises:
            NoFigure: It is another, or none.
        """
        variant = QUESTIONS[question].variants(self.size)[number]
        answer = worker.call("answer", question=question, variant=variant)
        given = (answer["count"], answer["digest"])
        # Hand comes first in every row.
        expected = self._expected.setdefault((question, number), given)
        if given[0] != expected[0]:
            raise NoFigure(f"differs: {given[0]:,} documents, not {expected[0]:,}")
        if given != expected:
            raise NoFigure("differs: other documents, or another order")
        return float(answer["seconds"])

    def _ask_again(self, row: Row) -> None:
        first_asked, second_asked, *rest = QUESTIONS[row.question].variants(self.size)
        # Those that were compared come last, when nobody remembers them.
        variants = [*rest, first_asked, second_asked]

        def first(peer: Peer, worker: Worker) -> Measure | float:
            seconds = self._checked(peer, worker, row.question, 0)
            if seconds > _LONG_SECONDS and peer.name not in _IN_FULL:
                return seconds
            self._checked(peer, worker, row.question, 1)
            ask = partial(worker.call, "ask", question=row.question, variants=variants, least=_LEAST_SECONDS)
            return lambda: float(ask()["seconds"])

        self._sample(row, first)

    def _updates(self, row: Row) -> None:
        codes = [document["code"] for document in documents(min(self.size, 500))]

        def first(peer: Peer, worker: Worker) -> Measure | float:
            update = partial(worker.call, "update", codes=codes)
            seconds = float(update(least=0)["seconds"])
            if seconds > _LONG_SECONDS and peer.name not in _IN_FULL:
                return seconds
            update(least=0)
            return lambda: float(update(least=_WRITE_SECONDS)["seconds"])

        self._sample(row, first)

    def _deletions(self, row: Row) -> None:
        def first(peer: Peer, worker: Worker) -> Measure:
            spans = map(span, itertools.count())

            def delete() -> float:
                low, high = next(spans)
                deleted = worker.call("delete", low=low, high=high)
                expected = self._expected.setdefault((f"delete {low}", 0), (deleted["count"], ""))
                if deleted["count"] != expected[0]:
                    raise NoFigure(f"differs: {deleted['count']:,} documents deleted, not {expected[0]:,}")
                return float(deleted["seconds"])

            return delete

        # No two spans overlap, and there are as many as there are variants of a question.
        self._sample(row, first, rounds=min(self.rounds, VARIANTS))

    def _batches(self, row: Row) -> None:
        arguments = {"file": str(self._file), "size": 10_000, "schema": SCHEMA if row.schema else None}
        self._sample(
            row, lambda peer, worker: lambda: float(worker.call("batch", **arguments)["seconds"]), rounds=self.rounds
        )

    def _inserts(self, row: Row) -> None:
        templates = list(documents(min(self.size, 200)))
        arguments = {"documents": templates, "threads": row.threads, "seconds": _WRITE_SECONDS}

        def first(peer: Peer, worker: Worker) -> Measure:
            if row.threads > 1 and not peer.threads:
                raise NoFigure("one thread")
            return lambda: float(worker.call("insert", **arguments)["seconds"])

        self._sample(row, first)

    def _sample(self, row: Row, first: Callable[[Peer, Worker], Measure | float], *, rounds: int = 0) -> None:
        """
        Fill a row.

        Args:
            first: Called for each peer; prepares it, and returns what takes one sample, or the only one.
        """
        self.say(f"{self.size:,}: {row.title}")
        measures: dict[str, Measure] = {}
        for name, worker in self._workers.items():
            peer = PEERS[name]
            if peer.writes_only and row.kind not in ("update", "insert"):
                continue
            try:
                self._require_time(row, name)
                prepared = first(peer, worker)
            except NoFigure as reason:
                self._keep(row.name, {name: Figure(None, str(reason))})
                continue
            if isinstance(prepared, float):
                self._keep(row.name, {name: Figure(prepared, samples=1)})
            else:
                measures[name] = prepared
        self._keep(row.name, interleaved(measures, rounds=rounds or self.rounds, budget=self.budget))

    def _require_time(self, row: Row, name: str) -> None:
        """Refuse what took so long at the size before that there is no time for it here."""
        if not self.before or name in _IN_FULL:
            return
        size, figures = self.before
        cost = figures.get(row.name, {}).get(name, Figure(None)).cost
        seconds = (cost or 0) * self.size / size
        if seconds > _TOO_LONG_SECONDS and row.kind != "batch":
            raise NoFigure(f"some {seconds:.0f} s, left out")
