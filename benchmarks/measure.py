"""Ask the peers' processes in turn, compare their answers with those by hand, and keep to the time there is."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from types import TracebackType
from typing import Any, Final

from benchmarks.peers import NODE_MODULES, Peer

_NODE: Final = NODE_MODULES.parent / "node.mjs"


class NoFigure(Exception):
    """There is no figure, and the message says why: the table shows it instead."""


@dataclass(frozen=True)
class Figure:
    """
    What one peer needs for one row.

    cost: seconds, or bytes for memory; None where ``note`` says why there is none.
    samples: of how many it is the median.
    """

    cost: float | None
    note: str = ""
    samples: int = 0


class Worker:
    """
    A peer's process.

    Args:
        directory: Where the peer keeps its files.
        patience: Seconds after which an answer is waited for no longer, and the process is ended.
    """

    def __init__(self, peer: Peer, directory: Path, *, patience: float) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        program = ["node", str(_NODE)] if peer.node else [sys.executable, "-m", "benchmarks.worker"]
        self._patience = patience
        self._process = subprocess.Popen(
            [*program, peer.subject, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[1],
            text=True,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.poll() is None and not isinstance(error, KeyboardInterrupt):
            try:
                self.call("close")
            except NoFigure:
                self._process.kill()
        else:
            self._process.kill()
        self._process.communicate()

    def call(self, do: str, **arguments: Any) -> dict[str, Any]:
        """
        The answer to one message of ``worker``.

        Raises:
            NoFigure: The peer cannot, failed, or took too long; of the latter its process is ended.
        """
        process = self._process
        if process.poll() is not None:
            raise NoFigure("its process has ended")
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(self._patience):
                process.kill()
                process.wait()
                raise NoFigure(f"over {self._patience:.0f} s")
        answer: dict[str, Any] = json.loads(process.stdout.readline() or '{"error": "its process has ended"}')
        if "cannot" in answer:
            raise NoFigure(answer["cannot"])
        if "error" in answer:
            raise NoFigure(f"failed: {answer['error'][:200]}")
        return answer


Measure = Callable[[], float]


def interleaved(measures: Mapping[str, Measure], *, rounds: int, budget: float) -> dict[str, Figure]:
    """
    The median cost of each, asked in turn, so that whatever slows the machine slows all of them.

    Args:
        measures: By name; each returns one sample of its cost, or raises NoFigure.
        rounds: How many samples of each, at most.
        budget: Seconds of clock that one of them may take in all; one sample is always taken.
    """
    samples: dict[str, list[float]] = {name: [] for name in measures}
    spent = dict.fromkeys(measures, 0.0)
    notes: dict[str, str] = {}
    for turn in range(rounds):
        for name, measure in measures.items():
            if name in notes or (turn and spent[name] * (turn + 1) / turn > budget):
                continue
            started = perf_counter()
            try:
                samples[name].append(measure())
            except NoFigure as reason:
                notes[name] = str(reason)
            spent[name] += perf_counter() - started
    return {
        name: Figure(None, notes[name]) if name in notes else Figure(median(taken), samples=len(taken))
        for name, taken in samples.items()
    }
