# SPDX-License-Identifier: BSD-3-Clause
"""CuPy, and the kernels compiled with it: at the first GPU array, once for each device, whatever the threads do."""

from __future__ import annotations

import threading
from typing import Any

from fastclip._backends.cuda.source import MODULES, OPTIONS, source

_lock = threading.Lock()
_modules: dict[tuple[int, str], Any] = {}  # CuPy loads a module again for each object, so these are kept
_ready: set[tuple[int, str, int]] = set()


def kernels(cp: Any, module: str, device: int) -> dict[str, Any]:
    """Return the kernels of a module, ready to be launched on the current device."""
    key = (id(cp), module)
    if (*key, device) not in _ready:
        with _lock:
            if key not in _modules:
                _modules[key] = cp.RawModule(code=source(module), options=OPTIONS)
            _modules[key].compile()
            _ready.add((*key, device))
    return {name: _modules[key].get_function(name) for name in MODULES[module]}
