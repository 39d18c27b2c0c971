# SPDX-License-Identifier: BSD-3-Clause
"""NVIDIA's run-time compiler, from the packages nvidia-cuda-nvrtc (13) and nvidia-cuda-nvrtc-cu12; it needs no GPU.

And its disassembler, from nvidia-cuda-nvdisasm.
"""

import ctypes
import re
import subprocess
import sysconfig
import tempfile
from importlib import metadata
from pathlib import Path

PACKAGES = ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")
# What CuPy 13 and 14 put behind a RawModule's own options, folders of headers left out: nothing is included.
CUPY = ("-ftz=true", "--device-as-default-execution-space")


def _libraries():
    for package in PACKAGES:
        for file in metadata.files(package):
            if re.fullmatch(r"libnvrtc\.so\.\d+", file.name):
                yield Path(file.locate())


class Nvrtc:
    """One version of the compiler."""

    def __init__(self, path):
        self._library = ctypes.CDLL(str(path))
        count = ctypes.c_int()
        self._library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
        self.archs = (ctypes.c_int * count.value)()
        self._library.nvrtcGetSupportedArchs(self.archs)
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        self.version = f"{major.value}.{minor.value}"

    def _bytes(self, what, program):
        size = ctypes.c_size_t()
        getattr(self._library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(self._library, f"nvrtcGet{what}")(program, buffer)
        return buffer.raw

    def compile(self, source, options):
        """Compile to a cubin; return it and what the compiler and the assembler said."""
        program = ctypes.c_void_p()
        create = self._library.nvrtcCreateProgram
        assert create(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None) == 0
        words = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        failed = self._library.nvrtcCompileProgram(program, len(options), words)
        log = self._bytes("ProgramLog", program).rstrip(b"\0").decode()
        assert not failed, log
        cubin = self._bytes("CUBIN", program)
        self._library.nvrtcDestroyProgram(ctypes.byref(program))
        return cubin, log


def compiler_for(arch):
    """The newest compiler that knows an architecture: version 13 has forgotten sm_70."""
    return next(c for c in map(Nvrtc, _libraries()) if arch in c.archs)


def resources(log):
    """Registers, and bytes of stack, of spills and of variables in shared memory, of each kernel."""
    found, kernel = {}, None
    for line in log.splitlines():
        if entry := re.search(r"entry function '(\w+)'", line):
            kernel = found.setdefault(entry[1], {})
        if spills := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            kernel["stack"], kernel["spills"] = int(spills[1]), int(spills[2]) + int(spills[3])
        if used := re.search(r"Used (\d+) registers", line):
            kernel["registers"] = int(used[1])
            shared = re.search(r"(\d+) bytes smem", line)
            kernel["shared"] = int(shared[1]) if shared else 0
    return found


def disassemble(cubin):
    """The machine code of each kernel, as text."""
    found = sorted(Path(sysconfig.get_path("purelib")).glob("nvidia/**/bin/nvdisasm"))
    assert found, "nvdisasm is missing: pip install nvidia-cuda-nvdisasm"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.cubin"
        path.write_bytes(cubin)
        done = subprocess.run([str(found[0]), "-c", str(path)], capture_output=True, text=True, timeout=120, check=True)
    text = re.split(r"^\.text\.(\w+):", done.stdout, flags=re.MULTILINE)
    return dict(zip(text[1::2], text[2::2], strict=True))
