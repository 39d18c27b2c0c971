# SPDX-License-Identifier: BSD-3-Clause
"""As much of CuPy as fastclip uses, over NumPy's memory: kernels run in the emulator, and launches are recorded."""

import ctypes
import types

import build
import numpy as np

__version__ = "14.2.0"
empty_fill = 0xFF  # NaN in every dtype: results that nobody writes are seen


class _Memory:
    def __init__(self, array):
        self._array, self.ptr = array, array.ctypes.data

    def copy_from_host_async(self, source, size, stream):
        cuda.uploads += 1
        ctypes.memmove(self.ptr, source, size)


class ndarray:
    """An array on the device. Its elements are to be had by `get()` alone."""

    def __init__(self, array, device=0):
        self._array = array
        self.data = _Memory(array)
        self.dtype, self.size, self.ndim, self.nbytes = array.dtype, array.size, array.ndim, array.nbytes
        self.flags, self._c_contiguous = array.flags, array.flags.c_contiguous
        self.device = types.SimpleNamespace(id=device)

    @property
    def shape(self):
        return self._array.shape

    @shape.setter
    def shape(self, shape):
        self._array = self._array.reshape(shape)

    @property
    def strides(self):
        return self._array.strides

    def get(self):
        cuda.synchronizations += 1
        return self._array.copy()

    def __getitem__(self, key):
        return ndarray(self._array[key], self.device.id)

    def view(self, dtype):
        return ndarray(self._array.view(dtype), self.device.id)

    def reshape(self, shape):
        return ndarray(self._array.reshape(shape), self.device.id)

    def __float__(self):
        return float(self.get())

    def __dlpack__(self, **_):
        raise AssertionError("CuPy's arrays are read directly")

    def __dlpack_device__(self):
        return (2, self.device.id)


def asarray(a):
    """Copy to the device: layout kept, and the place within a vector of 16 bytes, as for a view of an array there."""
    if isinstance(a, ndarray):
        return a
    cuda.allocations += 1
    cuda.uploads += 1
    a = np.asarray(a)
    if not a.flags.c_contiguous:
        return ndarray(np.array(a, order="K"))
    block = np.empty(a.nbytes + 32, np.uint8)
    copy = np.ndarray(a.shape, a.dtype, block, (a.ctypes.data - block.ctypes.data) % 16)
    copy[...] = a
    return ndarray(copy)


def view(a):
    """An array over the very memory of a NumPy array."""
    return ndarray(a)


def empty(shape, dtype=float):
    array = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8)[...] = empty_fill
    cuda.allocations += 1
    return ndarray(array)


def zeros(shape, dtype=float):
    cuda.allocations += 1
    return ndarray(np.zeros(shape, dtype))


class Function:
    """A kernel, launched as by cuLaunchKernel."""

    def __init__(self, module, name):
        self._module, self._name = module, name
        self.dynamic = 48 * 1024  # what a launch may ask for

    def __call__(self, grid, block, args, shared_mem=0):
        assert len(grid) == len(block) == 1
        for a in args:  # what real CuPy passes by value
            assert isinstance(a, np.generic)
        if shared_mem > (most := min(self.dynamic, cuda.shared)):
            raise RuntimeError(f"CUDA_ERROR_INVALID_VALUE: {shared_mem} bytes of at most {most}")
        cuda.launches.append((self._name, grid[0], block[0], cuda.stream.ptr))
        how = {"shared": shared_mem, "workers": cuda.workers, "seed": cuda.seed}
        self._module.launch(self._name, grid[0], block[0], list(map(np.asarray, args)), **how)


class RawKernel:
    """A kernel and its attributes."""

    def __init__(self, module, name):
        self.kernel = Function(module, name)

    @property
    def max_dynamic_shared_size_bytes(self):
        return self.kernel.dynamic

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size):
        if size > cuda.shared:
            raise RuntimeError(f"CUDA_ERROR_INVALID_VALUE: {size} bytes of at most {cuda.shared}")
        self.kernel.dynamic = size


class RawModule:
    """A module, compiled by g++ when CuPy would call NVRTC."""

    def __init__(self, *, code, options):
        assert options == ("-fmad=false", "--std=c++17")
        self._code, self._module = code, None

    def compile(self):
        if self._module is None:
            cuda.compilations += 1
            self._module = build.Module(self._code)

    def get_function(self, name):
        assert name in self._module.names
        return RawKernel(self._module, name)


class _Device:
    def __init__(self, id=0):
        self.id = id

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class _Stream:
    def __init__(self, ptr=0):
        self.ptr = ptr
        self.capturing = False
        self._before = []

    @classmethod
    def from_external(cls, other):
        version, handle = other.__cuda_stream__()
        assert version == 0
        return cls(handle)

    def __enter__(self):
        self._before.append(cuda.stream)
        cuda.stream = self

    def __exit__(self, *_):
        cuda.stream = self._before.pop()

    def is_capturing(self):
        return self.capturing

    def synchronize(self):
        cuda.synchronizations += 1

    def wait_event(self, event):
        cuda.waits.append((self.ptr, event.stream))

    def record(self):
        event = _Event()
        event.record(self)
        return event


class _Event:
    def __init__(self, **_):
        self.stream = None

    def record(self, stream):
        self.stream = stream.ptr

    def synchronize(self):
        pass

    done = True


def _memcpy(to, source, size, kind):
    assert kind == 2  # device to host
    cuda.synchronizations += 1
    ctypes.memmove(to, source, size)


class _Cuda:
    """The state of the fake, and CuPy's names for it."""

    def __init__(self):
        self.Device, self.Event, self.Stream = _Device, _Event, _Stream
        self.runtime = types.SimpleNamespace(
            pointerGetAttributes=lambda pointer: types.SimpleNamespace(device=0),
            getDevice=lambda: 0,
            deviceGetAttribute=lambda attribute, device: {16: self.multiprocessors, 75: self.major, 97: self.shared}[
                attribute
            ],
            memcpy=_memcpy,
        )
        self.compilations = 0
        self.reset()

    def reset(self):
        self.launches, self.waits = [], []
        self.allocations = self.uploads = self.synchronizations = 0
        self.seed, self.workers, self.multiprocessors = 0, 1, 2
        self.major, self.shared = 9, 227 * 1024  # an H100
        self.stream = _Stream()

    def get_current_stream(self, device=-1):
        assert device in (-1, 0)
        return self.stream

    def alloc_pinned_memory(self, size):
        return bytearray(size)


cuda = _Cuda()
