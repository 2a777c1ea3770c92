"""What was measured, as markdown tables: ratios first, absolute figures after them."""

from __future__ import annotations

import math
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import Figure
from benchmarks.peers import PEERS
from benchmarks.rows import ROUTES, ROWS, Row
from benchmarks.run import Figures

# Route → who answers → ``loads``, the ``Load`` by number of connections, and ``note``, why there are none.
Table = Mapping[str, Mapping[str, Mapping[str, Any]]]

BEGIN: Final = "<!-- results: `make bench` writes what stands between this line and the next of its kind -->"
END: Final = "<!-- end of results -->"

_NONE: Final = Figure(None, "")


@dataclass
class Results:
    """
    Everything that one run found out.

    sizes: by number of documents, the figures of ``run``.
    http: by number of documents, the table of ``server``.
    skipped: peers that could not run here, and why.
    seconds: how long it all took.
    """

    machine: str
    seconds: float = 0
    skipped: dict[str, str] = field(default_factory=dict)
    sizes: dict[int, Figures] = field(default_factory=dict)
    http: dict[int, Table] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Results:
        """What ``as_json`` gave."""
        sizes = {
            int(size): {
                row: {name: Figure(**figure) for name, figure in found.items()} for row, found in figures.items()
            }
            for size, figures in record["sizes"].items()
        }
        http = {int(size): table for size, table in record["http"].items()}
        return cls(record["machine"], record["seconds"], record["skipped"], sizes, http)


def machine() -> str:
    """What it ran on, and which versions of what."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    packages = ("orjson", "granian", "waitress", "jsonschema-rs", "tinydb", "mongomock", "mongita", "neosqlite")
    node = shutil.which("node")
    return ", ".join(
        [
            f"{os.cpu_count()} cores of {model[1] if model else platform.machine()}",
            f"{platform.system()} {platform.release().split('-')[0]}",
            f"CPython {platform.python_version()}",
            *([f"Node {subprocess.check_output([node, '--version'], text=True).strip().lstrip('v')}"] if node else []),
            *(f"{name} {installed}" for name in packages if (installed := _installed(name))),
        ]
    )


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def rounded(number: float) -> str:
    """A number with two or three digits that count, and never an exponent."""
    if number >= 100:
        return f"{number:,.0f}"
    if number >= 1:
        return f"{number:.3g}"
    return f"{number:.{1 - math.floor(math.log10(number))}f}" if number else "0"


def shown(row: Row, figure: Figure) -> str:
    """A figure in the unit of its row; where there is none, why."""
    if figure.cost is None:
        return f"*{figure.note}*" if figure.note else ""
    return quantity(row.shown, figure.cost)


def quantity(kind: str, cost: float) -> str:
    """A cost as a time, as how many a second, or as bytes."""
    if kind == "bytes":
        return f"{cost:,.0f} B"
    if kind == "rate":
        for unit, times in (("M", 1e6), ("k", 1e3)):
            if 1 / cost >= times:
                return f"{rounded(1 / cost / times)}{unit}/s"
        return f"{rounded(1 / cost)}/s"
    for unit, seconds in (("s", 1), ("ms", 1e-3)):
        if cost >= seconds:
            return f"{rounded(cost / seconds)} {unit}"
    return f"{rounded(cost * 1e6)} µs"


def _times(other: Figure, own: Figure) -> str:
    """How many times better one's own figure is; above 1 is better."""
    return f"{rounded(other.cost / own.cost)}×" if other.cost and own.cost else ""


def _best(row: Row, found: Mapping[str, Figure], names: Iterable[str]) -> str:
    """The best of some peers in a row, among those that keep what they write; empty where none has a figure."""
    kept = [name for name in names if PEERS[name].keeps or row.kind in ("cold", "warm", "open", "memory")]
    costs = {name: cost for name in kept if (cost := found.get(name, _NONE).cost)}
    return min(costs, key=lambda name: costs[name], default="")


def python_peers() -> list[str]:
    """Those with MongoDB's language in Python."""
    return [name for name, peer in PEERS.items() if peer.embedded_mongodb and name != "Connectome"]


def all_peers() -> list[str]:
    """Everybody but ourselves and the measures."""
    return [name for name in PEERS if name not in ("hand", "raw", "Connectome")]


def _goals(row: Row, found: Mapping[str, Figure]) -> list[tuple[str, bool]]:
    """What is meant, and whether it is reached; of those that can be told from these figures."""
    own = found.get("Connectome", _NONE).cost
    goals = []
    if own:
        for name, times in (("hand", row.hand), ("raw", row.raw), (_best(row, found, python_peers()), row.peer)):
            cost = found.get(name, _NONE).cost
            if times and cost:
                goals.append((f"{rounded(times)}× {name}", cost / own >= times))
        if row.most:
            words = quantity(row.shown, row.most)
            goals.append((words, own <= row.most))
    return goals


def _table(heads: list[str], lines: Iterable[list[str]]) -> str:
    body = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([f"| {' | '.join(heads)} |", f"|{'|'.join(['---'] * 2 + ['--:'] * (len(heads) - 2))}|", *body])


def summary(size: int, figures: Figures) -> str:
    """One size: Connectome beside hand, the best Python peer and the best of all."""
    lines = []
    for name, found in figures.items():
        row, own = ROWS[name], found.get("Connectome", _NONE)
        python, best = _best(row, found, python_peers()), _best(row, found, all_peers())
        goals = "; ".join(f"{_mark(reached)} {goal}" for goal, reached in _goals(row, found))
        lines.append(
            [row.number, row.title, shown(row, found.get("hand", _NONE)), shown(row, own)]
            + [_times(found.get("hand", _NONE), own)]
            + [f"{_times(found[name], own)} {name}" if name else "" for name in (python, best)]
            + ([goals] if size >= 100_000 else [])
        )
    heads = ["", "row", "hand", "Connectome", "better than hand", "than the best Python peer", "than the best of any"]
    return _table(heads + (["goals"] if size >= 100_000 else []), lines)


def absolute(figures: Figures) -> str:
    """One size: everybody's figures."""
    names = [name for name in PEERS if any(name in found for found in figures.values())]
    return _table(
        ["", "row", *(f"{name}*" if PEERS[name].unsafe else name for name in names)],
        (
            [ROWS[row].number, ROWS[row].title, *(shown(ROWS[row], found.get(name, _NONE)) for name in names)]
            for row, found in figures.items()
        ),
    )


def http(table: Table) -> str:
    """Requests a second and the 99th percentile of each route, by who answers and how many connections."""
    names = list(dict.fromkeys(name for answered in table.values() for name in answered))
    lines = []
    for route, answered in table.items():
        # Where nobody has a figure, the line still says why.
        for connections in sorted({key for each in answered.values() for key in each["loads"]}, key=int) or [""]:
            cells = [_load(answered[name], connections) if name in answered else "" for name in names]
            lines.append([route, connections, *cells])
    return _table(["route", "connections", *names], lines)


def _load(answered: Mapping[str, Any], connections: str) -> str:
    """What one server did on a route; where there is no figure, why."""
    if connections not in answered["loads"]:
        return f"*{answered['note']}*" if answered["note"] else ""
    load = answered["loads"][connections]
    return f"{rounded(load['rate'])}/s, {rounded(load['p99'] * 1e3)} ms"


def http_ratios(table: Table) -> str:
    """How many times the requests of each of the others Connectome answers, at each number of connections."""
    names = list(dict.fromkeys(name for answered in table.values() for name in answered))
    own = [name for name in names if name.startswith("Connectome")]
    others = [name for name in names if name not in own]
    return _table(
        ["route", "who answers", *(f"of {name}" for name in others), "goals"],
        (
            [
                route,
                name,
                *(_rates(answered.get(name), answered.get(other)) for other in others),
                "; ".join(_http_goals(route, name, answered)),
            ]
            for route, answered in table.items()
            for name in own
        ),
    )


def _http_goals(route: str, name: str, answered: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What is meant for a route, over the fewest connections, and whether it is reached."""
    ceiling = f"Flask, {name.partition(', ')[2]}"
    goals = ROUTES[route]
    for other, times in ((ceiling, goals.ceiling), ("json-server", goals.json_server)):
        both = [answered.get(each, {"loads": {}})["loads"] for each in (name, other)]
        if all(both):
            own, their = (loads[min(loads, key=int)] for loads in both)
            yield f"{_mark(own['rate'] >= times * their['rate'])} {rounded(times)}× {other}"
            if other == ceiling:
                yield f"{_mark(own['p99'] <= 2 * their['p99'])} p99 ≤ 2× {other}"


def _mark(reached: bool) -> str:
    return "✓" if reached else "✗"


def _rates(own: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str:
    """One's own rates as multiples of another's, where both have one."""
    if not own or not other:
        return ""
    both = [key for key in own["loads"] if key in other["loads"]]
    return ", ".join(f"{rounded(own['loads'][key]['rate'] / other['loads'][key]['rate'])}×" for key in both)


def markdown(results: Results, plots: Iterable[str] = ()) -> str:
    """
    The whole report.

    Args:
        plots: Where the plots stand, relative to the text.
    """
    parts = [f"Measured in {results.seconds / 60:.1f} minutes on {results.machine}."]
    parts += [f"![{Path(plot).stem}]({plot})" for plot in plots]
    for size, figures in sorted(results.sizes.items(), reverse=True):
        parts += [f"### {size:,} documents", summary(size, figures), "Everybody's figures:", absolute(figures)]
    for size, table in sorted(results.http.items()):
        parts += [
            f"### Over HTTP, {size:,} documents",
            "Requests a second, and the time within which 99 of 100 were answered:",
            http(table),
            "How many times the requests of the others, at each number of connections:",
            http_ratios(table),
        ]
    measured = {name for figures in results.sizes.values() for found in figures.values() for name in found}
    unsafe = [f"{name} {peer.unsafe}" for name, peer in PEERS.items() if peer.unsafe and name in measured]
    if unsafe:
        parts.append(f"\\* Its writes do not survive a power cut: {'; '.join(unsafe)}.")
    parts += [f"Not measured: {name}: {why}." for name, why in results.skipped.items()]
    return "\n\n".join(parts) + "\n"


def insert(path: Path, text: str) -> None:
    """
    Put the report between the marks of a file.

    Raises:
        ValueError: The file has no such marks.
    """
    content = path.read_text()
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} has no place for the results: a line {BEGIN!r}, and later one {END!r}")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")
