# SPDX-License-Identifier: BSD-3-Clause
"""The exact norm, and how far off a peer is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer, able

# A relative error of the norm beyond this is called wrong: over a hundred roundings of an f32. Who answers in the
# arrays' own dtype, as torch does, gets two roundings of a narrower one.
WRONG = {"f64": 1e-13, "f32": 1e-5, "f16": 2**-10, "bf16": 2**-7}
# The same for what clipping leaves; torch adds 1e-6 to the norm that it divides by, whatever the dtype.
SCALED = {**WRONG, "f64": 1e-5}
UNSEEN = 2.0**-24  # a rounding of an f32: of errors that are found in what clipping leaves, not in a norm reported

Make = Callable[[Sequence[FloatArray]], Peer]


def exact_norm(arrays: Sequence[FloatArray]) -> float:
    """Return the norm with a relative error below 1e-14 (1e-17 where long double has 64 bits).

    The squares of f32 and narrower are exact in f64, and NumPy adds them pairwise. f64 is brought to 1 first, lest its
    squares leave the range.
    """
    most = max(
        (float(np.abs(array).max()) for array in arrays if array.dtype == np.float64 and array.size), default=1.0
    )
    scale = 2.0 ** -math.frexp(most)[1] if most and math.isfinite(most) else 1.0
    total = np.longdouble(0)
    for array in arrays:
        flat = array.reshape(-1)
        for start in range(0, flat.size, 1 << 20):
            piece = flat[start : start + (1 << 20)].astype(np.float64) * scale
            total += np.add.reduce(piece * piece, dtype=np.longdouble)
    return float(np.sqrt(total)) / scale


def norm_error(make: Make, arrays: Sequence[FloatArray], exact: float) -> float:
    """Return the relative error of the norm that a peer reports, infinity if it fails; the arrays stay as they are.

    Who keeps the norm to itself is judged by the norm that it leaves when it clips a copy. What the products' own
    rounding hides is not told apart: the error is UNSEEN at least.
    """
    try:
        peer = make(arrays)
        if peer.returns_norm:
            found = peer.norm(able(peer.clip_norm)(10 * exact)) / exact
        else:
            copies = [array.copy() for array in arrays]
            peer = make(copies)
            answer = able(peer.clip_norm)(exact / 2)
            clipped = peer.now(copies) if peer.in_place else [peer.to_numpy(array) for array in answer]
            left = exact_norm(clipped) / (exact / 2)
            found = 1 + max(abs(left - 1), UNSEEN)
    except Exception:  # whatever a library raises: what it is gets told by the check of its answers
        return math.inf
    return abs(found - 1) if math.isfinite(found) else math.inf
