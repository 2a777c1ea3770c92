"""
What there is to know of each operation, in words for people: the console and the OpenAPI document say the same.

The names of a body's keys are those of its schema in ``api``; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Parameter:
    """A key of a body, or, where ``place`` says so, a parameter of the URL; no default where it is required."""

    name: str
    type: str
    default: str
    says: str
    place: str = "body"


@dataclass(frozen=True)
class Guide:
    """
    What there is to know of an operation.

    takes: what the body is, where it is not an object of parameters.
    answer: what a success answers.
    """

    title: str
    says: str
    takes: str
    answer: str
    parameters: tuple[Parameter, ...] = ()


_GUARDS: Final = (
    Parameter("dry_run", "boolean", "false", "Answers what would happen, with up to three examples.", "URL"),
    Parameter("max_affected", "number", "no bound", "Refuses to change more documents than this.", "URL"),
)

# In the order in which a reader meets them.
GUIDES: Final[dict[str, Guide]] = {
    "readwithquery": Guide(
        "Read with query",
        "Finds the documents that match a filter of MongoDB’s query language: projected, sorted, skipped, limited.",
        "",
        "An array of documents; an empty one where nothing matches.",
        (
            Parameter("query", "object", "{}", "The filter; {} matches every document."),
            Parameter("project", "object", "{}", "Which fields are answered; {} answers whole documents."),
            Parameter("sort", "object or array", "{}", "1 ascending, -1 descending; without it, as written."),
            Parameter("skip", "number", "0", "How many documents to pass over."),
            Parameter("limit", "number", "0", "How many documents to answer at most; 0 is no limit."),
            Parameter("explain", "boolean", "false", "Answers how the query was answered, not its documents.", "URL"),
        ),
    ),
    "read": Guide(
        "Read",
        "Answers all documents, in the order in which they were written.",
        "No body.",
        "An array of all documents.",
    ),
    "write": Guide(
        "Write",
        "Adds one document. Where it has no _id, it gets one: a string of 24 hexadecimal digits.",
        "The document.",
        "The _id of the new document.",
    ),
    "batchwrite": Guide(
        "Batch write",
        "Adds several documents: all of them, or none.",
        "An array of documents, not wrapped in anything.",
        "How many documents were added, and their _ids, in the order of the array.",
    ),
    "updatewithupsert": Guide(
        "Update with upsert",
        "Changes every document that matches. With upsert, creates one where none does.",
        "",
        "How many documents matched, in how many something changed, and the _id of the one that was created.",
        (
            Parameter("search query", "object", "", "The filter: which documents to change."),
            Parameter("data", "object or array", "", "Fields to set, update operators such as $inc, or a pipeline."),
            Parameter("upsert", "boolean", "false", "Where nothing matches, create a document."),
            Parameter("multi", "boolean", "true", "Change every document that matches; false: only the first."),
            Parameter("arrayFilters", "array", "[]", "Which elements $[name] in a path stands for."),
            *_GUARDS,
        ),
    ),
    "batchdelete": Guide(
        "Delete by query",
        "Deletes every document that matches a filter. Without a body nothing is deleted; {} deletes them all.",
        "The filter, not wrapped in anything.",
        "How many documents were deleted.",
        _GUARDS,
    ),
}
