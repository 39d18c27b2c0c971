// SPDX-License-Identifier: BSD-3-Clause
#include "bindings/results.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "bindings/module.hpp"
#include "engine/blocks.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

using py::detail::npy_api;

// NumPy's allocators (NEP 49), as its headers have them since 1.22; an array frees its memory by the one that made it.
struct Allocator {
    void* context;
    void* (*malloc)(void*, std::size_t);
    void* (*calloc)(void*, std::size_t, std::size_t);
    void* (*realloc)(void*, void*, std::size_t);
    void (*free)(void*, void*, std::size_t);
};
struct Handler {
    char name[127];
    std::uint8_t version;
    Allocator allocator;
};

void* allocate(void*, std::size_t bytes) { return blocks::acquire(static_cast<std::int64_t>(bytes)); }
void* allocate_zeros(void*, std::size_t count, std::size_t size) {
    void* block = blocks::acquire(static_cast<std::int64_t>(count * size));  // NumPy has checked the product
    if (block) std::memset(block, 0, count * size);
    return block;
}
void* reallocate(void*, void* old, std::size_t bytes) {  // ndarray.resize
    void* block = blocks::acquire(static_cast<std::int64_t>(bytes));
    if (!block || !old) return block;
    std::memcpy(block, old, std::min<std::size_t>(bytes, static_cast<std::size_t>(blocks::capacity(old))));
    blocks::release(old);
    return block;
}
void give_back(void*, void* block, std::size_t) {
    if (block) blocks::release(block);
}

Handler handler = {"fastclip", 1, {nullptr, allocate, allocate_zeros, reallocate, give_back}};

// What follows the fields that pybind11 knows, in NumPy's headers since 1.22.
struct Array : py::detail::PyArray_Proxy {
    PyObject* weak_references;
    void* buffer_info;
    PyObject* handler;  // which frees the memory of an array that owns it
};

class NumPy {
  public:
    NumPy() {
        constexpr int kSetHandler = 304;  // in NumPy's table of functions
        const bool modern = api_.PyArray_RUNTIME_VERSION_ >= 0x12;
        const py::module_ umath =
            py::module_::import(modern ? "numpy._core._multiarray_umath" : "numpy.core._multiarray_umath");
        auto** table = static_cast<void**>(PyCapsule_GetPointer(umath.attr("_ARRAY_API").ptr(), nullptr));
        set_handler_ = reinterpret_cast<SetHandler>(table[kSetHandler]);
        ours_ = PyCapsule_New(&handler, "mem_handler", nullptr);  // lives as long as the process
        if (!ours_) throw py::error_already_set();
        const py::array example(py::dtype("float32"), std::vector<py::ssize_t>{1});
        const auto made = py::reinterpret_steal<py::object>(by_handler(py::detail::array_proxy(example.ptr())));
        if (!made) throw py::error_already_set();
        can_adopt_ = static_cast<const Array*>(py::detail::array_proxy(made.ptr()))->handler == ours_;
    }

    PyObject* new_like(const py::detail::PyArray_Proxy* dense, std::int64_t bytes) const {
        return can_adopt_ ? by_adoption(dense, bytes) : by_handler(dense);
    }

  private:
    using SetHandler = PyObject* (*)(PyObject*);  // returns the one before

    PyObject* make(const py::detail::PyArray_Proxy* dense, void* data) const {
        const bool c_order = dense->flags & npy_api::NPY_ARRAY_C_CONTIGUOUS_;
        Py_INCREF(dense->descr);  // the call takes it over
        return api_.PyArray_NewFromDescr_(api_.PyArray_Type_, dense->descr, dense->nd,
                                          const_cast<Py_intptr_t*>(dense->dimensions),
                                          c_order ? nullptr : const_cast<Py_intptr_t*>(dense->strides), data,
                                          data ? npy_api::NPY_ARRAY_WRITEABLE_ : 0, nullptr);
    }

    // NumPy's way: 300 ns for setting the handler and setting it back.
    PyObject* by_handler(const py::detail::PyArray_Proxy* dense) const {
        PyObject* before = set_handler_(ours_);
        if (!before) return nullptr;
        PyObject* array = make(dense, nullptr);
        Py_XDECREF(set_handler_(before));
        Py_DECREF(before);
        return array;
    }

    // The short way: an array over our block is made to own it. Taken if an array that was made NumPy's way has our
    // handler where we would put it.
    PyObject* by_adoption(const py::detail::PyArray_Proxy* dense, std::int64_t bytes) const {
        void* block = blocks::acquire(bytes);
        if (!block) return PyErr_NoMemory();
        PyObject* array = make(dense, block);
        if (!array) {
            blocks::release(block);
            return nullptr;
        }
        auto* fields = static_cast<Array*>(py::detail::array_proxy(array));
        fields->handler = Py_NewRef(ours_);
        fields->flags |= npy_api::NPY_ARRAY_OWNDATA_;
        return array;
    }

    const npy_api& api_ = npy_api::get();
    SetHandler set_handler_;
    PyObject* ours_;
    bool can_adopt_ = false;
};

}  // namespace

PyObject* new_like(const py::detail::PyArray_Proxy* dense, std::int64_t bytes) {
    static const NumPy* const numpy = new NumPy;
    return numpy->new_like(dense, bytes);
}

void bind_results(py::module_& m) {
    m.def("empty_like", [](const py::array& dense) {
        PyObject* array = new_like(py::detail::array_proxy(dense.ptr()), dense.nbytes());
        if (!array) throw py::error_already_set();
        return py::reinterpret_steal<py::object>(array);
    });
    m.def("set_recycling", &blocks::set_limit);
    m.def("recycling", [] { return py::make_tuple(blocks::limit(), blocks::kept()); });
}

}  // namespace fastclip
