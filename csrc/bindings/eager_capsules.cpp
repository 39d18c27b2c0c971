// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <memory>
#include <utility>

#include "bindings/dlpack.hpp"
#include "bindings/eager.hpp"
#include "bindings/tensors.hpp"
#include "engine/blocks.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

constexpr const char* kCapsule = "dltensor";  // of DLPack 0.x, which TensorFlow speaks

struct Made {
    DLManagedTensor tensor;
    std::vector<std::int64_t> shape;
};

// TensorFlow may let go of a tensor on any thread, with or without the GIL.
void give_back(DLManagedTensor* tensor) {
    blocks::release(tensor->tensor.data);
    delete static_cast<Made*>(tensor->context);
}

void drop_unused(PyObject* capsule) {
    if (auto* tensor = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, kCapsule)))
        give_back(tensor);
    else
        PyErr_Clear();  // used: it has another name
}

class Capsules final : public EagerExchange {
  public:
    Capsules(py::handle type_number, std::vector<long> numbers, py::handle to_capsule, py::handle from_capsule)
        : type_number_(py::reinterpret_borrow<py::object>(type_number)),
          to_capsule_(py::reinterpret_borrow<py::object>(to_capsule)),
          from_capsule_(py::reinterpret_borrow<py::object>(from_capsule)),
          numbers_(std::move(numbers)) {}

    bool read(std::vector<py::object>& tensors, std::vector<Buffer>& buffers) const override {
        for (py::object& tensor : tensors) {
            const auto number =
                py::reinterpret_steal<py::object>(PyObject_CallOneArg(type_number_.ptr(), tensor.ptr()));
            if (!number) throw py::error_already_set();
            if (std::find(numbers_.begin(), numbers_.end(), PyLong_AsLong(number.ptr())) == numbers_.end())
                return false;
            tensor = py::reinterpret_steal<py::object>(PyObject_CallOneArg(to_capsule_.ptr(), tensor.ptr()));
            if (!tensor) {  // on no device that DLPack knows
                PyErr_Clear();
                return false;
            }
            const DLTensor& t = described(tensor.ptr());
            Buffer buffer;
            std::unique_ptr<Layout> layout;
            if (t.device.type != kCpu || !describe(t, buffer, layout) || layout) return false;
            buffers.push_back(buffer);
        }
        return true;
    }

    py::object make(const Buffer& block, PyObject* read, Shape shape, PyObject* context) const override {
        std::unique_ptr<void, void (*)(void*)> owner(block.data, blocks::release);
        auto whole = std::make_unique<Made>();
        const DLTensor& like = described(read);
        if (shape == Shape::same) whole->shape.assign(like.shape, like.shape + like.ndim);
        Made* made = whole.release();
        made->tensor = {{owner.release(),
                         {kCpu, 0},
                         static_cast<std::int32_t>(made->shape.size()),
                         dlpack_type(block.dtype),
                         made->shape.data(),
                         nullptr,
                         0},
                        made,
                        give_back};
        const auto capsule = py::reinterpret_steal<py::object>(PyCapsule_New(&made->tensor, kCapsule, drop_unused));
        if (!capsule) {
            give_back(&made->tensor);
            throw py::error_already_set();
        }
        PyObject* const arguments[] = {capsule.ptr(), context};
        auto tensor =
            py::reinterpret_steal<py::object>(PyObject_Vectorcall(from_capsule_.ptr(), arguments, 2, nullptr));
        if (!tensor) throw py::error_already_set();
        return tensor;
    }

  private:
    static const DLTensor& described(PyObject* capsule) {
        const auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, kCapsule));
        if (!managed) throw py::error_already_set();
        return managed->tensor;
    }

    py::object type_number_, to_capsule_, from_capsule_;
    std::vector<long> numbers_;
};

}  // namespace

std::unique_ptr<EagerExchange> exchange_capsules(py::handle type_number, const std::vector<long>& numbers,
                                                 py::handle to_capsule, py::handle from_capsule) {
    return std::make_unique<Capsules>(type_number, numbers, to_capsule, from_capsule);
}

}  // namespace fastclip
