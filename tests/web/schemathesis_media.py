"""What schemathesis has to be told of media types that it does not know, and of the collection that is there."""

from __future__ import annotations

import json

import schemathesis


@schemathesis.serializer("application/zip")
def archive(context, value):
    """A body that is no archive."""
    return repr(value).encode()


@schemathesis.serializer("application/ejson")
def extend(context, value):
    """JSON is Extended JSON."""
    return json.dumps(value).encode()


@schemathesis.hook
def map_body(context, body):
    """In a body that names a collection, it is the one that the credentials open."""
    if isinstance(body, dict) and {"dataSource", "collection"} <= body.keys() and isinstance(body["collection"], str):
        return {**body, "collection": "tasks"}
    return body


@schemathesis.deserializer("application/ejson")
def extended(context, response):
    """Extended JSON is JSON."""
    return json.loads(response.content)


@schemathesis.deserializer("application/x-ndjson")
def lines(context, response):
    """To its schema, NDJSON is text; each line is JSON all the same."""
    for line in response.content.splitlines():
        json.loads(line)
    return response.content.decode()
