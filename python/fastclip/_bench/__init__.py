# SPDX-License-Identifier: BSD-3-Clause
"""`fastclip bench`: the same work by fastclip, by its peers and by plain loops over the same memory, in turn."""

import importlib.util

ROUNDS = 30  # with fewer the interval of a median is wide: of 30 it goes from the 10th to the 21st
SECONDS = 10.0  # for each row, which suffices for 30 rounds of all but the largest; half an hour for everything
SWEEPS = ("size", "threads", "cache")


def missing() -> str | None:
    """Return what keeps the benchmark from running here, and the remedy."""
    absent = [name for name in ("rich", "matplotlib") if importlib.util.find_spec(name) is None]
    if absent:
        return f"needs {' and '.join(absent)}: pip install 'fastclip[bench]'"
    return None
