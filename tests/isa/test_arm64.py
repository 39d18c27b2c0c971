# SPDX-License-Identifier: BSD-3-Clause
"""arm64's kernels return the bits of this machine's.

Kernels, engine and a driver are compiled for arm64 and run by an emulator; the same driver, compiled for this machine,
says what the results must be. The digests cover every kernel, dtype and walk: see arm64_driver.cpp.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import buildfiles
import pytest

from fastclip import _core

HOST, ARM64 = platform.machine(), "aarch64"
DRIVER = buildfiles.CSRC.parent / "tests" / "isa" / "arm64_driver.cpp"
HERE = HOST == ARM64  # then nothing is emulated
PREFIX = "" if HERE else "aarch64-linux-gnu-"
EMULATOR = next(filter(None, map(shutil.which, ("qemu-aarch64-static", "qemu-aarch64"))), None)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the emulator runs programs of Linux")


def missing():
    if HERE:
        return []
    tools = {"aarch64-linux-gnu-g++": shutil.which("aarch64-linux-gnu-g++"), "qemu-aarch64": EMULATOR}
    return [name for name, found in tools.items() if not found]


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, (*command, done.returncode, done.stderr)
    return done.stdout


class Build:
    """The objects of one processor, and the driver linked from them."""

    def __init__(self, folder, processor):
        self.folder, self.processor, self.isas = folder, processor, list(buildfiles.rows(processor))
        folder.mkdir()
        (folder / "isas.inc").write_text("".join(f"FASTCLIP_ISA({isa})\n" for isa in self.isas))
        self.cross = processor == ARM64 and not HERE
        self.compiler = [f"{PREFIX}g++"] if self.cross else buildfiles.compiler()

    def steps(self):
        """The compilations, slowest first. NEON is compiled as the build does it; plain loops would take 30 s at -O3,
        and no bit of the expected results may depend on an option like that."""
        flags = [*buildfiles.options(self.processor), *(["-O1"] if self.processor != ARM64 else [])]
        for isa, of_isa in buildfiles.rows(self.processor).items():
            quick = ["-O2"] if self.processor == ARM64 and isa == "baseline" else []
            yield self.step(buildfiles.CSRC / "kernels" / "kernels.cpp", isa, *flags, *of_isa, "-w", *quick)
        yield self.step(DRIVER, "driver", *flags, "-O1")
        for part in ("engine", "isa"):
            for source in sorted((buildfiles.CSRC / part).glob("*.cpp")):
                yield self.step(source, source.stem, *flags)

    def step(self, source, stem, *flags):
        return [*self.compiler, *flags, f"-I{self.folder}", "-c", str(source), "-o", str(self.object(stem))]

    def object(self, stem):
        return self.folder / f"{stem}.o"

    def link(self):
        static = ["-static"] if self.cross else []
        run(*self.compiler, "-pthread", *static, *map(str, self.folder.glob("*.o")), "-o", str(self.folder / "driver"))

    def digests(self, isa):
        emulator = [EMULATOR] if self.cross else []
        lines = run(*emulator, str(self.folder / "driver"), isa).splitlines()
        return dict(line.split(": ") for line in lines)


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    if missing():
        refuse = pytest.fail if os.environ.get("FASTCLIP_REQUIRE_ARM64") == "1" else pytest.skip
        refuse(f"not installed: {', '.join(missing())}")
    folder = tmp_path_factory.mktemp("arm64")
    made = {processor: Build(folder / processor, processor) for processor in dict.fromkeys((ARM64, HOST))}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(lambda step: run(*step), [step for build in made.values() for step in build.steps()]))
    for build in made.values():
        build.link()
    return made


@pytest.fixture(scope="module")
def digests(builds):
    """By processor and ISA: a digest for each kernel, dtype and walk."""
    wanted = [(ARM64, isa) for isa in builds[ARM64].isas]
    wanted += [(HOST, isa) for isa in _core.supported_isas() if HOST != ARM64]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return dict(zip(wanted, pool.map(lambda key: builds[key[0]].digests(key[1]), wanted), strict=True))


def test_every_kernel_returns_the_same_bits_on_arm64(digests):
    expected = digests[HOST, "baseline"]
    assert len(expected) == 4 * (7 + 5 * 3) + 1  # dtypes, kernels without and with walks, and the engine
    for key, found in digests.items():
        assert found.keys() == expected.keys()
        assert [name for name in found if found[name] != expected[name]] == [], key


def test_no_walk_changes_a_bit(digests):
    for key, found in digests.items():
        by_kernel = {}
        for name, value in found.items():
            by_kernel.setdefault(tuple(name.split()[:2]), set()).add(value)
        assert [kernel for kernel, values in by_kernel.items() if len(values) > 1] == [], key


@pytest.mark.parametrize("isa", ["baseline", "neon"])
def test_an_arm64_object_defines_its_table_and_nothing_that_the_linker_could_share(builds, isa):
    symbols = [line.split()[-2:] for line in run(f"{PREFIX}nm", str(builds[ARM64].object(isa))).splitlines()]
    assert {symbol for kind, symbol in symbols if kind in "WwVvu"} == set()
    assert [symbol for kind, symbol in symbols if kind.isupper() and kind != "U"] == [
        f"_ZN8fastclip{len(isa) + 8}kernels_{isa}E"
    ]


def test_only_neon_converts_vectors_of_f16(builds):
    """Or both objects hold the plain loops, and the comparison above says nothing."""
    for isa, expected in (("baseline", False), ("neon", True)):
        code = run(f"{PREFIX}objdump", "-d", "--no-show-raw-insn", str(builds[ARM64].object(isa)))
        assert bool(re.search(r"fcvtl\s+v\d+\.4s, v\d+\.4h", code)) is expected
