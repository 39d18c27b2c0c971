# SPDX-License-Identifier: BSD-3-Clause
"""The two verbs, reduce and apply, over a whole list in one call.

A backend takes the user's own container. Where it can't read it, it returns NotImplemented, having touched nothing;
`fastclip._arrays` then makes a list of plain arrays of it, which every backend takes.
"""

from __future__ import annotations

from typing import Any, Protocol

from fastclip._rules import Rule


class Backend(Protocol):
    """What a backend does. `out` is None (in place) or a list of new arrays; `vetted` says that none overlap."""

    name: str

    def rule(self, record: Rule) -> Any:
        """Compile a record into what the other methods take as `rule`."""

    def clip_list(self, arrays: Any, out: Any, limit: float, use_norm: float | None, rule: Any, vetted: bool) -> Any:
        """Clip by the norm of all elements; return it, or None if they are not finite and the rule is to raise."""

    def clip_each(self, arrays: Any, out: Any, limit: float, rule: Any, vetted: bool) -> Any:
        """Clip each array by its own norm."""

    def clip_array(self, array: Any, limit: float) -> Any:
        """Clip one array in place by its norm; return it, or NotImplemented if elements are not finite, too."""

    def clip_update_list(self, now: Any, before: Any, limit: float, rule: Any, vetted: bool) -> Any:
        """Clip the norm of the difference of two lists in the first one; return it, or None as `clip_list` does."""

    def clip_rows(self, array: Any, out: Any, axes: int, limit: float, rule: Any) -> Any:
        """Clip one array, each row (along the axes whose bit is set) by its own norm."""

    def clamp_list(self, arrays: Any, out: Any, lo: float, hi: float, vetted: bool) -> Any:
        """Clip each element to [lo, hi]; lo > hi gives lo, NaN stays, a NaN bound gives NaN."""

    def clip(self, a: Any, a_min: Any, a_max: Any, out: Any) -> Any:
        """Do what `np.clip` does, or return NotImplemented."""

    def empty_like(self, dense: Any) -> Any:
        """Make room for the result for an array whose elements fill one block of memory."""

    def norm_list(self, arrays: Any) -> Any:
        """Return the norm of all elements."""

    def norm_into(self, array: Any, out: Any) -> Any:
        """Write the norm of one array, rounded to the dtype of `out`, into that array's one element."""

    def measure_list(self, arrays: Any) -> Any:
        """Return (norm, sumabs, maxabs, [(norm, sumabs, maxabs, nonfinite, zeros) for each array])."""

    def register_tensor_type(self, kind: type) -> bool:
        """Take tensors of exactly this type from now on in what follows; False if that can't be."""

    def tensors_norm(self, items: list[Any], gradients: bool, norm_type: float) -> Any:
        """Return (norm of tensors, or of the items' gradients; is it finite; it in f64; is any listed twice)."""

    def tensors_clip(
        self, items: list[Any], gradients: bool, max_norm: float, norm_type: float, error_if_nonfinite: bool
    ) -> Any:
        """Clip tensors, or the items' gradients, as torch does; return (norm, those written or None)."""

    def tensors_scale(self, items: list[Any], gradients: bool, max_norm: float, norm: float, dtype: int) -> Any:
        """Do the same with a norm that is known; return the tensors written."""

    def tensors_clamp(self, items: list[Any], gradients: bool, bound: float) -> Any:
        """Clip each element to [-bound, bound]; return the tensors."""

    def device_tensors(self, items: list[Any], gradients: bool, device_type: int) -> Any:
        """Return (signature, addresses, device, stream, tensors) of a list that is on one device of DLPack's type."""

    def identities(self, items: list[Any]) -> Any:
        """Return what tells these objects from others while they live; it can be a key."""

    def register_eager_type(
        self,
        kind: type,
        numbers: list[int],
        type_number: Any,
        to_capsule: Any,
        from_capsule: Any,
        addresses: list[int],
    ) -> bool:
        """Take TensorFlow's eager tensors, of exactly this type, in what follows; False if that can't be.

        `numbers` are those of fastclip's dtypes. The functions tell the number of a tensor's dtype, make a DLPack
        capsule of a tensor, and a tensor of a capsule and a `context`. They are not needed where the addresses of the
        C functions that csrc/bindings/eager_handles.cpp names are known.
        """

    def eager_norm(self, items: Any, context: Any) -> Any:
        """Return the norm of tensors as a tensor."""

    def eager_clip(self, items: Any, counted: Any, limit: float, context: Any) -> Any:
        """Clip by the norm, or by that of `counted`, as TensorFlow does: (new tensors or None for the same, norm)."""

    def eager_scale(self, items: Any, norm: float, dtype: int, limit: float, context: Any) -> Any:
        """Do the same with a norm that is known, of that dtype."""

    def eager_clip_one(self, item: Any, counted: Any, limit: float, average: bool, context: Any) -> Any:
        """Clip one tensor by its own norm (or average), or by that of `counted`; None for the same."""

    def eager_clamp(self, item: Any, lo: float, hi: float, context: Any) -> Any:
        """Clip each element of a tensor to [lo, hi]; lo wins."""

    def calls(self) -> int:
        """Return how many calls this backend has served."""
