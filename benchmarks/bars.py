# SPDX-License-Identifier: BSD-3-Clause
"""The bars: what the ruler holds fastclip to."""

from __future__ import annotations

from dataclasses import dataclass

from fastclip._bench.cases import UPDATES, Workload
from fastclip._bench.intervals import Interval

MIN_ROUNDS = 30  # with fewer there are numbers but no verdict


@dataclass(frozen=True)
class Bar:
    """Bound fastclip's time by a multiple of another's, in the same round."""

    against: str  # "limit" or a peer
    at_most: float

    def passed(self, ratio: Interval) -> bool:
        """Judge the ratio of fastclip's time to the other's by the worse end of its interval."""
        return ratio.high <= self.at_most


def bars(workload: Workload, operation: str, ours: str = "fastclip") -> tuple[Bar, ...]:
    """Return the bars for an operation on a workload, of `fastclip` or of one of its drop-ins."""
    if ours in DROP_INS:
        named = DROP_INS[ours].get((workload.name, operation))
        kind = workload.kind if workload.kind == "memory" and workload.dtype == "f32" else workload.name
        return DROP_INS[ours].get((kind, operation), ()) if named is None else named
    if operation in UPDATES:
        return _FLOWER[workload.name, operation]
    if operation == "each":
        return ()
    if workload.kind == "memory":
        return (Bar("limit", _MEMORY.get((workload.dtype, operation), 1.05)),)
    if workload.kind == "call":
        return (Bar("numpy", {"positional": 1 / 5, "keywords": 1 / 3}[operation]),)
    if workload.kind == "cache":
        if operation == "value":
            return ()
        return (Bar("limit", 1.15), Bar("numpy", 1.0), Bar("torch", 1.0))
    return _SMALL.get((workload.name, operation), ())


def opponents(ours: str) -> list[str]:
    """Return whom bars of a drop-in name anywhere."""
    return list(dict.fromkeys(bar.against for named in DROP_INS.get(ours, {}).values() for bar in named))


_MEMORY: dict[tuple[str, str], float] = {  # where it is not 1.05
    ("f16", "within"): 1.10,
    ("f16", "clip"): 1.15,
    ("bf16", "within"): 1.10,
    ("bf16", "clip"): 1.15,
    ("f32", "clip_new"): 1.15,
    ("f32", "rows"): 1.10,
}

_TORCH: dict[tuple[str, str], tuple[Bar, ...]] = {
    ("tiny_many", "within"): (Bar("torch", 1 / 18),),
    ("tiny_many", "clip"): (Bar("torch", 1 / 12),),
    ("rl_policy", "within"): (Bar("torch", 1 / 18),),
    ("rl_policy", "clip"): (Bar("torch", 1 / 12),),
    ("thousand_tens", "within"): (Bar("torch", 1 / 25),),
    ("thousand_tens", "clip"): (Bar("torch", 1 / 25),),
    ("memory", "within"): (Bar("limit", 1.10), Bar("torch", 1 / 2.3)),
    ("memory", "clip"): (Bar("limit", 1.05),),
}

_TENSORFLOW: dict[tuple[str, str], tuple[Bar, ...]] = {
    ("tiny_many", "within"): (Bar("tensorflow", 1 / 40), Bar("tf.function", 1 / 15)),
    ("tiny_many", "clip"): (Bar("tensorflow", 1 / 40), Bar("tf.function", 1 / 15)),
    ("resnet50", "within"): (Bar("tensorflow", 1 / 10),),
    ("resnet50", "clip"): (Bar("tensorflow", 1 / 4), Bar("tf.function", 1 / 1.8)),
    ("gpt2", "within"): (Bar("tensorflow", 1 / 4),),
    ("gpt2", "clip"): (Bar("tensorflow", 1 / 2),),
}

# Flower's is at the limit where it clips: it multiplies what it has read once, as everybody must.
_FLOWER: dict[tuple[str, str], tuple[Bar, ...]] = {
    ("tiny_many", "within"): (Bar("flower", 1 / 8),),
    ("tiny_many", "clip"): (Bar("flower", 1 / 8),),
    ("memory", "within"): (Bar("flower", 1 / 1.8),),
    ("memory", "clip"): (Bar("flower", 1.05),),
    ("gpt2", "update_within"): (Bar("flower", 1 / 6),),
    ("gpt2", "update_clip"): (Bar("flower", 1 / 6),),
}

_OPTAX: dict[tuple[str, str], tuple[Bar, ...]] = {
    ("tiny_many", "within"): (Bar("optax", 1 / 2),),
    ("tiny_many", "clip"): (Bar("optax", 1 / 2),),
    ("memory", "clip"): (Bar("optax", 1 / 1.8),),
}

_OPTAX_DONATED: dict[tuple[str, str], tuple[Bar, ...]] = {
    ("tiny_many", "within"): (Bar("optax donated", 1 / 2),),
    ("tiny_many", "clip"): (Bar("optax donated", 1 / 2),),
    ("memory", "within"): (Bar("optax donated", 1.05),),
    ("memory", "clip"): (Bar("optax donated", 1.05),),
}

_THINC: dict[tuple[str, str], tuple[Bar, ...]] = {
    ("tiny_many", "each"): (Bar("thinc", 1 / 5),),
    ("resnet50", "each"): (Bar("limit", 1.10),),
}

DROP_INS = {
    "fastclip.torch": _TORCH,
    "fastclip.tensorflow": _TENSORFLOW,
    "fastclip.flwr": _FLOWER,
    "fastclip.thinc": _THINC,
    "fastclip.optax": _OPTAX,
    "fastclip.optax donated": _OPTAX_DONATED,
}

_SMALL: dict[tuple[str, str], tuple[Bar, ...]] = {
    ("tiny_many", "within"): (Bar("numpy", 1 / 5), Bar("torch", 1 / 28)),
    ("rl_policy", "within"): (Bar("numpy", 1 / 5), Bar("torch", 1 / 30)),
    ("rl_policy", "clip"): (Bar("numpy", 1 / 5), Bar("torch", 1 / 30)),
    ("thousand_tens", "within"): (Bar("numpy", 1 / 15), Bar("torch", 1 / 55)),
    ("thousand_tens", "clip"): (Bar("numpy", 1 / 15), Bar("torch", 1 / 55)),
}
