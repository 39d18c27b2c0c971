# SPDX-License-Identifier: BSD-3-Clause
"""Every module compiles for every chip, as CuPy would compile it; what the machine code holds."""

import re

import nvrtc
import pytest

from fastclip._backends.cuda.source import DYNAMIC, MODULES, OPTIONS, source

ARCHS = (70, 75, 80, 86, 89, 90, 100, 103, 120)
# 65,536 registers of a multiprocessor over four blocks of 256 threads, or one of 1,024; over two for columns, of which
# a lane has up to eight.
BUDGET = {kernel: 128 if name == "columns" else 64 for name, kernels in MODULES.items() for kernel in kernels}
FIRST = {"rows_cluster": 90}  # the first architecture that a module is for
CASES = [(module, arch) for module in MODULES for arch in ARCHS if arch >= FIRST.get(module, 0)]
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


@pytest.mark.parametrize(("module", "arch"), CASES)
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
        # A block may have all shared memory as dynamic memory if nothing of it is in variables.
        assert kernel not in DYNAMIC or of["shared"] == 0, kernel


@pytest.mark.parametrize("arch", [80, 90])
def test_vectors_of_16_bytes_are_loaded_and_stored(compiled, arch):
    kernels = {}
    for module in (module for module, of in CASES if of == arch):
        kernels |= nvrtc.disassemble(compiled(module, arch)[0])
    assert set(kernels) == set(BUDGET) - {kernel for kernel in FIRST if FIRST[kernel] > arch}
    for kernel, code in kernels.items():
        assert "LDG.E.128" in code, kernel
        # A load or store that could be of shared or local memory: an address whose space the compiler does not know. A
        # cluster's shared memory is read by such loads, two for the f64 numbers of a total.
        others = re.findall(r"\b(?:LD|ST)\.E\.(?:128|64)\b", code)
        assert others == (["LD.E.64"] * 2 if kernel == "rows_cluster" else []), kernel
    for kernel in kernels.keys() - {"norm_list", "norm_each", "norm_columns", "measure"}:
        assert "STG.E.128" in kernels[kernel], kernel
    for kernel in kernels.keys() & set(DYNAMIC):
        assert {"LDS.128", "STS.128"} <= set(re.findall(r"\b[A-Z]+\.128\b", kernels[kernel])), kernel
    if arch == 90:  # both halves of a barrier, before the totals are read and behind
        barriers = re.findall(r"\bUCGABAR_(ARV|WAIT)\b", kernels["rows_cluster"])
        assert barriers.count("ARV") == barriers.count("WAIT") >= 2


def test_f32_keeps_its_subnormal_numbers(compiled):
    """CuPy's -ftz=true reaches operators, not the instructions that are written out."""
    for module in MODULES:
        for kernel, code in nvrtc.disassemble(compiled(module, 90)[0]).items():
            assert not re.search(r"\b(FMUL|FADD|FFMA|FSETP?)\.\S*FTZ", code), kernel
