# SPDX-License-Identifier: BSD-3-Clause
"""Exact references, and how far from them a result may be.

Sums are exact: integers times a power of two. The square root is taken to 200 bits. What is compared with them is
one f64 number, and every bound below says where it comes from. In all of them u = 2^-53.
"""

import math
from fractions import Fraction

import numpy as np

U32, U64 = Fraction(1, 2**24), Fraction(1, 2**53)
UNIT = {np.dtype(np.float32): U32, np.dtype(np.float64): U64}
CHUNK, LANES_F32, LANES_F64 = 32768, 32, 8

_BLOCK = 1 << 20  # elements at a time: sums of so many 32-bit pieces are exact in f64


# ---- exact sums


def _pieces(block, power):
    """Yield integer pieces below 2^32 and the power of two that each stands for, over 2^53 (squares: 2^106)."""
    mantissa = np.abs(np.ldexp(np.frexp(block)[0], 53)).astype(np.int64)
    if power == 1:
        yield mantissa & 0x7FFFFFF, 0
        yield mantissa >> 27, 27
        return
    low, high = mantissa & 0x7FFFFFF, mantissa >> 27  # 27 and 26 bits
    for product, shift in ((low * low, 0), (low * high, 28), (high * high, 54)):  # 28: the middle term counts twice
        yield product & 0x7FFFFFF, shift
        yield product >> 27, shift + 27


def _exact_sum(arrays, power):
    total = Fraction(0)
    for a in arrays:
        flat = np.asarray(a).reshape(-1)
        for start in range(0, flat.size, _BLOCK):
            block = flat[start : start + _BLOCK].astype(np.float64)
            exponent = np.frexp(block)[1].astype(np.int64)
            least = int(exponent.min())
            sums = [0] * int(exponent.max() - least + 1)
            for piece, shift in _pieces(block, power):
                for i, s in enumerate(np.bincount(exponent - least, weights=piece.astype(np.float64))):
                    sums[i] += int(s) << shift
            whole = sum(s << (power * i) for i, s in enumerate(sums))
            total += Fraction(whole) * Fraction(2) ** (power * (least - 53))
    return total


def sum_of_squares(arrays):
    """The sum of the squares of all elements (finite ones), exactly."""
    return _exact_sum(arrays, 2)


def sum_of_magnitudes(arrays):
    """The sum of the magnitudes of all elements (finite ones), exactly."""
    return _exact_sum(arrays, 1)


# ---- square roots and roundings


def root(square):
    """The square root of a Fraction, below it by less than 2^-200 of it."""
    if square == 0:
        return Fraction(0)
    bits = square.numerator.bit_length() - square.denominator.bit_length()
    shift = 2 * max(0, 201 - bits // 2)
    return Fraction(math.isqrt((square.numerator << shift) // square.denominator), 1 << (shift // 2))


def to_float(x):
    """The f64 number nearest to a Fraction: infinity from half an ULP beyond the largest one."""
    try:
        return float(x)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


def norm(arrays):
    """The L2 norm of a list of arrays, correctly rounded to f64; NaN or infinity where elements are."""
    if any(np.isnan(a).any() for a in arrays):
        return math.nan
    if any(np.isinf(a).any() for a in arrays):
        return math.inf
    return to_float(root(sum_of_squares(arrays)))


def ulp(x):
    """The distance of f64 numbers around a positive Fraction (2^-1074 where they are subnormal)."""
    exponent = x.numerator.bit_length() - x.denominator.bit_length()
    if Fraction(2) ** exponent > x:
        exponent -= 1
    return Fraction(2) ** max(exponent - 52, -1074)


def ulps(value, exact):
    """How far a finite f64 number is from a positive Fraction, in ULPs of f64 there."""
    return float(abs(Fraction(value) - exact) / ulp(exact))


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

    A list is summed by TwoSum from m chunk sums. f32: `sum_bound_f32` of a chunk, 1029 u, and nothing of note after
    it. f64: `sum_bound_f64` of a chunk, with k = 4096; (m + 1) additions to lo, which is at most (m + k + 5) u S; and
    2^-113 for errors left out of a sum that is at least 2^-900. A root halves them; the Newton step that takes it
    leaves 2^-104: u^2 / 2 for its order, 3 u^2 for its three operations.
    """
    m = sum(-(-a.size // CHUNK) for a in arrays)
    k = CHUNK // LANES_F64
    error = sum_bound_f64(CHUNK) + (m + 1) * (m + k + 5) * U64**2 + Fraction(1, 2**113)
    if any(a.dtype == np.float32 for a in arrays):
        error += sum_bound_f32(CHUNK)
    return error / 2 + Fraction(1, 2**104)


def norm_ulps(arrays):
    """How many ULPs of f64 a norm may be off: half for its last rounding, and `norm_bound`.

    f64 lists: 0.5 + 2^-30. Lists with f32 in them: 515, which is 2^-20 ULP of f32.
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
    return all(bool(((a == 0) | (np.abs(a) >= np.finfo(a.dtype).tiny)).all()) for a in arrays)


def within(arrays, limit):
    """Tell whether the exact norm is at most limit * (1 + 2u), without any rounding."""
    return sum_of_squares(arrays) <= (Fraction(limit) * (1 + 2 * coarsest(arrays))) ** 2


def must_clip(arrays, limit, square=None):
    """Tell whether a norm is above limit * (1 + 2u); None where it is nearer to that than norms are known."""
    if limit == math.inf:
        return False
    square = sum_of_squares(arrays) if square is None else square
    bound, error = Fraction(limit) * (1 + 2 * coarsest(arrays)), 2 * norm_bound(arrays)
    if square > (bound * (1 + error)) ** 2:
        return True
    return False if square < (bound * (1 - error)) ** 2 else None


def product(x, c):
    """The contract's clause 3 for a coefficient c, a Fraction: a list of what |x| * c may be, from low to high.

    One for f32: RN(RN(x) * c) in f32, or in f64 below 2^-100. f64: mantissas are multiplied, then exponents added,
    so that c has 53 bits whatever its size; a subnormal product is then rounded twice, and may be one off.
    """
    magnitude = np.abs(x)
    rounded = to_float(c)
    if x.dtype == np.float32:
        if rounded < 2.0**-100:
            with np.errstate(under="ignore"):
                return [(magnitude.astype(np.float64) * rounded).astype(np.float32)]
        with np.errstate(under="ignore"):
            return [magnitude * np.float32(rounded)]
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
