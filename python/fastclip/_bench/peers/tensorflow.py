# SPDX-License-Identifier: BSD-3-Clause
"""TensorFlow: its clipping functions, called one by one and compiled to a graph, and ours. Tensors are immutable."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer

_Same = Callable[[Callable[..., Any]], Callable[..., Any]]


def _bind(name: str, arrays: Sequence[FloatArray], functions: Any, compiled: _Same | None = None) -> Peer:
    import tensorflow as tf

    done = compiled or (lambda call: call)
    tensors = [tf.constant(array) for array in arrays]
    number = tensors[0].dtype

    # The tensors are arguments: a graph would hold those of a closure, the small ones as constants that are folded,
    # and no step's gradients could be clipped by it.
    @done
    def by_norm(tensors: Any, limit: Any) -> Any:
        clipped, norm = functions.clip_by_global_norm(tensors, limit)
        return norm, clipped

    @done
    def by_value(tensors: Any, bound: Any) -> Any:
        return [functions.clip_by_value(tensor, -bound, bound) for tensor in tensors]

    @done
    def each(tensors: Any, limit: Any) -> Any:
        return [functions.clip_by_norm(tensor, limit) for tensor in tensors]

    @done
    def rows(tensors: Any, limit: Any) -> Any:
        return [functions.clip_by_norm(tensors[0], limit, axes=[1])]

    def called(call: Callable[..., Any]) -> Callable[[float], Any]:
        # a graph that is given a Python number is compiled anew for each
        if compiled:
            return lambda limit: call(tensors, tf.constant(limit, number))
        return functools.partial(call, tensors)

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
