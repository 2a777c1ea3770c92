"""``python -m benchmarks``: measure, and print the tables as markdown; progress goes to standard error."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path
from time import perf_counter

import click

from benchmarks import plots, report, server
from benchmarks.measure import NoFigure
from benchmarks.peers import PEERS
from benchmarks.report import Results
from benchmarks.rows import ROWS
from benchmarks.run import Figures, Run

_DEFAULT_SIZES = "1000,10000,100000"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--sizes", default=_DEFAULT_SIZES, help="Numbers of documents, with commas between them.")
@click.option("--million", is_flag=True, help="Measure 1,000,000 documents too: an hour, and 16 GB of memory.")
@click.option(
    "--rows", default="*", help=f"Which rows, with commas between them and * for any part: {', '.join(ROWS)}, http."
)
@click.option("--peers", default="*", help="Which peers, likewise; hand and Connectome are always among them.")
@click.option("--rounds", default=5, type=click.IntRange(1, 100), help="Samples of each figure, at most.")
@click.option("--budget", default=0.4, help="Seconds that one peer may take for the samples of one row.")
@click.option("--json", "json_out", type=click.Path(path_type=Path), help="Write all figures to this file.")
@click.option(
    "--from", "json_in", type=click.Path(path_type=Path, exists=True), help="Measure nothing, and report this file."
)
@click.option("--svg", type=click.Path(path_type=Path, file_okay=False), help="Write the plots into this directory.")
@click.option(
    "--markdown",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Put the tables between the marks of this file, such as docs/performance.md.",
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where the peers keep their files meanwhile: the disk that is measured.  [default: the temporary directory]",
)
def main(
    sizes: str,
    million: bool,
    rows: str,
    peers: str,
    rounds: int,
    budget: float,
    json_out: Path | None,
    json_in: Path | None,
    svg: Path | None,
    markdown: Path | None,
    directory: Path | None,
) -> None:
    """Measure Connectome beside hand-written Python and its peers; docs/performance.md explains the rows."""
    if json_in:
        results = Results.from_json(json.loads(json_in.read_text()))
    else:
        numbers = sorted({int(size) for size in sizes.split(",")} | ({1_000_000} if million else set()))
        results = _measured(numbers, rows.split(","), peers.split(","), rounds, budget, directory)
    if json_out:
        json_out.parent.mkdir(parents=True, exist_ok=True)
        json_out.write_text(json.dumps(results.as_json(), indent=1) + "\n")
    drawn = plots.write(results, svg) if svg else []
    click.echo(report.markdown(results), nl=False)
    if markdown:
        beside = [os.path.relpath(plot, markdown.parent) for plot in drawn]
        try:
            report.insert(markdown, report.markdown(results, beside))
        except ValueError as error:
            raise click.ClickException(str(error)) from None


def _measured(
    sizes: list[int], rows: list[str], peers: list[str], rounds: int, budget: float, directory: Path | None
) -> Results:
    started = perf_counter()

    def say(line: str) -> None:
        click.echo(f"{perf_counter() - started:5.0f} s  {line}", err=True)

    results = Results(report.machine())
    chosen = []
    for peer in PEERS.values():
        if peer.name not in ("hand", "raw", "Connectome") and not _named(peer.name, peers):
            continue
        if missing := peer.missing():
            results.skipped[peer.name] = missing
        else:
            chosen.append(peer)
    before: tuple[int, Figures] | None = None
    for size in sizes:
        wanted = [row for row in ROWS.values() if _named(row.name, rows) and (size == sizes[-1] or not row.at_largest)]
        if wanted:
            with tempfile.TemporaryDirectory(prefix="connectome-bench-", dir=directory) as home:
                figures = Run(size, Path(home), chosen, wanted, rounds, budget, before, say).measure()
            results.sizes[size] = figures
            before = (size, figures)
    if _named("http", rows):
        for size in sizes:
            if size >= server.LEAST_SIZE or size == sizes[-1]:
                with tempfile.TemporaryDirectory(prefix="connectome-bench-", dir=directory) as home:
                    try:
                        results.http[size] = server.measure(
                            size, Path(home), rounds=(rounds + 4) // 5, skipped=results.skipped, say=say
                        )
                    except NoFigure as reason:
                        results.skipped[f"HTTP at {size:,}"] = str(reason)
    results.seconds = perf_counter() - started
    return results


def _named(name: str, patterns: list[str]) -> bool:
    return any(fnmatch(name.lower(), pattern.strip().lower()) for pattern in patterns)


if __name__ == "__main__":
    sys.exit(main())
