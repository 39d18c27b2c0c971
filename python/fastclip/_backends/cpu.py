# SPDX-License-Identifier: BSD-3-Clause
"""The native backend: C++ and SIMD."""

from __future__ import annotations

from typing import Any

from fastclip import _core, _dtypes
from fastclip._rules import Rule

_dtypes.on_bfloat16.append(_core.register_bfloat16)


class Native:
    """`fastclip._core`, whose functions have the protocol's signatures."""

    name = "native"
    clip_list = staticmethod(_core.clip_list)
    clip_each = staticmethod(_core.clip_each)
    clip_update_list = staticmethod(_core.clip_update_list)
    clip_array = staticmethod(_core.clip_array)
    clip_rows = staticmethod(_core.clip_rows)
    clamp_list = staticmethod(_core.clamp_list)
    clip = staticmethod(_core.clip)
    empty_like = staticmethod(_core.empty_like)
    norm_list = staticmethod(_core.norm_list)
    norm_into = staticmethod(_core.norm_into)
    measure_list = staticmethod(_core.measure_list)
    register_tensor_type = staticmethod(_core.register_tensor_type)
    tensors_norm = staticmethod(_core.tensors_norm)
    tensors_clip = staticmethod(_core.tensors_clip)
    tensors_scale = staticmethod(_core.tensors_scale)
    tensors_clamp = staticmethod(_core.tensors_clamp)
    device_tensors = staticmethod(_core.device_tensors)
    identities = staticmethod(_core.identities)
    eager_norm = staticmethod(_core.eager_norm)
    eager_clip = staticmethod(_core.eager_clip)
    eager_scale = staticmethod(_core.eager_scale)
    eager_clip_one = staticmethod(_core.eager_clip_one)
    eager_clamp = staticmethod(_core.eager_clamp)
    calls = staticmethod(_core.calls)

    def register_eager_type(self, kind: type, numbers: list[int], *functions: Any) -> bool:
        """Take eager tensors of exactly this type from now on."""
        _core.register_eager_type(kind, numbers, *functions)
        return True

    def rule(self, record: Rule) -> _core.Rule:
        """Hand the record over to the native evaluator."""
        return _core.Rule(record.slack, record.nonfinite, record.average)
