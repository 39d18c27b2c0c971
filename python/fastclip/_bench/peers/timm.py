# SPDX-License-Identifier: BSD-3-Clause
"""timm: `adaptive_clip_grad`."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer
from fastclip._bench.peers.torch import parameter_of, tensor_of


def bind(arrays: Sequence[FloatArray]) -> Peer:
    """Bind `adaptive_clip_grad`."""
    from timm.utils import adaptive_clip_grad

    parameters = [parameter_of(tensor_of(array)) for array in arrays]
    for parameter in parameters:
        parameter.data = parameter.data.clone()  # weights of their own, since here it's their values that count
    return Peer("timm", adaptive=functools.partial(adaptive_clip_grad, parameters))
