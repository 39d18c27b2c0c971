# SPDX-License-Identifier: BSD-3-Clause
"""The functions that a bad array meets, and what each must do: raise, and leave all the others alone."""

import numpy as np
import pytest

import fastclip

CALLS = {
    "clip_by_global_norm_": lambda t: fastclip.clip_by_global_norm_(t, 1.0),
    "clip_by_norm_": lambda t: fastclip.clip_by_norm_(t, 1.0),
    "clip_by_average_norm_": lambda t: fastclip.clip_by_average_norm_(t, 0.01),
    "clip_by_value_": lambda t: fastclip.clip_by_value_(t, 0.0, 1.0),
}
READING = {
    "global_norm": fastclip.global_norm,
    "measure": fastclip.measure,
    "clip_by_global_norm": lambda t: fastclip.clip_by_global_norm(t, 1.0),
    "clip_by_norm": lambda t: [fastclip.clip_by_norm(x, 1.0) for x in t],
    "clip_by_value": lambda t: [fastclip.clip_by_value(x, 0.0, 1.0) for x in t],
}
N = 10


def refused(calls, make, error=(TypeError, ValueError), match=r"^[a-z_]+: t"):
    """Check that each call refuses it at every place of a list, with the arrays before and after it unchanged."""
    for call in calls.values():
        block = np.full((N, 4), 5.0)
        for i in range(N):
            with pytest.raises(error, match=match):
                call([*block[:i], make(), *block[i + 1 :]])
            assert (block == 5.0).all()
