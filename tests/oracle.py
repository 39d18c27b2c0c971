# SPDX-License-Identifier: BSD-3-Clause
"""Exact references, and how far from them a result may be.

Sums and roots are those of exact.py. What is compared with them is one f64 number, and every bound below says where
it comes from. In all of them u = 2^-53.
"""

import math
from fractions import Fraction

import numpy as np
from dtypes import F32, F64, HALVES, NARROW, PRODUCT_UNIT, UNIT, finfo, patterns
from exact import root, sum_of_squares, to_float, ulps

U32, U64 = UNIT[F32], UNIT[F64]
CHUNK, LANES_F32, LANES_F64 = 32768, 32, 8


def norm(arrays):
    """The L2 norm of a list of arrays, correctly rounded to f64; NaN or infinity where elements are."""
    if any(np.isnan(a).any() for a in arrays):
        return math.nan
    if any(np.isinf(a).any() for a in arrays):
        return math.inf
    return to_float(root(sum_of_squares(arrays)))


# ---- how far off a result may be


def rounding_errors(additions):
    """The relative error of so many additions, one after the other, of numbers of one sign (Higham 2002, 3.1)."""
    return additions * U64 / (1 - additions * U64)


def sum_bound_f32(n):
    """The relative error of an f32 kernel over n elements.

    Squares (48 bits) and magnitudes are exact in f64. A lane makes ceil(n / 32) additions (a stream and the rest after
    it may both be incomplete rows, one more), then 5 folds follow.
    """
    return rounding_errors(-(-n // LANES_F32) + 6)


def sum_bound_halves(n):
    """The relative error of an f16 or bf16 kernel's sum of squares over n elements.

    From 128 elements on (a cache line for each stream) four squares are added as f32. They are exact there, of 16 or
    22 bits; the rounding of a pair and that of two pairs' sum err by 2^-24 of it at most. bf16's squares below 2^-126
    err by 2^-150 each; a sum below n * 2^-100 is not made of fours, so that is 2^-50 of it. Then as f32: the additions
    err by less, since there are a quarter as many.
    """
    fours = (1 + U32) ** 2 - 1 + Fraction(1, 2**50) if n >= 128 else 0
    return (1 + fours) * (1 + sum_bound_f32(n)) - 1


def sum_bound_f64(n):
    """The relative error of an f64 kernel's hi + lo over n elements, squares below 2^-960 left aside.

    Of k = ceil(n / 8) additions a lane each leaves an error of at most u times the sum S (exact, by TwoSum), each
    square one of u times itself (exact, too). lo gathers them, at most (k + 1) u S in all, in k additions which err
    by u of lo each, one more for adding the two errors: (k + 2)^2 u^2 S. Three folds, two additions to lo in each,
    add 6 (k + 4) u^2 S. The sum of both is below (k + 7)^2 u^2 S, second-order terms included.
    """
    k = -(-n // LANES_F64)
    return (k + 7) ** 2 * U64**2


def dropped_f64(n):
    """The absolute error of n squares whose own error is dropped: below 2^-960 each, with an error of u times that."""
    return n * Fraction(2) ** (-960 - 53)


def norm_bound(arrays):
    """The relative error of the norm before its last rounding.

    A list is summed by TwoSum from m chunk sums. f32: `sum_bound_f32` of a chunk, 1030 u, and nothing of note after
    it. f16 and bf16: `sum_bound_halves`, 2^-24 and a little. f64: `sum_bound_f64` of a chunk, with k = 4096; (m + 1)
    additions to lo, which is at most (m + k + 5) u S; and 2^-113 for errors left out of a sum that is at least
    2^-900. A root halves them: 1 - sqrt(1 - e) = e / (1 + sqrt(1 - e)) <= e / (2 - e). The Newton step that takes it
    leaves 2^-104: u^2 / 2 for its order, 3 u^2 for its three operations.
    """
    m = sum(-(-a.size // CHUNK) for a in arrays)
    k = CHUNK // LANES_F64
    error = sum_bound_f64(CHUNK) + (m + 1) * (m + k + 5) * U64**2 + Fraction(1, 2**113)
    if any(a.dtype == F32 for a in arrays):
        error += sum_bound_f32(CHUNK)
    largest = min(CHUNK, max((a.size for a in arrays if a.dtype in HALVES), default=0))
    if largest:
        error += sum_bound_halves(largest)
    return error / (2 - error) + Fraction(1, 2**104)


def norm_ulps(arrays):
    """How many ULPs of f64 a norm may be off: half for its last rounding, and `norm_bound`.

    f64 lists: 0.5 + 2^-30. Lists with f32 in them: 516, which is 2^-19 ULP of f32. Lists with longer f16 or bf16
    arrays in them: 2^28 and a little, half an ULP of f32.
    """
    return 0.5 + float(norm_bound(arrays) / U64)


def check_norm(value, arrays, square=None):
    """Assert that a norm is right: within `norm_ulps` of the exact one, infinite or NaN where that one is.

    `square` is the exact sum of squares, if known. A norm below 2^-1021 is rounded to 53 bits before it becomes
    subnormal: one rounding more.
    """
    if any(np.isnan(a).any() for a in arrays):
        assert math.isnan(value), value
        return
    if any(np.isinf(a).any() for a in arrays):
        assert value == math.inf, value
        return
    exact = root(sum_of_squares(arrays) if square is None else square)
    expected = to_float(exact)
    if expected in (0.0, math.inf):
        assert value == expected
        return
    allowed = norm_ulps(arrays) + (0.5 if expected < 2.0**-1021 else 0.0)
    off = ulps(value, exact)
    assert off <= allowed, f"norm {value!r}, expected {expected!r}: {off} ULP off"


# ---- what clipping must leave


def coarsest(arrays):
    """The unit roundoff of the coarsest dtype in a list."""
    return max((UNIT[a.dtype] for a in arrays), default=Fraction(0))


def all_normal(arrays):
    """Tell whether every element is 0 or a normal number: the condition of what is promised about clipped norms."""
    return all(bool(((a == 0) | (np.abs(a) >= finfo(a.dtype).tiny)).all()) for a in arrays)


def slack(arrays):
    """How far above the limit a norm is within it: two roundings of the coarsest product in the list."""
    return 2 * max((PRODUCT_UNIT[a.dtype] for a in arrays), default=Fraction(0))


def within(arrays, limit):
    """Tell whether the exact norm is at most limit * (1 + 2u), without any rounding."""
    return sum_of_squares(arrays) <= (Fraction(limit) * (1 + 2 * coarsest(arrays))) ** 2


def must_clip(arrays, limit, square=None):
    """Tell whether a norm is above limit * (1 + slack); None where it is nearer to that than norms are known."""
    if limit == math.inf:
        return False
    square = sum_of_squares(arrays) if square is None else square
    bound, error = Fraction(limit) * (1 + slack(arrays)), 2 * norm_bound(arrays)
    if square > (bound * (1 + error)) ** 2:
        return True
    return False if square < (bound * (1 - error)) ** 2 else None


def product(x, c):
    """The contract's clause 3 for a coefficient c, a Fraction: a list of what |x| * c may be, from low to high.

    One for f32: RN(x * RN(c)) in f32, or x * c in f64 below 2^-100 and then rounded; f16 and bf16 are rounded from
    that. f64: mantissas are multiplied, then exponents added,
    so that c has 53 bits whatever its size; a subnormal product is then rounded twice, and may be one off.
    """
    magnitude = np.abs(x)
    rounded = to_float(c)
    if x.dtype in NARROW:
        with np.errstate(under="ignore"):
            if rounded < 2.0**-100:
                return [(magnitude.astype(F64) * rounded).astype(F32).astype(x.dtype)]
            return [(magnitude.astype(F32) * np.float32(rounded)).astype(x.dtype)]
    exponent = c.numerator.bit_length() - c.denominator.bit_length()
    mantissa, exponents = np.frexp(magnitude)
    with np.errstate(under="ignore"):
        y = np.ldexp(mantissa * float(c / Fraction(2) ** exponent), exponents + exponent)
    least = np.where((y < np.finfo(np.float64).tiny) & (magnitude > 0), np.finfo(np.float64).smallest_subnormal, 0.0)
    return [np.maximum(y - least, 0.0), y + least]


def check_clipped(before, after, limit, square=None):
    """Assert all that is promised of clipping finite arrays to a limit of their common norm (clauses 3 and 4).

    Within the limit not one bit changes. Otherwise each element lies between its products with the least and the
    largest coefficient that `norm_bound` and one rounding of a quotient (2^-104 before it) allow, its sign kept; and
    where all of them are 0 or normal, the norm is at most limit * (1 + 2u), without any tolerance.
    """
    if square is None and limit < math.inf:
        square = sum_of_squares(before)
    clip = must_clip(before, limit, square)
    if clip is False or (clip is None and same_bits(before, after)):
        assert same_bits(before, after), "within the limit, and yet written to"
        return
    exact, error = Fraction(limit) / root(square), norm_bound(before) + Fraction(1, 2**104)
    for x, y in zip(before, after, strict=True):
        low, high = product(x, exact * (1 - error))[0], product(x, exact * (1 + error))[-1]
        assert ((low <= np.abs(y)) & (np.abs(y) <= high)).all(), (x, y, limit)
        assert (np.signbit(x) == np.signbit(y)).all(), (x, y, limit)
    if all_normal(after):
        assert within(after, limit), f"clipped to {limit!r}, but the norm is {norm(after)!r}"


def check_clipped_again(once, twice):
    """Assert what a second clip may do to lists whose elements are 0 or normal numbers: clause 4.

    f32 and f64: not one bit. A norm after rounding to f16 or bf16 is at most limit * (1 + u) and three small errors,
    so c >= 1 - u(1 + 2^-10): an element in [2^e, 2^(e+1)) loses less than 2^e * 2u(1 + 2^-10), its ULP and less than
    half of the next one. It is rounded to itself or its neighbour. Elements of finer dtypes beside it take the same c.
    """
    u = coarsest(once)
    for x, y in zip(once, twice, strict=True):
        if x.dtype in HALVES and UNIT[x.dtype] == u:
            steps = patterns(x).astype(np.int64) - patterns(y).astype(np.int64)
            assert ((steps >= 0) & (steps <= 1)).all(), (x, y)
        elif any(a.dtype in HALVES for a in once):
            x, y = x.astype(F64), y.astype(F64)
            assert (np.abs(x - y) <= 2 * float(u) * np.abs(x)).all(), (x, y)
        else:
            assert same_bits(x, y), (x, y)


# ---- bits


def bits(a):
    """The bytes of an array, every NaN made the same: payloads are nobody's promise."""
    a = np.array(a, copy=True, order="C")
    a[np.isnan(a)] = np.nan
    return a.tobytes()


def same_bits(a, b):
    """Tell whether two arrays, or two lists of them, are the same to the bit, NaN payloads aside."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and bits(a) == bits(b)
    return len(a) == len(b) and all(same_bits(x, y) for x, y in zip(a, b, strict=True))
