# SPDX-License-Identifier: BSD-3-Clause
"""TensorFlow: its clipping functions, called one by one and compiled to a graph, and ours. Tensors are immutable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer

_Same = Callable[[Callable[..., Any]], Callable[..., Any]]


def _bind(name: str, arrays: Sequence[FloatArray], functions: Any, compiled: _Same | None = None) -> Peer:
    import tensorflow as tf

    done = compiled or (lambda call: call)

    tensors = [tf.constant(array) for array in arrays]
    first = tensors[0]
    number = first.dtype

    @done
    def by_norm(limit: Any) -> Any:
        clipped, norm = functions.clip_by_global_norm(tensors, limit)
        return norm, clipped

    @done
    def by_value(bound: Any) -> Any:
        return [functions.clip_by_value(tensor, -bound, bound) for tensor in tensors]

    @done
    def each(limit: Any) -> Any:
        return [functions.clip_by_norm(tensor, limit) for tensor in tensors]

    @done
    def rows(limit: Any) -> Any:
        return [functions.clip_by_norm(first, limit, axes=[1])]

    def called(call: Callable[..., Any]) -> Callable[[float], Any]:
        # a graph that is given a Python number is compiled anew for each
        return (lambda limit: call(tf.constant(limit, number))) if compiled else call

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
    import tensorflow as tf

    return _bind("tensorflow", arrays, tf)


def bind_fastclip(arrays: Sequence[FloatArray]) -> Peer:
    """Bind fastclip's own functions of the same names, called eagerly."""
    from fastclip import tensorflow as ours

    return _bind("fastclip.tensorflow", arrays, ours)


def bind_graph(arrays: Sequence[FloatArray]) -> Peer:
    """Bind the functions inside `tf.function`."""
    import tensorflow as tf

    return _bind("tf.function", arrays, tf, tf.function)
