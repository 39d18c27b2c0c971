# SPDX-License-Identifier: BSD-3-Clause
"""fastclip's public functions."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer, Update


def _clip_new(arrays: list[FloatArray], limit: float) -> tuple[float, list[FloatArray]]:
    import fastclip

    clipped, norm = fastclip.clip_by_global_norm(arrays, limit)
    return norm, clipped


def _per_example(arrays: list[FloatArray], limit: float) -> list[FloatArray]:
    """Clip and add up by the norms of one `measure` over all examples of all arrays."""
    import fastclip

    norms = fastclip.measure([example for array in arrays for example in array]).norms
    joint = np.linalg.norm(np.reshape(norms, (len(arrays), -1)), axis=0)
    factors = (limit / np.maximum(joint, limit)).astype(np.float32)
    return [np.tensordot(factors, array, axes=1) for array in arrays]


def bind(arrays: Sequence[FloatArray]) -> Peer:
    """Bind fastclip's public functions."""
    import fastclip

    given = list(arrays)
    first = given[0]
    update = Update(arrays, fastclip.clip_update_by_global_norm_)
    clip, clip_by_value_, clip_by_norm_ = fastclip.clip, fastclip.clip_by_value_, fastclip.clip_by_norm_
    return Peer(
        "fastclip",
        clip_norm=functools.partial(fastclip.clip_by_global_norm_, given),
        clip_value=lambda bound: clip_by_value_(given, -bound, bound),
        clip_each=functools.partial(clip_by_norm_, given),
        clip_rows=lambda limit: clip_by_norm_(first, limit, axes=1),
        clip_new=functools.partial(_clip_new, given),
        clip_out=lambda bound: clip(first, -bound, bound, out=first),
        clip=clip,
        clip_update=update,
        updated=update.updated,
        per_example=functools.partial(_per_example, given),
    )


def set_threads(count: int) -> int:
    """Set how many threads there may be; return how many there could be before."""
    import fastclip

    before = int(fastclip.show_config()["threads"])
    fastclip.set_num_threads(count)
    return before
