# SPDX-License-Identifier: BSD-3-Clause
"""The exact norm, and how far off a peer is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer, able

# A relative error of the norm beyond this is called wrong: over a hundred roundings of an f32. Who answers in the
# arrays' own dtype, as torch does, gets two roundings of a narrower one.
WRONG = {"f32": 1e-5, "f16": 2**-10, "bf16": 2**-7}


def exact_norm(arrays: Sequence[FloatArray]) -> float:
    """Return the norm with a relative error below 1e-14 (1e-17 where long double has 64 bits).

    The squares of f32 and narrower are exact in f64, and NumPy adds them pairwise.
    """
    total = np.longdouble(0)
    for array in arrays:
        flat = array.reshape(-1)
        for start in range(0, flat.size, 1 << 20):
            piece = flat[start : start + (1 << 20)].astype(np.float64)
            total += np.add.reduce(piece * piece, dtype=np.longdouble)
    return float(np.sqrt(total))


def norm_error(peer: Peer, exact: float) -> float:
    """Return the relative error of the norm that a peer reports; the arrays stay as they are."""
    return abs(float(able(peer.clip_norm)(10 * exact)) - exact) / exact
