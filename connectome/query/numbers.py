"""
Arithmetic on BSON's numbers: what type a result has, what happens where it does not fit, and what decimals lack.

Decimals are computed as decimal128 asks, with 34 digits.  What Python's ``decimal`` does not have, trigonometry, is
here; it is computed with more digits than are kept.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Any, Final

from bson import Decimal128, Int64
from bson.decimal128 import create_decimal128_context

from connectome.query.values import INT32, INT64, Value

Combine = Callable[[Any, Any], Any]


class Overflow64(ArithmeticError):
    """A whole result does not fit into 64 bits."""


def combined(one: Value, other: Value, combine: Combine) -> Value:
    """
    Two numbers made one, of the wider type: decimal, else double, else long, else int, or long where that overflows.

    Raises:
        Overflow64: Both are whole, and the result is beyond 64 bits.
    """
    return accumulated(typed(one), typed(other), combine)


def accumulated(total: Value, number: Value, combine: Combine) -> Value:
    """
    As ``combined``, on the way to a result: an int that has left 32 bits may come back, and is an int then.

    Args:
        total, number: As ``typed`` gives them.
    """
    if Decimal128 in (type(total), type(number)):
        return decimal_result(lambda: combine(to_decimal(total), to_decimal(number)))
    if float in (type(total), type(number)):
        return combine(float(total), float(number))
    whole = combine(int(total), int(number))
    if whole not in INT64:
        raise Overflow64
    return Int64(whole) if Int64 in (type(total), type(number)) else whole


def typed(number: Value) -> Value:
    """A number whose Python type alone says what it is to BSON: an int beyond 32 bits is an Int64."""
    return Int64(number) if type(number) is int and number not in INT32 else number


def to_double(number: Value) -> float:
    """A number as a double; a decimal beyond its range becomes an infinity."""
    return float(number.to_decimal() if type(number) is Decimal128 else number)


def to_decimal(number: Value) -> Decimal:
    """A number as Python's decimal."""
    if type(number) is Decimal128:
        return number.to_decimal()
    # MongoDB takes a double into decimal arithmetic with the 15 digits that it surely has.
    return Decimal(format(number, ".14e")) if type(number) is float and number else Decimal(number)


def decimal_result(compute: Callable[[], Decimal]) -> Decimal128:
    """What a computation gives under the rules of decimal128: 34 digits, no exception, NaN where there is no answer."""
    with localcontext(create_decimal128_context()):
        return Decimal128(compute())


# Adding it changes no value, and gives it all of its 34 digits.
PADDING: Final = Decimal("0E-6176")
_WIDE: Final = 110


def wide_result(compute: Callable[[], Decimal], *, power: bool = False) -> Decimal128:
    """
    What a function that is hardly ever exact gives, computed with more digits than are kept.

    Args:
        power: Of a power, the zeros of a whole result are kept, and nothing is seen of binary numbers.
    """
    with localcontext(Context(prec=_WIDE, Emax=100_000, Emin=-100_000, traps=[])):
        computed = compute()
        result = computed if power else quadruple(computed)

    def settled() -> Decimal:
        kept = result + PADDING
        whole = kept.is_finite() and kept.adjusted() < 34 and kept == kept.to_integral_value()
        return kept.quantize(Decimal(1)) if whole and not power else kept

    return decimal_result(settled)


def quadruple(number: Decimal) -> Decimal:
    """
    The nearest binary number of 113 bits.

    The decimal library of MongoDB computes in them, and its last digit shows it: the server's own tests have
    0.3979400086720376095725222105510140 for log10(2.5), which ends in 139 where it is rounded but once.
    """
    if not number or not number.is_finite():
        return number
    exact = Fraction(number)
    exponent = abs(exact.numerator).bit_length() - exact.denominator.bit_length() - 113
    if abs(exact) >= Fraction(2) ** (exponent + 113):
        exponent += 1
    return Decimal(round(exact / Fraction(2) ** exponent)) * Decimal(2) ** exponent


@functools.cache
def _pi(digits: int) -> Decimal:
    """Pi by Machin's formula, in whole numbers."""
    unit = int(10 ** (digits + 10))

    def arctangent_of_one_by(number: int) -> int:
        power = total = unit // number
        divisor, sign = 1, 1
        while power:
            power //= number * number
            divisor, sign = divisor + 2, -sign
            total += sign * (power // divisor)
        return total

    pi = 4 * (4 * arctangent_of_one_by(5) - arctangent_of_one_by(239))
    with localcontext(prec=digits + 10):
        return Decimal(pi).scaleb(-digits - 10)


def pi() -> Decimal:
    """Pi, with some more digits than a decimal has."""
    return _pi(_WIDE)


def _circular(angle: Decimal, quarters: int) -> Decimal:
    """The sine of an angle and so many quarters of a turn."""
    # As many digits are needed as the turns take away; two sizes of pi are enough to keep.
    digits = _WIDE if angle.adjusted() < 0 else 2 * _WIDE if angle.adjusted() < _WIDE else 6500
    with localcontext(prec=digits):
        quarter = _pi(digits) / 2
        turned = (angle / quarter).to_integral_value()
        rest = angle - turned * quarter
        quarters += int(turned % 4)
    total = term = Decimal(1) if quarters % 2 else +rest
    n = 0 if quarters % 2 else 1
    before = None
    while total != before:
        before = total
        term = -term * rest * rest / ((n + 1) * (n + 2))
        total += term
        n += 2
    return -total if quarters % 4 >= 2 else total


def ln(number: Decimal) -> Decimal:
    """The natural logarithm; this and all below run inside ``wide_result``."""
    return quadruple(number).ln()


def log10(number: Decimal) -> Decimal:
    """The logarithm to the base 10."""
    return quadruple(number).log10()


def log2(number: Decimal) -> Decimal:
    """The logarithm to the base 2."""
    return quadruple(number).ln() / Decimal(2).ln()


def sin(angle: Decimal) -> Decimal:
    """The sine."""
    return _circular(angle, 0)


def cos(angle: Decimal) -> Decimal:
    """The cosine."""
    return _circular(angle, 1)


def tan(angle: Decimal) -> Decimal:
    """The tangent."""
    return sin(angle) / cos(angle)


def atan(number: Decimal) -> Decimal:
    """The angle with this tangent."""
    if number.is_infinite():
        return (pi() / 2).copy_sign(number)
    for _ in range(4):
        number = number / (1 + (1 + number * number).sqrt())
    total, power, n = number, number, 1
    before = None
    while total != before:
        before = total
        power = -power * number * number
        n += 2
        total += power / n
    return 16 * total


def atan2(y: Decimal, x: Decimal) -> Decimal:
    """The angle of the point (x, y), from -pi to pi."""
    if y.is_nan() or x.is_nan():
        return y + x
    if y.is_infinite() and x.is_infinite():
        angle = pi() / 4
    elif y and (not x or y.is_infinite()):
        angle = pi() / 2
    else:
        angle = atan(abs(y) / abs(x)) if y else Decimal(0)
    return (pi() - angle if x.is_signed() else angle).copy_sign(y)


def asin(number: Decimal) -> Decimal:
    """The angle with this sine."""
    return atan2(number, (1 - number * number).sqrt())


def acos(number: Decimal) -> Decimal:
    """The angle with this cosine."""
    return atan2((1 - number * number).sqrt(), number)


def _odd(function: Callable[[Decimal], Decimal]) -> Callable[[Decimal], Decimal]:
    """A function that is computed where it is positive, and is its argument where that is tiny."""

    def of(number: Decimal) -> Decimal:
        size = abs(number)
        return number if size < Decimal("1E-18") else function(size).copy_sign(number)

    return of


sinh: Final = _odd(lambda number: (number.exp() - (-number).exp()) / 2)
tanh: Final = _odd(lambda number: (1 - (-2 * number).exp()) / (1 + (-2 * number).exp()))
asinh: Final = _odd(lambda number: (number + (number * number + 1).sqrt()).ln())
atanh: Final = _odd(lambda number: ((1 + number) / (1 - number)).ln() / 2)


def cosh(number: Decimal) -> Decimal:
    """The hyperbolic cosine."""
    return (number.exp() + (-number).exp()) / 2


def acosh(number: Decimal) -> Decimal:
    """The number that is not negative with this hyperbolic cosine."""
    return (number + (number * number - 1).sqrt()).ln()
