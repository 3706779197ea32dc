"""Numbers within bounds, counted in exact steps so that no rounding carries one over its bound."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from tokenwire.simulator.schema.check import UnsatisfiableError, matches, number_bounds

if TYPE_CHECKING:
    import random

_ATTEMPTS = 24
_SPAN = 99  # how far an open side reaches: 1 to 100 if nothing is said


def number_for(core: dict[str, Any], integer: bool, rng: random.Random) -> float:
    """A number that satisfies *core*; an ``int`` where it is whole.

    Raises:
        UnsatisfiableError: there is none, or none that a float can express.
    """
    low, above, high, below = ([] if bound is None else [Fraction(str(bound))] for bound in number_bounds(core))
    step = _step(core, integer, low + above, high + below)
    # Bounds as whole numbers of steps; each list has one element or none.
    first = max([math.ceil(b / step) for b in low] + [math.floor(b / step) + 1 for b in above], default=None)
    last = min([math.floor(b / step) for b in high] + [math.ceil(b / step) - 1 for b in below], default=None)
    span = max(1, math.floor(_SPAN / step))
    if first is None and last is None:
        first = math.ceil(1 / step)
    if first is None:
        assert last is not None
        first = max(last - span, 0) if last >= 0 else last - span
    if last is None:
        last = first + span
    fitting = []
    for _ in range(_ATTEMPTS if first <= last else 0):
        exact = rng.randint(first, last) * step
        number = exact.numerator if exact.denominator == 1 else float(exact)
        if matches(number, core, True):
            if undisputed(number, core.get("multipleOf", 1)):
                return number
            fitting.append(number)
    if not fitting:
        raise UnsatisfiableError("no number lies within these bounds")
    return fitting[0]


def undisputed(number: float, step: float) -> bool:
    """Whether validators that divide as floats agree about *step*: 0.3 / 0.1 is 2.9999999999999996."""
    return isinstance(step, int) or (number / step).is_integer()


def _step(core: dict[str, Any], integer: bool, lows: list[Fraction], highs: list[Fraction]) -> Fraction:
    """The grid on which the number is looked for."""
    if "multipleOf" in core:
        step = Fraction(str(core["multipleOf"]))
        return Fraction(step.numerator) if integer else step  # the whole multiples of p/q are those of p
    if integer:
        return Fraction(1)
    cents = Fraction(1, 100)
    if lows and highs and 0 < min(highs) - max(lows) < 4 * cents:
        return (min(highs) - max(lows)) / 4  # a narrow gap: three points inside it
    return cents
