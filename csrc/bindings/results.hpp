// SPDX-License-Identifier: BSD-3-Clause
// NumPy arrays over recycled blocks.
#pragma once

#include <pybind11/numpy.h>

namespace fastclip {

// A new array of the shape, dtype and memory order of a dense one of so many bytes, aligned to 64 bytes, its elements
// not set. Null with an exception set if there is no memory. It owns its memory, as NumPy's own results do.
PyObject* new_like(const pybind11::detail::PyArray_Proxy* dense, std::int64_t bytes);

}  // namespace fastclip
