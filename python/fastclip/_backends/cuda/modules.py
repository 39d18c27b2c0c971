# SPDX-License-Identifier: BSD-3-Clause
"""CuPy, and the kernels compiled with it: at the first GPU array, once for each device, whatever the threads do."""

from __future__ import annotations

import threading
from typing import Any

from fastclip._backends.cuda.source import MODULES, OPTIONS, source

_lock = threading.Lock()
_modules: dict[tuple[int, str], Any] = {}  # CuPy loads a module again for each object, so these are kept
_ready: set[tuple[int, str, int]] = set()


def kernel(cp: Any, name: str, device: int) -> Any:
    """Return a kernel, ready to be launched on the current device."""
    module = next(module for module, names in MODULES.items() if name in names)
    key = (id(cp), module)
    if (*key, device) not in _ready:
        with _lock:
            if key not in _modules:
                _modules[key] = cp.RawModule(code=source(module), options=OPTIONS)
            _modules[key].compile()
            _ready.add((*key, device))
    return _modules[key].get_function(name)
