// SPDX-License-Identifier: BSD-3-Clause
// NumPy arrays to buffers: what is plain is read here, at 10 ns an array; everything else, and every error message,
// is the business of fastclip/_arrays.py, which comes back with plain arrays.
#pragma once

#include <pybind11/numpy.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/buffer.hpp"

namespace fastclip {

enum class Access { read, write };

// NumPy gives bfloat16, which is ml_dtypes', its type number when that package is imported.
void register_bfloat16(int type_num);

inline constexpr std::uint64_t kAllAxes = ~std::uint64_t{0};

// Null for any other dtype and byte order.
std::optional<DType> dtype_of(const pybind11::detail::PyArray_Proxy* array);

struct Axes {
    int nd;
    const pybind11::ssize_t *shape, *strides;  // strides in bytes
};
inline Axes axes_of(const pybind11::detail::PyArray_Proxy* array) {
    return {array->nd, array->dimensions, array->strides};
}

// The layout of those axes whose bit is set in `chosen`, by falling stride; true if they cover one dense block, first
// element first.
bool make_layout(const Axes& axes, std::uint64_t chosen, std::int64_t size, Layout& layout);

// The axes by falling stride, those of length 1 left out; returns how many.
int axes_by_stride(const Axes& axes, std::uint64_t chosen, int (&order)[kMaxDims]);
// The layout of axes in that order.
bool make_layout_in(const Axes& axes, const int* order, int ndim, std::int64_t size, Layout& layout);

// Null where the elements are one dense and aligned block.
std::unique_ptr<Layout> layout_of(const pybind11::detail::PyArray_Proxy* array, std::int64_t size);

inline constexpr int kOrders =
    pybind11::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | pybind11::detail::npy_api::NPY_ARRAY_F_CONTIGUOUS_;

inline const pybind11::detail::PyArray_Proxy* as_array(PyObject* object) {  // null: it is none, or a subclass's
    const bool plain = Py_TYPE(object) == pybind11::detail::npy_api::get().PyArray_Type_;
    return plain ? pybind11::detail::array_proxy(object) : nullptr;
}

// An array of one to many dimensions whose elements lie in C or Fortran order.
std::optional<Buffer> dense(const pybind11::detail::PyArray_Proxy* array);

class Gathered {
  public:
    // Takes an array, or a list, tuple or dict of arrays and of such containers; None entries are skipped. False,
    // with nothing to clean up, if anything in it is not plain: another type, dtype, byte order, or (for writing) a
    // read-only array or memory that two entries share in part. `vetted` arrays have been found not to overlap.
    bool add(PyObject* arrays, Access access, bool vetted);

    std::span<PyObject* const> arrays() const { return arrays_; }

    // Whether references hold all the memory: a DLPack producer's is not held by anything.
    bool can_hold() const;

    std::vector<Buffer> buffers;

    // Takes two lists or tuples of arrays: each has the shape and dtype of the other list's at its place, and then its
    // elements in the same order, that of the first's memory. Whether any overlap is for the caller to find out.
    static bool add_pairs(Gathered& written, Gathered& read, PyObject* first, PyObject* second);

  private:
    void reserve(Py_ssize_t more);
    void set_order(const int* order, int ndim, std::size_t index);
    bool add_item(PyObject* item, Access access, int depth);
    bool add_array(PyObject* array, Access access);

    std::vector<std::unique_ptr<Layout>> layouts_;  // a kilobyte each, for strided arrays only
    std::vector<PyObject*> arrays_;                 // borrowed
};

}  // namespace fastclip
