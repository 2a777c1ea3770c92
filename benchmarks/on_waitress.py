"""``python -m benchmarks.on_waitress MODULE:APPLICATION PORT``: waitress as ``connectome serve`` sets it up."""

from __future__ import annotations

import importlib
import logging
import sys

import waitress


def main(application: str, port: str) -> None:
    """Serve with eight threads, and without a line in the log for each request that has to wait."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    module, _, name = application.partition(":")
    waitress.serve(getattr(importlib.import_module(module), name), host="127.0.0.1", port=int(port), threads=8)


if __name__ == "__main__":
    main(*sys.argv[1:])
