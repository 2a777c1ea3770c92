"""
One peer in a process of its own: a message a line on standard input, an answer a line on standard output.

``python -m benchmarks.worker MODULE:CLASS DIRECTORY``.  ``peers/node.mjs`` answers the same messages:

    fill      {file}                        the file of documents to begin with
    open      {}                            → seconds, bytes: how long it took, and how much memory
    answer    {question, variant}           → count, digest, seconds: to be compared, and how long it took
    ask       {question, variants, least}   → seconds: the median of calls, over at least so many seconds
    update    {codes, least}                → seconds: the mean of updates, of at least one and for so long
    insert    {documents, threads, seconds} → seconds: elapsed time for each document, likewise
    batch     {file, size, schema}          → seconds: for each document
    delete    {low, high}                   → seconds, count

The answer to what the peer does not have is ``{"cannot": …}``, and ``{"error": …}`` to what went wrong.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha1
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

from benchmarks.peers import Cannot, Subject, lines, loads

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def _memory() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def digest(identities: list[str], *, ordered: bool) -> str:
    """What two answers have in common when they hold the same documents, and, where it counts, in the same order."""
    return sha1("\n".join(identities if ordered else sorted(identities)).encode()).hexdigest()


class Worker:
    """The messages, one method each."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._asked: dict[str, Iterator[int]] = {}
        self._updated = itertools.count()
        self._inserted = itertools.count()

    def fill(self, file: str) -> dict[str, Any]:
        self._subject.fill(list(lines(Path(file))))
        return {}

    def open(self) -> dict[str, Any]:
        before, started = _memory(), perf_counter()
        self._subject.open()
        return {"seconds": perf_counter() - started, "bytes": _memory() - before}

    def answer(self, question: str, variant: dict[str, Any]) -> dict[str, Any]:
        started = perf_counter()
        text = self._subject.find(question, variant["arguments"], variant["find"])
        seconds = perf_counter() - started
        found = [document["_id"] for document in loads(text)]
        return {"count": len(found), "digest": digest(found, ordered="sort" in variant["find"]), "seconds": seconds}

    def ask(self, question: str, variants: list[dict[str, Any]], least: float) -> dict[str, Any]:
        taken: list[float] = []
        total = 0.0
        find = self._subject.find
        # On from where the last round ended: the caches of a peer hold some variants, but never all.
        asked = self._asked.setdefault(question, itertools.count())
        while True:
            variant = variants[next(asked) % len(variants)]
            arguments, wanted = variant["arguments"], variant["find"]
            started = perf_counter()
            find(question, arguments, wanted)
            taken.append(perf_counter() - started)
            total += taken[-1]
            if total >= least or len(taken) >= 500:
                break
        return {"seconds": median(taken)}

    def update(self, codes: list[str], least: float) -> dict[str, Any]:
        started, elapsed, updated = perf_counter(), 0.0, 0
        while not updated or elapsed < least:
            self._subject.update(codes[next(self._updated) % len(codes)])
            updated += 1
            elapsed = perf_counter() - started
        return {"seconds": elapsed / updated}

    def insert(self, documents: list[dict[str, Any]], threads: int, seconds: float) -> dict[str, Any]:
        templates = itertools.cycle(documents)
        together = threading.Barrier(threads)

        def work() -> int:
            together.wait()
            started, written = perf_counter(), 0
            # At least one, however slow it is.
            while not written or perf_counter() - started < seconds:
                self._subject.insert({**next(templates), "_id": f"new{next(self._inserted)}"})
                written += 1
            return written

        started = perf_counter()
        if threads == 1:
            # Some peers may be called by the thread that opened them alone.
            written = work()
            return {"seconds": (perf_counter() - started) / written}
        with ThreadPoolExecutor(threads) as pool:
            written = sum(each.result() for each in [pool.submit(work) for _ in range(threads)])
        return {"seconds": (perf_counter() - started) / written}

    def batch(self, file: str, size: int, schema: dict[str, Any] | None) -> dict[str, Any]:
        documents = list(itertools.islice(lines(Path(file)), size))
        started = perf_counter()
        self._subject.batch(documents, schema)
        return {"seconds": (perf_counter() - started) / len(documents)}

    def delete(self, low: float, high: float) -> dict[str, Any]:
        started = perf_counter()
        count = self._subject.delete(low, high)
        return {"seconds": perf_counter() - started, "count": count}

    def close(self) -> dict[str, Any]:
        self._subject.close()
        return {}


def main(subject: str, directory: str) -> None:
    """Answer messages until there are no more."""
    # What a peer prints is no answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    module, _, name = subject.partition(":")
    worker = Worker(getattr(importlib.import_module(module), name)(Path(directory)))
    for line in sys.stdin:
        message = json.loads(line)
        act: Callable[..., dict[str, Any]] = getattr(worker, message.pop("do"))
        try:
            answer = act(**message)
        except Cannot as error:
            answer = {"cannot": str(error)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
