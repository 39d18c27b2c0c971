# SPDX-License-Identifier: BSD-3-Clause
"""The contestants: the same work on the same memory, by fastclip and by what people use today.

All work in place on the arrays they are given, torch through `from_numpy`. So every contestant meets the same
addresses, page sizes (NumPy asks for huge pages from 4 MB on, torch by itself does not) and alignment.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.cases import FloatArray

# A relative error of the norm beyond this is called wrong: over a hundred roundings of an f32. Who answers in the
# arrays' own dtype, as torch does, gets two roundings of a narrower one.
WRONG = {"f32": 1e-5, "f16": 2**-10, "bf16": 2**-7}


@dataclass(frozen=True)
class Peer:
    """Bind a contestant's operations to a list of arrays."""

    name: str
    clip_norm: Callable[[float], Any]  # takes the limit, returns the norm before clipping
    clip_value: Callable[[float], Any]  # takes the bound, clips to [-bound, bound]
    clip_new: Callable[[float], Any]  # clip_norm into new arrays; returns the norm before clipping and them
    clip_out: Callable[[float], Any]  # clip_value of the first array by the peer's clip, where a place is given
    clip_rows: Callable[[float], Any]  # takes the limit of each row's norm in the first array
    clip: Callable[..., Any] | None = None  # the peer's np.clip, if it has the same arguments
    always_writes: bool = False  # multiplies by 1 within the limit, too


def _numpy_norm(arrays: Sequence[FloatArray]) -> float:
    total = 0.0
    for array in arrays:
        flat = array.ravel()
        total += float(np.dot(flat, flat))
    return math.sqrt(total)


def _numpy_clip_norm(arrays: Sequence[FloatArray], limit: float) -> float:
    norm = _numpy_norm(arrays)
    if norm > limit:
        factor = np.float32(limit / norm)
        for array in arrays:
            np.multiply(array, factor, out=array)
    return norm


def _numpy_clip_new(arrays: Sequence[FloatArray], limit: float) -> tuple[float, list[FloatArray]]:
    norm = _numpy_norm(arrays)
    factor = np.float32(min(1.0, limit / norm))
    return norm, [array * factor for array in arrays]


def _numpy_clip_value(arrays: Sequence[FloatArray], bound: float) -> None:
    for array in arrays:
        np.clip(array, -bound, bound, out=array)


def _numpy_clip_rows(array: FloatArray, limit: float) -> None:
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    np.multiply(array, np.minimum(1, np.float32(limit) / norms), out=array)


def numpy_peer(arrays: Sequence[FloatArray]) -> Peer:
    """Bind the best NumPy idiom that people write."""
    first = arrays[0]
    return Peer(
        "numpy",
        clip_norm=functools.partial(_numpy_clip_norm, arrays),
        clip_value=functools.partial(_numpy_clip_value, arrays),
        clip_new=functools.partial(_numpy_clip_new, arrays),
        clip_out=lambda bound: np.clip(first, -bound, bound, out=first),
        clip_rows=functools.partial(_numpy_clip_rows, first),
        clip=np.clip,
    )


def _tensor(array: FloatArray) -> Any:
    """Return torch's view of the same memory; torch knows no bfloat16 of NumPy's."""
    import torch

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _torch_clip_new(tensors: Sequence[Any], limit: float) -> tuple[Any, list[Any]]:
    import torch

    norm = torch.nn.utils.get_total_norm(tensors)
    factor = torch.clamp(limit / (norm + 1e-6), max=1.0)
    return norm, [tensor * factor for tensor in tensors]


def torch_peer(arrays: Sequence[FloatArray]) -> Peer:
    """Bind torch's `clip_grad_norm_` and `clip_grad_value_`, called with a list of parameters, and its like."""
    import torch

    tensors = [_tensor(array) for array in arrays]
    parameters = []
    for tensor in tensors:
        parameter = torch.nn.Parameter(tensor)  # nobody looks at its values, so they may share the memory too
        parameter.grad = tensor
        parameters.append(parameter)
    first = tensors[0]
    return Peer(
        "torch",
        clip_norm=functools.partial(torch.nn.utils.clip_grad_norm_, parameters),
        clip_value=functools.partial(torch.nn.utils.clip_grad_value_, parameters),
        clip_new=functools.partial(_torch_clip_new, tensors),
        clip_out=lambda bound: first.clamp_(-bound, bound),
        clip_rows=lambda limit: first.renorm_(2, 0, limit),
        always_writes=True,
    )


def _fastclip_clip_new(arrays: list[FloatArray], limit: float) -> tuple[float, list[FloatArray]]:
    import fastclip

    clipped, norm = fastclip.clip_by_global_norm(arrays, limit)
    return norm, clipped


def fastclip_peer(arrays: Sequence[FloatArray]) -> Peer:
    """Bind fastclip's public functions."""
    import fastclip

    given = list(arrays)
    first = given[0]
    clip, clip_by_value_, clip_by_norm_ = fastclip.clip, fastclip.clip_by_value_, fastclip.clip_by_norm_
    return Peer(
        "fastclip",
        clip_norm=functools.partial(fastclip.clip_by_global_norm_, given),
        clip_value=lambda bound: clip_by_value_(given, -bound, bound),
        clip_new=functools.partial(_fastclip_clip_new, given),
        clip_out=lambda bound: clip(first, -bound, bound, out=first),
        clip_rows=lambda limit: clip_by_norm_(first, limit, axes=1),
        clip=clip,
    )


PEERS: dict[str, Callable[[Sequence[FloatArray]], Peer]] = {
    "fastclip": fastclip_peer,
    "numpy": numpy_peer,
    "torch": torch_peer,
}


def installed() -> list[str]:
    """List the contestants that can be imported here."""
    return [name for name in PEERS if importlib.util.find_spec(name) is not None]


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
    return abs(float(peer.clip_norm(10 * exact)) - exact) / exact
