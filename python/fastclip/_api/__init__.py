# SPDX-License-Identifier: BSD-3-Clause
"""The public functions.

Each in-place function hands the user's own container to the backend, so that the usual case is one call; what the
backend does not take is gathered in Python first. Out of place, the results are made first and the backend fills them.
"""

from fastclip._api.clip import clip
from fastclip._api.global_norm import clip_by_global_norm, clip_by_global_norm_, global_norm
from fastclip._api.measure import Measurement, measure
from fastclip._api.norm import norm
from fastclip._api.optimizer import clip_gradients_by_norm
from fastclip._api.tensor_norm import clip_by_average_norm, clip_by_average_norm_, clip_by_norm, clip_by_norm_
from fastclip._api.update import clip_update_by_global_norm_
from fastclip._api.value import clip_by_value, clip_by_value_

__all__ = [
    "Measurement",
    "clip",
    "clip_by_average_norm",
    "clip_by_average_norm_",
    "clip_by_global_norm",
    "clip_by_global_norm_",
    "clip_by_norm",
    "clip_by_norm_",
    "clip_by_value",
    "clip_by_value_",
    "clip_gradients_by_norm",
    "clip_update_by_global_norm_",
    "global_norm",
    "measure",
    "norm",
]
