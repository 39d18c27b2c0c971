# SPDX-License-Identifier: BSD-3-Clause
"""Every module compiles for every chip, as CuPy would compile it; what the machine code holds."""

import re

import nvrtc
import pytest

from fastclip._backends.cuda.source import MODULES, OPTIONS, source

ARCHS = (70, 75, 80, 86, 89, 90, 100, 103, 120)
# 65,536 registers of a multiprocessor over four blocks of 256 threads, or one of 1,024.
BUDGET = dict.fromkeys((kernel for kernels in MODULES.values() for kernel in kernels), 64)
NO_SPILLS = (80, 90)  # A100, H100 and H200
SPILLS = 64  # bytes, elsewhere


@pytest.fixture(scope="module")
def compiled():
    """Compile each module once for each architecture."""
    cache = {}

    def get(module, arch):
        if (module, arch) not in cache:
            options = (*OPTIONS, *nvrtc.CUPY, f"-arch=sm_{arch}", "--ptxas-options=-v")
            cache[module, arch] = nvrtc.compiler_for(arch).compile(source(module), options)
        return cache[module, arch]

    return get


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("module", MODULES)
def test_a_module_compiles(compiled, module, arch):
    cubin, log = compiled(module, arch)
    assert cubin[:4] == b"\x7fELF"
    warnings = [line for line in log.splitlines() if "warning" in line.lower()]
    if arch < 75:  # of the compiler about the architecture, not about the text
        warnings = [line for line in warnings if "Architectures prior to" not in line]
    assert warnings == []
    used = nvrtc.resources(log)
    assert set(used) == set(MODULES[module])
    for kernel, of in used.items():
        assert of["registers"] <= BUDGET[kernel], kernel
        assert of["spills"] <= (0 if arch in NO_SPILLS else SPILLS), kernel


@pytest.mark.parametrize("arch", [80, 90])
def test_vectors_of_16_bytes_are_loaded_and_stored(compiled, arch):
    kernels = {}
    for module in MODULES:
        kernels |= nvrtc.disassemble(compiled(module, arch)[0])
    assert set(kernels) == set(BUDGET)
    for kernel, code in kernels.items():
        assert "LDG.E.128" in code, kernel
        # A load or store that could be of shared or local memory: an address whose space the compiler does not know.
        assert not re.search(r"\b(LD|ST)\.E\.(128|64)\b", code), kernel
    for kernel in ("scale", "clamp", "rows_warp", "rows_block", "weighted_sum"):
        assert "STG.E.128" in kernels[kernel]


def test_f32_keeps_its_subnormal_numbers(compiled):
    """CuPy's -ftz=true reaches operators, not the instructions that are written out."""
    for module in MODULES:
        for kernel, code in nvrtc.disassemble(compiled(module, 90)[0]).items():
            assert not re.search(r"\b(FMUL|FADD|FFMA|FSETP?)\.\S*FTZ", code), kernel
