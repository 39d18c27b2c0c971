# SPDX-License-Identifier: BSD-3-Clause
"""CuPy, and the kernels compiled with it: at the first GPU array, once for each device, whatever the threads do."""

from __future__ import annotations

import threading
from typing import Any

from fastclip._backends.cuda.source import MODULES, OPTIONS, source

_lock = threading.Lock()
_modules: dict[tuple[int, str], Any] = {}  # CuPy loads a module again for each object, so these are kept
_kernels: dict[tuple[int, str, int], Any] = {}


def kernel(cp: Any, name: str, device: int) -> Any:
    """Return a kernel for the current device alone: to find that out would take CuPy a while at each launch."""
    key = (id(cp), name, device)
    found = _kernels.get(key)
    if found is None:
        with _lock:
            module = next(module for module, names in MODULES.items() if name in names)
            compiled = _modules.get((id(cp), module))
            if compiled is None:
                compiled = _modules[id(cp), module] = cp.RawModule(code=source(module), options=OPTIONS)
            compiled.compile()
            found = _kernels[key] = compiled.get_function(name).kernel
    return found


def multiprocessors(cp: Any, device: int) -> int:
    """Return how many there are; `Device.attributes` asks for a hundred numbers to give one."""
    multi_processor_count = 16  # CUDA's cudaDevAttrMultiProcessorCount
    return int(cp.cuda.runtime.deviceGetAttribute(multi_processor_count, device))
