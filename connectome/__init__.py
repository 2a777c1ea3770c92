"""A self-hosted Data API: JSON documents over plain HTTP with the MongoDB query language."""

__version__ = "0.1.0"
