# SPDX-License-Identifier: BSD-3-Clause
"""TensorFlow: its clipping functions, called one by one and compiled to a graph. Tensors are immutable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer

_Same = Callable[[Callable[..., Any]], Callable[..., Any]]


def _bind(name: str, arrays: Sequence[FloatArray], compiled: _Same) -> Peer:
    import tensorflow as tf

    tensors = [tf.constant(array) for array in arrays]
    first = tensors[0]
    number = first.dtype

    @compiled
    def by_norm(limit: Any) -> Any:
        clipped, norm = tf.clip_by_global_norm(tensors, limit)
        return norm, clipped

    @compiled
    def by_value(bound: Any) -> Any:
        return [tf.clip_by_value(tensor, -bound, bound) for tensor in tensors]

    @compiled
    def each(limit: Any) -> Any:
        return [tf.clip_by_norm(tensor, limit) for tensor in tensors]

    @compiled
    def rows(limit: Any) -> Any:
        return [tf.clip_by_norm(first, limit, axes=[1])]

    def called(call: Callable[..., Any]) -> Callable[[float], Any]:
        # a graph that is given a Python number is compiled anew for each
        return lambda limit: call(tf.constant(limit, number))

    return Peer(
        name,
        clip_norm=called(by_norm),
        clip_value=called(by_value),
        clip_each=called(each),
        clip_rows=called(rows),
        clip_new=called(by_norm),
        in_place=False,
    )


def bind(arrays: Sequence[FloatArray]) -> Peer:
    """Bind the functions as they are called eagerly; on the CPU they return when they are done."""
    return _bind("tensorflow", arrays, lambda call: call)


def bind_graph(arrays: Sequence[FloatArray]) -> Peer:
    """Bind the functions inside `tf.function`."""
    import tensorflow as tf

    return _bind("tf.function", arrays, tf.function)
