// SPDX-License-Identifier: BSD-3-Clause
#include "bindings/arrays.hpp"

#include <pybind11/numpy.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <optional>

#include "bindings/dlpack.hpp"
#include "engine/overlap.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

using py::detail::npy_api;

constexpr int kNpyHalf = 23;             // NPY_HALF, which pybind11 does not name
std::atomic<int> bfloat16_type_num{-1};  // not known yet

constexpr char kNativeOrder = std::endian::native == std::endian::little ? '<' : '>';

constexpr int kMaxDepth = 64;  // containers in containers; deeper ones (or a list that holds itself) are not plain

}  // namespace

std::optional<DType> dtype_of(const py::detail::PyArray_Proxy* array) {
    const auto* descr = py::detail::array_descriptor1_proxy(array->descr);
    if (descr->byteorder != '=' && descr->byteorder != kNativeOrder) return std::nullopt;
    switch (descr->type_num) {
        case npy_api::NPY_FLOAT_:
            return DType::f32;
        case npy_api::NPY_DOUBLE_:
            return DType::f64;
        case kNpyHalf:
            return DType::f16;
        default:
            if (descr->type_num == bfloat16_type_num.load(std::memory_order_relaxed)) return DType::bf16;
            return std::nullopt;
    }
}

std::optional<Buffer> dense(const py::detail::PyArray_Proxy* array) {
    const std::optional<DType> dtype = dtype_of(array);
    if (!dtype || array->nd == 0 || !(array->flags & kOrders) || !(array->flags & npy_api::NPY_ARRAY_ALIGNED_))
        return std::nullopt;
    std::int64_t count = 1;
    for (int d = 0; d < array->nd; ++d) count *= array->dimensions[d];
    return Buffer{array->data, count, nullptr, *dtype, false};
}

void register_bfloat16(int type_num) { bfloat16_type_num.store(type_num, std::memory_order_relaxed); }

int axes_by_stride(const Axes& axes, std::uint64_t chosen, int (&order)[kMaxDims]) {
    int ndim = 0;
    for (int a = 0; a < axes.nd; ++a)
        if (chosen >> a & 1 && axes.shape[a] != 1) order[ndim++] = a;
    std::stable_sort(order, order + ndim,
                     [&](int a, int b) { return std::abs(axes.strides[a]) > std::abs(axes.strides[b]); });
    return ndim;
}

bool make_layout(const Axes& axes, std::uint64_t chosen, std::int64_t size, Layout& layout) {
    int order[kMaxDims];
    return make_layout_in(axes, order, axes_by_stride(axes, chosen, order), size, layout);
}

bool make_layout_in(const Axes& axes, const int* order, int ndim, std::int64_t size, Layout& layout) {
    layout.ndim = ndim;
    bool dense = true;
    for (int d = ndim - 1; d >= 0; --d) {
        layout.shape[d] = axes.shape[order[d]];
        layout.stride[d] = axes.strides[order[d]];
        dense = dense && layout.stride[d] == size;
        size *= layout.shape[d];
    }
    if (ndim == 0) {  // a single element
        layout.ndim = 1;
        layout.shape[0] = 1;
        layout.stride[0] = 0;
    }
    return dense;
}

std::unique_ptr<Layout> layout_of(const py::detail::PyArray_Proxy* array, std::int64_t size) {
    auto layout = std::make_unique<Layout>();
    const bool dense = make_layout(axes_of(array), kAllAxes, size, *layout);
    if (dense && (array->flags & npy_api::NPY_ARRAY_ALIGNED_)) layout.reset();
    return layout;
}

bool Gathered::add_array(PyObject* object, Access access) {
    const auto* array = py::detail::array_proxy(object);
    const std::optional<DType> dtype = dtype_of(array);
    if (!dtype) return false;
    if (access == Access::write && !(array->flags & npy_api::NPY_ARRAY_WRITEABLE_)) return false;
    std::int64_t count = 1;
    for (int d = 0; d < array->nd; ++d) count *= array->dimensions[d];
    Buffer buffer = {array->data, count, nullptr, *dtype, false};
    constexpr int kContiguous = npy_api::NPY_ARRAY_C_CONTIGUOUS_ | npy_api::NPY_ARRAY_F_CONTIGUOUS_;
    if (count > 0 && !((array->flags & npy_api::NPY_ARRAY_ALIGNED_) && (array->flags & kContiguous))) {
        if (auto layout = layout_of(array, info(*dtype).size)) {
            buffer.layout = layout.get();
            layouts_.push_back(std::move(layout));
        }
    }
    buffers.push_back(buffer);
    arrays_.push_back(object);
    return true;
}

void Gathered::reserve(Py_ssize_t more) {
    if (!buffers.empty()) return;
    buffers.reserve(static_cast<std::size_t>(more));
    arrays_.reserve(static_cast<std::size_t>(more));
}

bool Gathered::add_item(PyObject* item, Access access, int depth) {
    if (Py_TYPE(item) == npy_api::get().PyArray_Type_) return add_array(item, access);
    if (item == Py_None) return true;
    if (depth == kMaxDepth) return false;
    if (PyList_CheckExact(item)) {
        reserve(PyList_GET_SIZE(item));
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(item); ++i)
            if (!add_item(PyList_GET_ITEM(item, i), access, depth + 1)) return false;
        return true;
    }
    if (PyTuple_CheckExact(item)) {
        reserve(PyTuple_GET_SIZE(item));
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(item); ++i)
            if (!add_item(PyTuple_GET_ITEM(item, i), access, depth + 1)) return false;
        return true;
    }
    if (PyDict_CheckExact(item)) {
        PyObject *key, *entry;
        for (Py_ssize_t at = 0; PyDict_Next(item, &at, &key, &entry);)
            if (!add_item(entry, access, depth + 1)) return false;
        return true;
    }
    return false;
}

bool Gathered::add(PyObject* arrays, Access access, bool vetted) {
    if (!add_item(arrays, access, 0)) return false;
    return access == Access::read || mark_repeats(buffers) || vetted;
}

// Gives a buffer a layout whose axes come in the order of the other's.
void Gathered::set_order(const int* order, int ndim, std::size_t index) {
    Buffer& b = buffers[index];
    const auto* array = py::detail::array_proxy(arrays_[index]);
    auto layout = std::make_unique<Layout>();
    const bool dense = make_layout_in(axes_of(array), order, ndim, info(b.dtype).size, *layout);
    const bool plain = dense && (array->flags & npy_api::NPY_ARRAY_ALIGNED_);
    b.layout = plain ? nullptr : layout.get();
    if (!plain) layouts_.push_back(std::move(layout));
}

bool Gathered::add_pairs(Gathered& written, Gathered& read, PyObject* first, PyObject* second) {
    const bool lists = PyList_CheckExact(first) || PyTuple_CheckExact(first);
    if (!lists || !(PyList_CheckExact(second) || PyTuple_CheckExact(second))) return false;
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(first);
    if (n != PySequence_Fast_GET_SIZE(second)) return false;
    written.reserve(n);
    read.reserve(n);
    for (Py_ssize_t i = 0; i < n; ++i) {
        PyObject *a = PySequence_Fast_GET_ITEM(first, i), *b = PySequence_Fast_GET_ITEM(second, i);
        PyTypeObject* type = npy_api::get().PyArray_Type_;
        if (Py_TYPE(a) != type || Py_TYPE(b) != type) return false;
        if (!written.add_array(a, Access::write) || !read.add_array(b, Access::read)) return false;
        const Axes x = axes_of(py::detail::array_proxy(a)), y = axes_of(py::detail::array_proxy(b));
        if (x.nd != y.nd || !std::equal(x.shape, x.shape + x.nd, y.shape)) return false;
        if (written.buffers.back().dtype != read.buffers.back().dtype) return false;
        if (written.buffers.back().count > 0 && !std::equal(x.strides, x.strides + x.nd, y.strides)) {
            int order[kMaxDims];
            const int ndim = axes_by_stride(x, kAllAxes, order);
            written.set_order(order, ndim, static_cast<std::size_t>(i));
            read.set_order(order, ndim, static_cast<std::size_t>(i));
        }
    }
    return true;
}

bool Gathered::can_hold() const {
    return std::none_of(arrays_.begin(), arrays_.end(),
                        [](PyObject* array) { return is_dlpack(py::detail::array_proxy(array)); });
}

}  // namespace fastclip
