# SPDX-License-Identifier: BSD-3-Clause
"""The text of the CUDA modules. Each is one string: CuPy's cache does not look into included files."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_CUDA = Path(__file__).resolve().parents[2] / "_cuda"
#: where `#include "..."` is looked for: in the package, and in the tree that it is developed in
_FOLDERS = (_CUDA, _CUDA.parents[2] / "csrc")
_INCLUDE = re.compile(r'#include "([^"]+)"')

#: what CuPy is asked for: a * b + c must not become one operation where C++ has two; CuPy 13 would take C++11
OPTIONS = ("-fmad=false", "--std=c++17")

#: the modules, and the kernels of each
MODULES = {
    "reduce": ("norm_list", "norm_each"),
    "transform": ("scale", "clamp"),
    "measure": ("measure",),
    "rows": ("rows_warp", "rows_2_warps", "rows_4_warps", "rows_8_warps"),
    "rows_shared": ("rows_shared",),
    "rows_cluster": ("rows_cluster",),
    "columns": ("norm_columns", "scale_columns"),
    "per_example": ("weighted_sum",),
}

#: kernels whose shared memory has the size that a launch says
DYNAMIC = ("rows_shared", "rows_cluster")


def _find(name: str) -> Path:
    found = next((folder / name for folder in _FOLDERS if (folder / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"fastclip's CUDA source {name} is missing from this installation; install it again.")
    return found


def _lines(name: str, seen: set[str]) -> list[str]:
    seen.add(name)
    lines = [f'#line 1 "{name}"']
    for number, line in enumerate(_find(name).read_text("utf-8").splitlines(), 1):
        include = _INCLUDE.fullmatch(line)
        if include:
            if include[1] not in seen:
                lines += [*_lines(include[1], seen), f'#line {number + 1} "{name}"']
            else:
                lines.append("")
        else:
            lines.append("" if line == "#pragma once" else line)
    return lines


@cache
def source(module: str) -> str:
    """Return the text of a module, everything that it includes put in its place, once."""
    return "\n".join(_lines(f"{module}.cu", set())) + "\n"
