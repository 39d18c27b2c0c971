# SPDX-License-Identifier: BSD-3-Clause
"""What compiled kernels hold: no symbol that the linker could share between ISAs, and the registers of their own."""

import platform
import re
import subprocess
import sys
from pathlib import Path

import buildfiles
import pytest

from fastclip import _core

CSRC = Path(__file__).resolve().parents[1] / "csrc"
X86 = platform.machine() in ("x86_64", "AMD64")
ROWS = buildfiles.rows(platform.machine())
# which vector registers the disassembly shows, and which it must not show
REGISTERS = {"baseline": ("xmm", "[yz]mm|%k[0-7]"), "avx2": ("ymm", "zmm|%k[0-7]"), "avx512": ("zmm", None)}


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """The kernels of every ISA, compiled as the build does it."""
    folder = tmp_path_factory.mktemp("kernels")
    base = [*buildfiles.compiler(), *buildfiles.options(platform.machine())]
    running = {}
    for isa, flags in ROWS.items():
        command = [*base, *flags, "-c", str(CSRC / "kernels" / "kernels.cpp"), "-o", str(folder / f"{isa}.o")]
        running[isa] = subprocess.Popen(command)
    assert [p.wait(300) for p in running.values()] == [0] * len(ROWS)
    return {isa: folder / f"{isa}.o" for isa in ROWS}


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_every_row_is_compiled_in():
    assert list(_core.compiled_isas()) == list(ROWS)
    assert not X86 or set(ROWS) == set(REGISTERS)


@pytest.mark.parametrize("isa", ROWS)
def test_an_object_defines_its_table_and_nothing_that_the_linker_could_share(objects, isa):
    symbols = [line.split()[-2:] for line in output("nm", str(objects[isa])).splitlines()]
    assert {symbol for kind, symbol in symbols if kind in "WwVvu"} == set()
    defined = [symbol for kind, symbol in symbols if kind.isupper() and kind != "U"]
    assert len(defined) == 1
    assert f"kernels_{isa}" in defined[0]
    needed = {symbol for kind, symbol in symbols if kind == "U"}
    assert needed <= {"memcpy", "memset", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_guard"}


@pytest.mark.skipif(not X86, reason="registers of x86-64")
@pytest.mark.parametrize("isa", ROWS)
def test_an_object_uses_its_registers_and_no_others(objects, isa):
    code = output("objdump", "-d", "--no-show-raw-insn", str(objects[isa]))
    uses, never = REGISTERS[isa]
    assert uses in code
    assert never is None or not re.search(never, code)


def test_the_library_is_hardened_and_leaves_the_fpu_alone():
    library = _core.__file__
    dynamic = output("readelf", "-dlW", library)
    assert "BIND_NOW" in dynamic
    assert "GNU_RELRO" in dynamic
    assert re.search(r"GNU_STACK.* RW ", dynamic)  # not executable
    assert not re.search(r"RPATH|RUNPATH|libgomp|TEXTREL", dynamic)
    assert "__stack_chk_fail" in output("nm", "-D", library)
    # -ffast-math would have its start-up code flush subnormal numbers in the whole process.
    checked = subprocess.run([sys.executable, "-c", "import fastclip; x = 5e-324; assert x * 1.0 > 0.0"], check=False)
    assert checked.returncode == 0
