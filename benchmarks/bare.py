"""
The ceiling of the rows over HTTP: a Flask application that answers each route with a constant.

``BENCH_ANSWERS`` names the directory that holds the answers, a file for each route.
"""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, Response, request

_answers = {path.name: path.read_bytes() for path in Path(os.environ["BENCH_ANSWERS"]).iterdir()}
app = Flask(__name__)


@app.post("/<route>")
def answer(route: str) -> Response:
    """The route's constant, once the request has been read."""
    request.get_data()
    return Response(_answers[route], 201 if route == "create" else 200, mimetype="application/json")
