"""Load on a server: by wrk where it is installed, else by a small client of our own, which costs more than a server."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final
from urllib.parse import urlsplit

from benchmarks.measure import NoFigure

# How many times as long an answer is waited for, where none came in the time of the load.
_PATIENCE: Final = 5


@dataclass(frozen=True)
class Request:
    """One request: its path with the query string, and its body, of a POST; empty for a GET."""

    path: str
    body: bytes = b""

    @property
    def method(self) -> str:
        return "POST" if self.body else "GET"


@dataclass(frozen=True)
class Load:
    """What came of it: requests a second, and the seconds within which 99 of 100 were answered."""

    rate: float
    p99: float


def put(url: str, requests: list[Request], connections: int, *, seconds: float) -> Load:
    """
    Send requests in turn over so many connections, each as soon as the last was answered.

    Args:
        seconds: For how long; wrk takes whole ones, so that any other number is left to our own client.

    Raises:
        NoFigure: Some were refused, or none was answered.
    """
    attempt = _by_wrk if shutil.which("wrk") and seconds == int(seconds) else _by_threads
    requested, elapsed, p99, refused = attempt(url, requests, connections, seconds)
    if not requested:
        seconds *= _PATIENCE
        requested, elapsed, p99, refused = attempt(url, requests, connections, seconds)
    if refused or not requested:
        raise NoFigure(f"{refused} of {requested} requests refused" if requested else f"no answer in {seconds:g} s")
    return Load(requested / elapsed, p99)


_SCRIPT: Final = """
local requests = {}
local at = 0
init = function()
  for _, each in ipairs(all) do
    requests[#requests + 1] = wrk.format(each[1], each[2], {["Content-Type"] = "application/json"}, each[3])
  end
end
request = function()
  at = at + 1
  return requests[at % #requests + 1]
end
done = function(summary, latency)
  local errors = summary.errors
  local refused = errors.status + errors.connect + errors.read + errors.write
  local line = '\\n{"requests": %d, "seconds": %f, "p99": %f, "refused": %d}\\n'
  io.write(string.format(line, summary.requests, summary.duration / 1e6, latency:percentile(99) / 1e6, refused))
end
"""


def _by_wrk(url: str, requests: list[Request], connections: int, seconds: float) -> tuple[int, float, float, int]:
    each = [f"{{[[{r.method}]], [[{r.path}]], {f'[==[{r.body.decode()}]==]' if r.body else 'nil'}}}" for r in requests]
    with tempfile.TemporaryDirectory() as home:
        script = Path(home) / "requests.lua"
        script.write_text(f"all = {{{', '.join(each)}}}\n{_SCRIPT}")
        command = ["wrk", "-t1", f"-c{connections}", f"-d{int(seconds)}s", "--timeout", "10s", "-s", str(script), url]
        run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise NoFigure(f"wrk failed: {run.stderr.strip()[:100]}")
    found = json.loads(run.stdout.strip().splitlines()[-1])
    return found["requests"], found["seconds"], found["p99"], found["refused"]


def _by_threads(url: str, requests: list[Request], connections: int, seconds: float) -> tuple[int, float, float, int]:
    address = urlsplit(url).netloc
    taken: list[float] = []
    refused: list[int] = []
    together = threading.Barrier(connections)

    def work(position: int) -> None:
        connection = http.client.HTTPConnection(address, timeout=10)
        together.wait()
        until = perf_counter() + seconds
        while True:
            each = requests[position % len(requests)]
            started = perf_counter()
            try:
                connection.request(each.method, each.path, each.body or None, {"Content-Type": "application/json"})
                response = connection.getresponse()
                response.read()
                if response.status >= 400:
                    refused.append(response.status)
            except OSError:
                refused.append(0)
                connection.close()
            taken.append(perf_counter() - started)
            position += 1
            # At least one, however short the time.
            if perf_counter() >= until:
                break
        connection.close()

    started = perf_counter()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken.sort()
    return len(taken), perf_counter() - started, taken[len(taken) * 99 // 100], len(refused)
