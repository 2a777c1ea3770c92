"""
The language: MongoDB's filters, projections, sorts and updates as pure functions over plain dicts.

No I/O, no store, no HTTP: importable alone, with nothing but BSON's types and a regular expression engine.

>>> from connectome.query import Filter
>>> Filter({"amount": {"$gte": 30}}).select([{"amount": 10}, {"amount": 39}])
[{'amount': 39}]
"""

from connectome.query.filter import Filter as Filter
from connectome.query.pipeline import Pipeline as Pipeline
from connectome.query.projection import Projection as Projection
from connectome.query.sort import Sort as Sort
from connectome.query.update import Update as Update
from connectome.query.update import compile_array_filters as compile_array_filters
from connectome.query.values import MISSING as MISSING
from connectome.query.values import Document as Document
from connectome.query.values import Value as Value
from connectome.query.values import sort_key as sort_key
