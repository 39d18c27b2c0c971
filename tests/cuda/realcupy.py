# SPDX-License-Identifier: BSD-3-Clause
"""CuPy as it is, on a CUDA device of ours: `driver/*.cpp` takes the place of CUDA's runtime and driver.

CuPy finds the driver by its name, and its wheel has the runtime within: there, the beginning of each function is
overwritten by a jump. That can't be undone, so it is for a process of its own, which `environment` is for.
"""

import ctypes
import hashlib
import mmap
import os
import re
import struct
from pathlib import Path

import build
import numpy as np

from fastclip._backends.cuda import modules
from fastclip._backends.cuda.source import MODULES, source

FOLDER = build.HERE / "driver"
VARIABLE = "FASTCLIP_EMULATED_GPU"
_SYMTAB, _FUNCTION = 2, 2  # ELF's numbers of a section and of a symbol
_JUMP = 12  # bytes


def wanted():
    """Whether this process was asked to have such a device."""
    return VARIABLE in os.environ


def environment(folder):
    """What makes a process of Python's one that has it; CuPy keeps what it compiles in a folder."""
    return {
        **os.environ,
        VARIABLE: "1",
        "FASTCLIP_EMULATOR_FOLDER": str(build.FOLDER),
        "CUPY_CACHE_DIR": str(folder),
    }


def _functions(path):
    """The functions of CUDA's runtime in a shared library, their places and sizes: by its own table of symbols."""
    elf = Path(path).read_bytes()
    (sections,), (count,) = struct.unpack_from("<Q", elf, 40), struct.unpack_from("<H", elf, 60)
    headers = [struct.unpack_from("<IIQQQQIIQQ", elf, sections + 64 * i) for i in range(count)]
    found = {}
    for _, kind, _, _, start, size, link, *_ in headers:
        if kind != _SYMTAB:
            continue
        for at in range(start, start + size, 24):
            name, what, _, _, place, length = struct.unpack_from("<IBBHQQ", elf, at)
            text = elf[headers[link][4] + name :][:200].split(b"\0", 1)[0].decode()
            if what & 15 == _FUNCTION and re.match("cuda[A-Z]", text):
                found[text] = place, length
    return found


def _address(function):
    return ctypes.cast(function, ctypes.c_void_p).value


def _jump(to):
    return b"\x48\xb8" + struct.pack("<Q", to) + b"\xff\xe0"  # movabs rax, to; jmp rax


def _refusals(driver, names):
    """Code that says to the driver which function was called; by the function's name."""
    memory = mmap.mmap(-1, 32 * len(names), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    start, found = ctypes.addressof(ctypes.c_char.from_buffer(memory)), {}
    for i, name in enumerate(names):
        text = ctypes.create_string_buffer(name.encode())
        code = b"\x48\xbf" + struct.pack("<Q", ctypes.addressof(text)) + _jump(_address(driver.driver_refuse))
        memory[32 * i : 32 * i + len(code)] = code  # movabs rdi, text; and the jump
        found[name] = start + 32 * i
        _for_good.append(text)
    _for_good.append(memory)
    return found


_for_good = []  # what jumps lead to


def _redirect(path, driver):
    """Let each function of the runtime in CuPy's module go on in the driver, or where it is refused by its name."""
    functions = _functions(path)
    assert {"cudaMalloc", "cudaMemcpyAsync", "cudaEventRecord"} <= set(functions), (
        f"{path} names no functions of CUDA's runtime: this CuPy is built in another way than 14.2's wheel, and "
        "tests/cuda/realcupy.py must learn how it reaches the runtime"
    )
    with open("/proc/self/maps") as maps:
        base = min(int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith(path))
    refusals = _refusals(driver, functions)
    change = ctypes.CDLL(None, use_errno=True).mprotect
    for name, (place, length) in functions.items():
        assert length >= _JUMP, f"{name} has no room for a jump"
        first = (base + place) // mmap.PAGESIZE * mmap.PAGESIZE
        size, every = base + place + _JUMP - first, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        failed = change(ctypes.c_void_p(first), ctypes.c_size_t(size), every)
        assert not failed, f"this system lets nobody change code: {os.strerror(ctypes.get_errno())}"
        target = _address(getattr(driver, name)) if hasattr(driver, name) else refusals[name]
        ctypes.memmove(base + place, _jump(target), _JUMP)


NAMES = ("multiprocessors", "major", "shared", "workers", "seed", "lazy", "trusting", "idle")


class Settings(ctypes.Structure):
    """The device and how it works: `driver::Settings`."""

    _fields_ = [(name, ctypes.c_int) for name in NAMES]


class Gpu:
    """The device, as tests see it."""

    def __init__(self):
        self._driver = ctypes.CDLL(str(self._build()), ctypes.RTLD_GLOBAL)
        self._driver.driver_settings.restype = ctypes.POINTER(Settings)
        self._driver.driver_record.restype = self._driver.driver_parameters.restype = ctypes.c_char_p
        self.settings = self._driver.driver_settings()[0]
        self._first = Settings.from_buffer_copy(self.settings)
        import cupy_backends.cuda.api.runtime as runtime

        _redirect(runtime.__file__, self._driver)
        for module, kernels in MODULES.items():
            library = build.Module(source(module)).library
            for name in kernels:
                self._driver.driver_has_kernel(name.encode(), library.emulator_launch)
        self._kernel, modules.kernel = modules.kernel, self._checked

    def _checked(self, cupy, name, device):
        """A kernel whose launches have the arguments, by their sizes, that its machine code has."""
        kernel = self._kernel(cupy, name, device)
        sizes = self._driver.driver_parameters(name.encode()).decode()

        def launch(grid, block, arguments, **how):
            assert [a.nbytes for a in arguments] == list(map(int, sizes.split()))
            kernel(grid, block, arguments, **how)

        return launch

    @staticmethod
    def _build():
        sources = [FOLDER / name for name in ("device.hpp", "device.cpp", "runtime.cpp", "modules.cpp")]
        key = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:16]
        library = build.FOLDER / f"driver-{key}" / "libcuda.so.1"
        if not library.exists():
            library.parent.mkdir(parents=True, exist_ok=True)
            unfinished = library.with_suffix(f".{os.getpid()}")
            soname = f"-Wl,-soname,{library.name}"  # what CuPy asks the loader for
            parts = map(str, sources[1:])
            build.compile(build.compiler(), *build.FLAGS, "-O1", "-shared", soname, *parts, "-o", str(unfinished))
            unfinished.rename(library)
        return library

    def record(self):
        """What has been done since this was asked: words for each launch, upload, wait and synchronization."""
        return [line.split() for line in self._driver.driver_record().decode().splitlines()]

    def reset(self, **settings):
        """Be the device that it was at first, but for some settings; forget what has been done."""
        for name in NAMES:
            setattr(self.settings, name, settings.get(name, getattr(self._first, name)))
        self.record()


class _Stream:
    """The current stream, of which a test sets the handle, and whether it captures a graph."""

    def __init__(self, cupy):
        self._cuda = cupy.cuda
        self._cupy = cupy

    @property
    def ptr(self):
        return self._cuda.get_current_stream().ptr

    @ptr.setter
    def ptr(self, handle):
        modules.stream(self._cupy, handle).use()

    @property
    def capturing(self):
        return self._cuda.get_current_stream().is_capturing()

    @capturing.setter
    def capturing(self, begins):
        stream = self._cuda.get_current_stream()
        stream.begin_capture() if begins else stream.end_capture()


class _Cuda:
    """What tests ask of the fake's `cuda`, and set there; the rest is CuPy's."""

    def __init__(self, gpu, cupy):
        vars(self).update({"_gpu": gpu, "_cupy": cupy, "stream": _Stream(cupy), "_seen": [], "allocations": 0})
        self.reset()

    def reset(self):
        """Forget what has been done; be the device that it was at first, on which nothing is lazy."""
        self._gpu.reset(lazy=0, trusting=1)
        vars(self).update({"_seen": [], "allocations": 0})

    def __getattr__(self, name):
        return getattr(self._gpu.settings if name in NAMES else self._cupy.cuda, name)

    def __setattr__(self, name, value):
        assert name in NAMES, name
        setattr(self._gpu.settings, name, value)

    def allocate(self, size):
        """Allocate from CuPy's pool, and count."""
        self.__dict__["allocations"] += 1
        return self._cupy.get_default_memory_pool().malloc(size)

    def _of(self, what):
        self._seen.extend(self._gpu.record())
        return [words[1:] for words in self._seen if words[0] == what]

    @property
    def launches(self):
        return [(name, *map(int, numbers)) for name, *numbers in self._of("launch")]

    @property
    def waits(self):
        return [tuple(map(int, words)) for words in self._of("wait")]

    @property
    def uploads(self):
        return len(self._of("upload"))

    @property
    def synchronizations(self):
        return len(self._of("synchronization"))


class LikeTheFake:
    """CuPy, with what the fake has beside: tests that are written for that run on this."""

    def __init__(self, gpu):
        import cupy

        self._cupy, self._gpu = cupy, gpu
        self.cuda = _Cuda(gpu, cupy)

    def __getattr__(self, name):
        return getattr(self._cupy, name)

    def __enter__(self):
        self._cupy.cuda.set_allocator(self.cuda.allocate)
        return self

    def __exit__(self, *_):
        self._cupy.cuda.set_allocator(self._cupy.get_default_memory_pool().malloc)
        self._cupy.cuda.Stream.null.use()
        modules._kernels.clear()  # a kernel was made ready for another chip, perhaps
        self._gpu.reset()

    def asarray(self, a):
        """Copy to the device; a number by the way of arrays, as CuPy has a kernel for numbers."""
        if isinstance(a, self._cupy.ndarray):
            return a
        a = np.asarray(a)
        return self._cupy.asarray(a) if a.ndim else self._cupy.asarray(a.reshape(1)).reshape(())

    def view(self, a):
        """An array over the very memory of a NumPy array."""
        low, high = np.lib.array_utils.byte_bounds(a)
        memory = self._cupy.cuda.UnownedMemory(low, high - low, a, 0)
        pointer = self._cupy.cuda.MemoryPointer(memory, a.ctypes.data - low)
        return self._cupy.ndarray(a.shape, a.dtype, pointer, a.strides)
