// SPDX-License-Identifier: BSD-3-Clause
#include "bindings/eager.hpp"

#include <new>
#include <utility>

#include "bindings/calls.hpp"
#include "engine/blocks.hpp"
#include "engine/ops.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

struct Registered {
    py::object type;
    std::unique_ptr<EagerExchange> exchange;
};

Registered& registered() {  // never destroyed
    static auto* const one = new Registered;
    return *one;
}

Buffer acquire(DType dtype, std::int64_t count) {
    void* block = blocks::acquire(count * info(dtype).size);
    if (!block) throw std::bad_alloc();
    return {static_cast<char*>(block), count, nullptr, dtype, false};
}

}  // namespace

void register_eager_type(py::handle type, std::unique_ptr<EagerExchange> exchange) {
    registered() = {py::reinterpret_borrow<py::object>(type), std::move(exchange)};
}

EagerTensors::~EagerTensors() {
    if (!Held::unwinding()) return;
    for (py::object& kept : kept_) kept.release();
}

bool EagerTensors::keep(PyObject* item) {
    if (item == Py_None) {
        places_.push_back(-1);
        return true;
    }
    if (Py_TYPE(item) != reinterpret_cast<PyTypeObject*>(registered().type.ptr())) return false;
    places_.push_back(static_cast<int>(kept_.size()));
    kept_.push_back(py::reinterpret_borrow<py::object>(item));
    return true;
}

bool EagerTensors::read() {
    buffers.reserve(kept_.size());
    return registered().exchange->read(kept_, buffers);
}

bool EagerTensors::add(py::handle items) {
    const bool is_list = PyList_CheckExact(items.ptr());
    if (!registered().exchange || !(is_list || PyTuple_CheckExact(items.ptr()))) return false;
    const auto most = static_cast<std::size_t>(PySequence_Fast_GET_SIZE(items.ptr()));
    kept_.reserve(most);
    places_.reserve(most);
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.ptr()); ++i)
        if (!keep(PySequence_Fast_GET_ITEM(items.ptr(), i))) return false;
    return read();
}

bool EagerTensors::add_one(py::handle item) { return registered().exchange && keep(item.ptr()) && read(); }

py::object EagerTensors::make_scalar(double value, DType dtype, py::handle context) const {
    const Buffer block = acquire(dtype, 1);
    store(value, block);
    return registered().exchange->make(block, kept_[0].ptr(), EagerExchange::Shape::none, context.ptr());
}

Results::Results(const EagerTensors& like) : like_(like) {
    buffers.reserve(like.buffers.size());
    for (const Buffer& b : like.buffers) buffers.push_back(acquire(b.dtype, b.count));
}

Results::~Results() {
    for (std::size_t i = given_; i < buffers.size(); ++i) blocks::release(buffers[i].data);
}

py::list Results::tensors(py::handle context) {
    py::list all(like_.places_.size());
    for (std::size_t i = 0; i < like_.places_.size(); ++i) {
        if (like_.places_[i] < 0) {
            all[i] = py::none();
            continue;
        }
        const std::size_t place = given_++;  // places are in order
        all[i] = registered().exchange->make(buffers[place], like_.kept_[place].ptr(), EagerExchange::Shape::same,
                                             context.ptr());
    }
    return all;
}

}  // namespace fastclip
