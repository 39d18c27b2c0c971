# SPDX-License-Identifier: BSD-3-Clause
import math
import random

import pytest
from benchmarks.bars import Bar

from fastclip._bench.intervals import MIN_SAMPLES, Interval, median_interval, spread


@pytest.mark.parametrize(
    ("n", "k"),
    [(6, 1), (10, 2), (20, 6), (30, 10), (50, 18), (100, 40)],  # as in tables of the sign test at 95 %
)
def test_the_interval_is_that_of_the_sign_test(n, k):
    samples = list(range(1, n + 1))
    random.Random(n).shuffle(samples)
    assert median_interval(samples) == ((n + 1) / 2, k, n + 1 - k)


@pytest.mark.parametrize("n", range(MIN_SAMPLES, 200))
def test_the_interval_covers_95_percent_and_no_narrower_one_does(n):
    k = int(median_interval(range(1, n + 1)).low)

    def coverage(k):
        return 1 - 2 * sum(math.comb(n, i) for i in range(k)) / 2**n

    assert coverage(k) >= 0.95 > coverage(k + 1)


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="5 samples"):
        median_interval([1.0] * 5)


def test_inverse_ratios_have_the_inverse_interval():
    samples = [random.Random(1).uniform(0.5, 2) for _ in range(31)]
    straight, inverse = median_interval(samples), median_interval([1 / x for x in samples])
    assert inverse == pytest.approx((1 / straight.median, 1 / straight.high, 1 / straight.low))


def test_the_median_is_covered_as_often_as_promised():
    rng = random.Random(2)
    trials = [median_interval([rng.expovariate(1) for _ in range(30)]) for _ in range(2000)]
    covered = sum(low <= math.log(2) <= high for _, low, high in trials) / len(trials)
    assert 0.94 < covered < 0.98  # 0.957 expected, with a standard deviation of 0.0045


def test_spread_is_the_middle_80_percent_over_the_median():
    assert spread(range(0, 101)) == pytest.approx(80 / 50)
    assert spread([2.0] * 30) == 0


def test_a_bar_is_judged_by_the_worse_end():
    bar = Bar("limit", 1.05)
    assert bar.passed(Interval(1.0, 0.9, 1.05))
    assert not bar.passed(Interval(1.0, 0.9, 1.06))
