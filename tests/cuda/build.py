# SPDX-License-Identifier: BSD-3-Clause
"""Builds the CUDA sources for the CPU, with the emulator, and launches their kernels as cuLaunchKernel does."""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from mutants import mutated

HERE = Path(__file__).resolve().parent
FOLDER = Path(os.environ.get("FASTCLIP_EMULATOR_FOLDER") or tempfile.mkdtemp(prefix="fastclip-emulator-"))
#: the flags of every build; a plain one adds -O2
WARNINGS = ["-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-unused-function", "-Werror"]
FLAGS = ["-std=c++20", "-g", "-fPIC", "-pthread", "-ffp-contract=off", "-fno-strict-aliasing", f"-I{HERE}", *WARNINGS]
_HEAD = r'^extern "C" __global__ void (?:__cluster_dims__\((\d+), 1, 1\) )?__launch_bounds__\([^)]*\)\s+(\w+)\('
KERNEL = re.compile(_HEAD, re.MULTILINE)  # the blocks of a cluster, the name

LAUNCHER = """
#include <string_view>
extern "C" const char* emulator_launch(const char* name, const unsigned* grid, const unsigned* block, void** arguments,
                                       unsigned shared, unsigned workers, unsigned seed) {
    static thread_local std::string message;
    emulator::Launch launch = {{grid[0], 1, 1}, {block[0], 1, 1}, 1, shared, seed, nullptr, nullptr};
    const std::string_view called = name;
    message = "no such kernel";
    %s
    return message.c_str();
}
"""


def compiler():
    """The g++ that the emulator is for."""
    found = shutil.which("g++")
    assert found, "the CUDA sources run on the CPU with g++, which is not here"
    return found


def extra_flags():
    """The flags under which this process was asked to build: sanitizers, coverage, no optimization."""
    return os.environ.get("FASTCLIP_EMULATOR_FLAGS", "-O2").split()


def compile(*command, text=None):
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}  # a sanitizer's runtime
    done = subprocess.run(command, input=text, text=True, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[:6000]


def names(source):
    """The kernels of a source."""
    return tuple(name for _, name in KERNEL.findall(source))


def build(source, flags):
    """Compile one module, or find it; its shared library."""
    calls = "\n    ".join(
        f'if (called == "{name}") launch.cluster = {cluster or 1}, '
        f"message = emulator::launch({name}, arguments, launch, workers);"
        for cluster, name in KERNEL.findall(source)
    )
    text = '#include "emulator.hpp"\n' + source + '\n#line 1 "launcher"' + LAUNCHER % calls
    machinery = [HERE / name for name in ("emulator.hpp", "fibers.hpp", "emulator.cpp")]
    key = hashlib.sha256("\0".join([text, *flags, *(p.read_text("utf-8") for p in machinery)]).encode()).hexdigest()[
        :16
    ]
    library = FOLDER / f"{key}.so"
    if library.exists():
        return library
    FOLDER.mkdir(parents=True, exist_ok=True)
    plain = [f for f in flags if f not in ("-fsanitize=thread", "--coverage")]
    if "-fsanitize=thread" in flags:
        plain += ["-DEMULATOR_TSAN", "-fno-tree-loop-distribute-patterns"]  # memcpy in a fiber would be seen
    scheduler, kernels = FOLDER / f"{key}-scheduler.o", FOLDER / f"{key}.o"
    compile(compiler(), *FLAGS, *plain, "-c", str(machinery[-1]), "-o", str(scheduler))
    compile(compiler(), *FLAGS, *flags, "-x", "c++", "-c", "-", "-o", str(kernels), text=text)
    unfinished = FOLDER / f"{key}.{os.getpid()}.so"
    compile(compiler(), *FLAGS, *flags, "-shared", str(kernels), str(scheduler), "-o", str(unfinished))
    unfinished.rename(library)
    return library


class Module:
    """The kernels of one source, compiled for the CPU."""

    def __init__(self, source):
        source = mutated(source)
        self.names = names(source)
        self.library = ctypes.CDLL(str(build(source, extra_flags())))
        self.library.emulator_launch.restype = ctypes.c_char_p

    def launch(self, name, grid, block, arguments, *, shared=0, workers=1, seed=0):
        """Run a kernel. `arguments` are 0-d arrays, passed by value; `shared` is in bytes."""
        pointers = (ctypes.c_void_p * len(arguments))(*(a.ctypes.data for a in arguments))
        sizes = (ctypes.c_uint * 1)(grid), (ctypes.c_uint * 1)(block)
        message = self.library.emulator_launch(name.encode(), *sizes, pointers, shared, workers, seed).decode()
        if message:
            raise RuntimeError(f"{name}: {message}")
