// SPDX-License-Identifier: BSD-3-Clause
#include "bindings/eager.hpp"

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "bindings/tensors.hpp"
#include "engine/blocks.hpp"
#include "engine/ops.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

constexpr const char* kCapsule = "dltensor";  // of DLPack 0.x, which TensorFlow speaks

struct Registered {
    py::object type, type_number, to_capsule, from_capsule;
    std::vector<long> numbers;

    bool takes(PyObject* tensor) const {
        const auto number = py::reinterpret_steal<py::object>(PyObject_CallOneArg(type_number.ptr(), tensor));
        if (!number) throw py::error_already_set();
        return std::find(numbers.begin(), numbers.end(), PyLong_AsLong(number.ptr())) != numbers.end();
    }
};

Registered& registered() {  // never destroyed
    static auto* const one = new Registered;
    return *one;
}

// TensorFlow may let go of a tensor on any thread, with or without the GIL.
void give_back(DLManagedTensor* self) { blocks::release(self->tensor.data); }

void drop_unused(PyObject* capsule) {
    if (auto* tensor = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, kCapsule)))
        give_back(tensor);
    else
        PyErr_Clear();  // used: it has another name
}

// One block for the elements and, behind them, what describes them.
DLManagedTensor* make(DType dtype, std::int64_t count, const std::int64_t* shape, int ndim) {
    const std::int64_t bytes = count * info(dtype).size;
    const std::int64_t behind = (bytes + blocks::kAlign - 1) / blocks::kAlign * blocks::kAlign;
    const std::int64_t shape_bytes = ndim * static_cast<std::int64_t>(sizeof(std::int64_t));
    auto* data =
        static_cast<char*>(blocks::acquire(behind + static_cast<std::int64_t>(sizeof(DLManagedTensor)) + shape_bytes));
    if (!data) throw std::bad_alloc();
    auto* own_shape = reinterpret_cast<std::int64_t*>(data + behind + sizeof(DLManagedTensor));
    std::copy_n(shape, ndim, own_shape);
    return new (data + behind)
        DLManagedTensor{{data, {1, 0}, ndim, dlpack_type(dtype), own_shape, nullptr, 0}, nullptr, give_back};
}

py::object to_tensor(DLManagedTensor* made, py::handle context) {
    const auto capsule = py::reinterpret_steal<py::object>(PyCapsule_New(made, kCapsule, drop_unused));
    if (!capsule) {
        give_back(made);
        throw py::error_already_set();
    }
    PyObject* const arguments[] = {capsule.ptr(), context.ptr()};
    auto tensor =
        py::reinterpret_steal<py::object>(PyObject_Vectorcall(registered().from_capsule.ptr(), arguments, 2, nullptr));
    if (!tensor) throw py::error_already_set();
    return tensor;
}

}  // namespace

void register_eager_type(py::handle type, py::handle type_number, std::vector<long> numbers, py::handle to_capsule,
                         py::handle from_capsule) {
    registered() = {py::reinterpret_borrow<py::object>(type), py::reinterpret_borrow<py::object>(type_number),
                    py::reinterpret_borrow<py::object>(to_capsule), py::reinterpret_borrow<py::object>(from_capsule),
                    std::move(numbers)};
}

bool EagerTensors::add(py::handle items) {
    const bool is_list = PyList_CheckExact(items.ptr());
    if (!registered().type || !(is_list || PyTuple_CheckExact(items.ptr()))) return false;
    const auto most = static_cast<std::size_t>(PySequence_Fast_GET_SIZE(items.ptr()));
    buffers.reserve(most);
    capsules_.reserve(most);
    tensors_.reserve(most);
    places_.reserve(most);
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.ptr()); ++i) {
        const auto item = py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(items.ptr(), i));
        if (item.is_none()) {
            places_.push_back(-1);
            continue;
        }
        if (Py_TYPE(item.ptr()) != reinterpret_cast<PyTypeObject*>(registered().type.ptr())) return false;
        if (!registered().takes(item.ptr())) return false;
        auto capsule =
            py::reinterpret_steal<py::object>(PyObject_CallOneArg(registered().to_capsule.ptr(), item.ptr()));
        if (!capsule) {  // on no device that DLPack knows
            PyErr_Clear();
            return false;
        }
        const auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), kCapsule));
        if (!managed) throw py::error_already_set();
        Buffer buffer;
        std::unique_ptr<Layout> layout;
        if (managed->tensor.device.type != kCpu || !describe(managed->tensor, buffer, layout) || layout) return false;
        places_.push_back(static_cast<int>(buffers.size()));
        buffers.push_back(buffer);
        tensors_.push_back(&managed->tensor);
        capsules_.push_back(std::move(capsule));
    }
    return true;
}

Results::Results(const EagerTensors& like) : like_(like) {
    made_.reserve(like.buffers.size());
    buffers.reserve(like.buffers.size());
    for (std::size_t i = 0; i < like.buffers.size(); ++i) {
        const Buffer& b = like.buffers[i];
        const DLTensor& t = *like.tensors_[i];
        made_.push_back(make(b.dtype, b.count, t.shape, t.ndim));
        buffers.push_back({static_cast<char*>(made_.back()->tensor.data), b.count, nullptr, b.dtype, false});
    }
}

Results::~Results() {
    for (DLManagedTensor* made : made_)
        if (made) give_back(made);
}

py::list Results::tensors(py::handle context) {
    py::list all(like_.places_.size());
    for (std::size_t i = 0; i < like_.places_.size(); ++i) {
        const int place = like_.places_[i];
        if (place < 0)
            all[i] = py::none();
        else
            all[i] = to_tensor(std::exchange(made_[static_cast<std::size_t>(place)], nullptr), context);
    }
    return all;
}

py::object make_eager_scalar(double value, DType dtype, py::handle context) {
    DLManagedTensor* made = make(dtype, 1, nullptr, 0);
    store(value, {static_cast<char*>(made->tensor.data), 1, nullptr, dtype, false});
    return to_tensor(made, context);
}

}  // namespace fastclip
