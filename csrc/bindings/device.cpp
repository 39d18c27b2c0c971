// SPDX-License-Identifier: BSD-3-Clause
// Lists of tensors in the memory of another device, which is not touched: what a backend for it has to know.
#include <cstring>

#include "bindings/module.hpp"
#include "bindings/tensors.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

template <class F>  // f(buffer): one word of the bytes for each
py::bytes words(const std::vector<Buffer>& buffers, F f) {
    const auto size = static_cast<Py_ssize_t>(buffers.size() * sizeof(std::uint64_t));
    auto made = py::reinterpret_steal<py::bytes>(PyBytes_FromStringAndSize(nullptr, size));
    if (!made) throw py::error_already_set();
    char* to = PyBytes_AS_STRING(made.ptr());
    for (const Buffer& b : buffers) {
        const std::uint64_t word = f(b);
        std::memcpy(to, &word, sizeof word);
        to += sizeof word;
    }
    return made;
}

// (signature, addresses, device, stream, tensors); `_backends/cuda/tensors.py` reads the signature. NotImplemented if a
// tensor is not dense, not on the first one's device, or none of Tensors'.
py::object py_device_tensors(py::handle items, bool gradients, int device_type) {
    const auto not_implemented = py::reinterpret_borrow<py::object>(Py_NotImplemented);
    Tensors list(device_type);
    if (!list.add(items.ptr(), gradients) || list.buffers.empty()) return not_implemented;
    for (const Buffer& b : list.buffers)
        if (b.layout) return not_implemented;
    void* stream = nullptr;
    if (!current_stream(device_type, list.device(), &stream)) throw py::error_already_set();
    return py::make_tuple(words(list.buffers,
                                [](const Buffer& b) {
                                    return static_cast<std::uint64_t>(b.count) << 3 |
                                           static_cast<std::uint64_t>(b.dtype) << 1 | (b.repeat ? 1u : 0u);
                                }),
                          words(list.buffers, [](const Buffer& b) { return reinterpret_cast<std::uintptr_t>(b.data); }),
                          list.device(), reinterpret_cast<std::uintptr_t>(stream), list.tensors());
}

// The addresses of a list's objects, to know them again by.
py::bytes py_identities(const py::list& items) {
    std::vector<PyObject*> objects;
    const auto size = static_cast<std::size_t>(PyList_GET_SIZE(items.ptr()));
    objects.reserve(size);
    for (std::size_t i = 0; i < size; ++i) objects.push_back(PyList_GET_ITEM(items.ptr(), static_cast<Py_ssize_t>(i)));
    return {reinterpret_cast<const char*>(objects.data()), size * sizeof(PyObject*)};
}

}  // namespace

void bind_device(py::module_& m) {
    m.def("device_tensors", &py_device_tensors);
    m.def("identities", &py_identities);
}

}  // namespace fastclip
