"""Aggregation expressions, for ``$expr``, computed projections and update pipelines: a module per family."""

from connectome.query.expressions import arithmetic as arithmetic
from connectome.query.expressions import arrays as arrays
from connectome.query.expressions import conversion as conversion
from connectome.query.expressions import dates as dates
from connectome.query.expressions import logic as logic
from connectome.query.expressions import objects as objects
from connectome.query.expressions import strings as strings
from connectome.query.expressions.language import compile_expression as compile_expression
from connectome.query.expressions.language import is_expression_operator as is_expression_operator
