"""Arithmetic and trigonometry."""

from __future__ import annotations

import math
import operator as python
from collections.abc import Callable
from decimal import (
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_FLOOR,
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    localcontext,
)
from functools import partial
from typing import Any, Final

from bson import Decimal128, Int64

from connectome.errors import QueryError
from connectome.extjson import preview
from connectome.query import numbers
from connectome.query.calendar import date_at, instant
from connectome.query.expressions.language import ANY, NUMBER, coded, is_nullish, operator
from connectome.query.numbers import (
    PADDING,
    Overflow64,
    accumulated,
    combined,
    decimal_result,
    to_decimal,
    to_double,
    typed,
    wide_result,
)
from connectome.query.values import (
    INT32,
    INT64,
    Value,
    exact,
    integral,
    is_nan,
    is_number,
    truthy,
    type_alias,
)

_NOT_A_NUMBER: Final = "Location28765"


def _number(value: Value, name: str, code: str = "TypeMismatch", *, says: str = "a number") -> Value:
    if not is_number(value):
        raise QueryError(f"{name} needs {says}, not {preview(value)}", code=code)
    return value


def _is_date(value: Value) -> bool:
    return type_alias(value) == "date"


def _whole_milliseconds(number: Value) -> int:
    """The number of milliseconds that a date moves by: doubles are rounded away from zero, decimals to the even."""
    precise = exact(number)
    if not math.isfinite(precise):
        raise QueryError(f"a date cannot be {preview(number)} milliseconds away", code="Overflow")
    rounding = ROUND_HALF_EVEN if type(number) is Decimal128 else ROUND_HALF_UP
    return int(Decimal(precise).to_integral_value(rounding))


def _or_double(one: Value, other: Value, combine: Callable[[Any, Any], Any]) -> Value:
    """Two numbers made one; a whole result beyond 64 bits is a double."""
    try:
        return accumulated(one, other, combine)
    except Overflow64:
        return combine(float(one), float(other))


@operator("$add", rest=ANY, nulls=False)
def add(*terms: Value) -> Value:
    """The sum of numbers, or of a date and milliseconds."""
    total: Value = 0
    for term in terms:
        if is_nullish(term):
            return None
        total = _plus(total, typed(term))
    return total


def _plus(total: Value, term: Value) -> Value:
    if _is_date(term):
        if _is_date(total):
            raise QueryError("$add takes only one date", code="Location16612")
        total, term = term, total
    _number(term, "$add", says="numbers, and at most one date")
    if _is_date(total):
        return date_at(instant(total) + _whole_milliseconds(term), code="Overflow")
    return _or_double(total, term, python.add)


@operator("$subtract", ANY, ANY)
def subtract(minuend: Value, subtrahend: Value) -> Value:
    """The difference of two numbers, of two dates in milliseconds, or a date so many milliseconds earlier."""
    if is_number(minuend) and is_number(subtrahend):
        return _or_double(typed(minuend), typed(subtrahend), python.sub)
    if _is_date(minuend) and is_number(subtrahend):
        return date_at(instant(minuend) - _whole_milliseconds(subtrahend), code="Overflow")
    if _is_date(minuend) and _is_date(subtrahend):
        apart = instant(minuend) - instant(subtrahend)
        if apart not in INT64:
            raise QueryError("the milliseconds between the dates are beyond 64 bits", code="DurationOverflow")
        return Int64(apart)
    raise QueryError(f"$subtract cannot take {preview(subtrahend)} from {preview(minuend)}", code="TypeMismatch")


@operator("$multiply", rest=ANY, nulls=False)
def multiply(*factors: Value) -> Value:
    """The product of numbers."""
    product: Value = 1
    # MongoDB multiplies doubles alongside: a product that turns into a double was rounded at every step.
    double = 1.0
    for factor in factors:
        if is_nullish(factor):
            return None
        number = typed(_number(factor, "$multiply"))
        double *= to_double(number)
        try:
            product = accumulated(product, number, python.mul)
        except Overflow64:
            product = double
        if type(product) is float:
            product = double
    return product


@operator("$divide", NUMBER, NUMBER)
def divide(dividend: Value, divisor: Value) -> Value:
    """The quotient of two numbers, never a whole type."""
    if not truthy(divisor):
        raise QueryError("$divide cannot divide by zero", code="BadValue")
    if Decimal128 in (type(dividend), type(divisor)):
        return combined(dividend, divisor, python.truediv)
    return float(dividend) / float(divisor)


@operator("$mod", NUMBER, NUMBER, code="Location16611")
def mod(dividend: Value, divisor: Value) -> Value:
    """The remainder of a division, with the sign of the dividend."""
    if not truthy(divisor):
        decimal = Decimal128 in (type(dividend), type(divisor))
        raise QueryError("$mod cannot divide by zero", code="Location5733415" if decimal else "Location16610")
    return combined(dividend, divisor, _remainder)


def _remainder(dividend: Any, divisor: Any) -> Any:
    if isinstance(dividend, int):
        remainder = abs(dividend) % abs(divisor)
        return -remainder if dividend < 0 else remainder
    if isinstance(dividend, float):
        return math.nan if math.isinf(dividend) else math.fmod(dividend, divisor)
    # The whole quotient may have as many digits as the exponents are apart.
    with localcontext(Context(prec=12_400, traps=[])):
        return dividend % divisor


@operator("$abs", NUMBER, code=_NOT_A_NUMBER)
def abs_(number: Value) -> Value:
    """The number without its sign."""
    if type(number) is Decimal128:
        return Decimal128(number.to_decimal().copy_abs())
    if number == INT64.start and type(number) is not float:
        raise QueryError("$abs of the smallest long does not fit into a long", code="Location28680")
    return Int64(abs(number)) if type(number) is Int64 else abs(number)


def _quantized(number: Decimal, place: int, rounding: str) -> Decimal:
    """A decimal cut at a place; one that has not digits enough for the place gets all that it can have."""
    padded = number + PADDING
    if padded and padded.adjusted() - 33 > -place:
        return padded
    return number.quantize(Decimal(1).scaleb(-place), rounding)


def _whole(name: str, double: Callable[[float], int], rounding: str, says: str) -> None:
    def whole(number: Value) -> Value:
        if type(number) is Decimal128:
            return decimal_result(lambda: number.to_decimal().quantize(Decimal(1), rounding))
        if type(number) is float and math.isfinite(number):
            return math.copysign(double(number), number)
        return number

    whole.__doc__ = says
    operator(name, NUMBER, code=_NOT_A_NUMBER)(whole)


_whole("$ceil", math.ceil, ROUND_CEILING, "The smallest whole number that is not less, of the same type.")
_whole("$floor", math.floor, ROUND_FLOOR, "The greatest whole number that is not greater, of the same type.")


def _rounding(name: str, rounding: str, says: str) -> None:
    def rounded(number: Value, place: Value = 0) -> Value:
        if is_nullish(number):
            return None
        _number(number, name, "Location51081")
        if is_nullish(place):
            return None
        digits = _place(place, name)
        if type(number) is Decimal128:
            infinite = number.to_decimal().is_infinite()
            return number if infinite else decimal_result(lambda: _quantized(number.to_decimal(), digits, rounding))
        if type(number) is float:
            if math.isinf(number):
                return number
            return to_double(decimal_result(lambda: _quantized(+Decimal(number), digits, rounding)))
        if digits >= 0:
            return number
        whole = int(decimal_result(lambda: _quantized(Decimal(number), digits, rounding)).to_decimal())
        if whole not in INT64:
            raise QueryError(f"{name} of {number} to the place {digits} does not fit into a long", code="Location51080")
        return Int64(whole) if type_alias(number) == "long" else whole

    rounded.__doc__ = says
    operator(name, ANY, ANY, optional=1, nulls=False)(rounded)


def _place(place: Value, name: str) -> int:
    _number(place, name, "Location16004", says="a whole number as its place")
    digits = integral(place)
    if digits is None or digits not in INT32:
        raise QueryError(f"the place of {name} is a whole number, not {preview(place)}", code="Location51082")
    if not -20 <= digits <= 100:
        raise QueryError(f"the place of {name} is from -20 to 100, not {digits}", code="Location51083")
    return digits


_rounding(
    "$round",
    ROUND_HALF_EVEN,
    "The number rounded to a decimal place, halves to the even digit; before the point where the place is negative.",
)
_rounding("$trunc", ROUND_DOWN, "The number cut at a decimal place; before the point where the place is negative.")


def _in_doubles(function: Callable[..., float], *arguments: float) -> float:
    """What C's function gives where Python's raises."""
    try:
        return function(*arguments)
    except ValueError:
        return math.nan
    except OverflowError:
        return math.inf


def _real(double: Callable[..., float], decimal: Callable[..., Decimal], *arguments: Value) -> Value:
    """A function of real numbers: a decimal where an argument is one, else a double."""
    if Decimal128 in map(type, arguments):
        return wide_result(lambda: decimal(*map(to_decimal, arguments)))
    return _in_doubles(double, *map(float, arguments))


@operator("$exp", NUMBER, code=_NOT_A_NUMBER)
def exp(number: Value) -> Value:
    """Euler's number raised to a power."""
    return _real(math.exp, Decimal.exp, number)


def _is_positive(number: Value) -> bool:
    return is_nan(number) or exact(number) > 0


def _logarithm(
    name: str, double: Callable[[float], float], decimal: Callable[[Decimal], Decimal], code: str, says: str
) -> None:
    def logarithm(number: Value) -> Value:
        if not _is_positive(number):
            raise QueryError(f"{name} needs a positive number, not {preview(number)}", code=code)
        return math.nan if is_nan(number) else _real(double, decimal, number)

    logarithm.__doc__ = says
    operator(name, NUMBER, code=_NOT_A_NUMBER)(logarithm)


_logarithm("$ln", math.log, numbers.ln, "Location28766", "The natural logarithm.")
_logarithm("$log10", math.log10, numbers.log10, "Location28761", "The logarithm to the base 10.")


@operator("$log", coded(NUMBER, "Location28756"), coded(NUMBER, "Location28757"))
def log(number: Value, base: Value) -> Value:
    """The logarithm of a number to a base."""
    if not _is_positive(number):
        raise QueryError(f"$log needs a positive number, not {preview(number)}", code="Location28758")
    if not _is_positive(base) or exact(base) == 1:
        raise QueryError(f"the base of $log is positive and not 1, not {preview(base)}", code="Location28759")
    if is_nan(number) or is_nan(base):
        return math.nan
    if Decimal128 not in (type(number), type(base)):
        return _in_doubles(lambda: math.log(number) / math.log(base))
    argument, to = to_decimal(number), to_decimal(base)
    if to in (2, 10):
        return wide_result(lambda: (numbers.log2 if to == 2 else numbers.log10)(argument))
    above, below = (wide_result(partial(numbers.ln, each)).to_decimal() for each in (argument, to))
    return decimal_result(lambda: above / below)


@operator("$pow", coded(NUMBER, "Location28762"), coded(NUMBER, "Location28763"))
def pow_(base: Value, exponent: Value) -> Value:
    """A number raised to a power; whole where both are and the result fits into a long."""
    if not truthy(base) and not is_nan(exponent) and exact(exponent) < 0:
        raise QueryError("$pow cannot raise 0 to a negative power", code="Location28764")
    kinds = {type(base), type(exponent)}
    if Decimal128 in kinds:
        one, other = to_decimal(base), to_decimal(exponent)
        return wide_result(lambda: one**other if other else Decimal(1), power=True)
    if float not in kinds and (abs(base) <= 1 or 0 <= exponent <= 63):
        try:
            return combined(base, exponent, lambda one, other: one ** abs(other))
        except Overflow64:
            pass
    return _power(float(base), float(exponent))


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except ValueError:
        return math.nan
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf


@operator("$sqrt", NUMBER, code=_NOT_A_NUMBER)
def sqrt(number: Value) -> Value:
    """The square root."""
    if not is_nan(number) and exact(number) < 0:
        raise QueryError(f"$sqrt needs a number that is not negative, not {preview(number)}", code="Location28714")
    if type(number) is Decimal128:
        return decimal_result(number.to_decimal().sqrt)
    return math.sqrt(number)


def _bitwise(name: str, combine: Callable[[int, int], int], identity: int, says: str) -> None:
    def bitwise(*operands: Value) -> Value:
        total: Value = identity
        for operand in operands:
            if is_nullish(operand):
                return None
            if type_alias(operand) not in ("int", "long"):
                raise QueryError(f"{name} takes ints and longs only, not {preview(operand)}", code="TypeMismatch")
            total = combined(total, operand, combine)
        return total

    bitwise.__doc__ = says
    operator(name, rest=ANY, nulls=False)(bitwise)


_bitwise("$bitAnd", python.and_, -1, "The bits that are set in all of the numbers.")
_bitwise("$bitOr", python.or_, 0, "The bits that are set in any of the numbers.")
_bitwise("$bitXor", python.xor, 0, "The bits that are set in an odd count of the numbers.")


@operator("$bitNot", NUMBER, code=_NOT_A_NUMBER)
def bit_not(number: Value) -> Value:
    """The bits that are not set in the number."""
    if type_alias(number) not in ("int", "long"):
        raise QueryError(f"$bitNot takes an int or a long only, not {preview(number)}", code="TypeMismatch")
    return type(number)(~number)


def _trigonometric(
    name: str,
    double: Callable[[float], float],
    decimal: Callable[[Decimal], Decimal],
    says: str,
    *,
    within: tuple[float, float] | None = None,
) -> None:
    """Declare a function of one number; an argument that is not within the bounds is refused."""

    def trigonometric(number: Value) -> Value:
        if is_nan(number):
            return number
        if within and not within[0] <= exact(number) <= within[1]:
            bounds = f"from {within[0]:g} to {within[1]:g}" if within != _FINITE else "that is finite"
            raise QueryError(f"{name} needs a number {bounds}, not {preview(number)}", code="Location50989")
        return _real(double, decimal, number)

    trigonometric.__doc__ = says
    operator(name, NUMBER, code=_NOT_A_NUMBER)(trigonometric)


# A decimal beyond the range of doubles is still finite: its own greatest is the bound.
_FINITE: Final[Any] = (
    Decimal("-9.999999999999999999999999999999999E+6144"),
    Decimal("9.999999999999999999999999999999999E+6144"),
)
_UNIT: Final = (-1.0, 1.0)


def _sinh(number: float) -> float:
    return math.copysign(_in_doubles(math.sinh, abs(number)), number)


def _atanh(number: float) -> float:
    return math.copysign(math.inf, number) if abs(number) == 1 else math.atanh(number)


_trigonometric("$sin", math.sin, numbers.sin, "The sine of an angle in radians.", within=_FINITE)
_trigonometric("$cos", math.cos, numbers.cos, "The cosine of an angle in radians.", within=_FINITE)
_trigonometric("$tan", math.tan, numbers.tan, "The tangent of an angle in radians.", within=_FINITE)
_trigonometric("$asin", math.asin, numbers.asin, "The angle in radians that has this sine.", within=_UNIT)
_trigonometric("$acos", math.acos, numbers.acos, "The angle in radians that has this cosine.", within=_UNIT)
_trigonometric("$atan", math.atan, numbers.atan, "The angle in radians that has this tangent.")
_trigonometric("$sinh", _sinh, numbers.sinh, "The hyperbolic sine.")
_trigonometric("$cosh", math.cosh, numbers.cosh, "The hyperbolic cosine.")
_trigonometric("$tanh", math.tanh, numbers.tanh, "The hyperbolic tangent.")
_trigonometric("$asinh", math.asinh, numbers.asinh, "The number that has this hyperbolic sine.")
_trigonometric(
    "$acosh", math.acosh, numbers.acosh, "The number that has this hyperbolic cosine.", within=(1.0, math.inf)
)
_trigonometric("$atanh", _atanh, numbers.atanh, "The number that has this hyperbolic tangent.", within=_UNIT)


@operator("$atan2", ANY, ANY, nulls=False)
def atan2(y: Value, x: Value) -> Value:
    """The angle in radians of the point that has these coordinates, y before x."""
    for coordinate, code in ((y, "Location51044"), (x, "Location51045")):
        if is_nullish(coordinate):
            return None
        _number(coordinate, "$atan2", code)
    return _real(math.atan2, numbers.atan2, y, x)


def _turned(name: str, double: float, decimal: Callable[[], Decimal], says: str) -> None:
    factor = decimal_result(decimal).to_decimal()

    def turned(number: Value) -> Value:
        if type(number) is Decimal128:
            return decimal_result(lambda: number.to_decimal() * factor)
        return float(number) * double

    turned.__doc__ = says
    operator(name, NUMBER, code=_NOT_A_NUMBER)(turned)


_turned("$degreesToRadians", math.pi / 180, lambda: +numbers.pi() / 180, "An angle of degrees in radians.")
_turned("$radiansToDegrees", 180 / math.pi, lambda: 180 / +numbers.pi(), "An angle of radians in degrees.")
