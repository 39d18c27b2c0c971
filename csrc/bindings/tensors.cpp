// SPDX-License-Identifier: BSD-3-Clause
#include "bindings/tensors.hpp"

#include <pybind11/numpy.h>

#include <algorithm>
#include <optional>
#include <unordered_set>
#include <utility>

#include "bindings/arrays.hpp"
#include "bindings/module.hpp"
#include "engine/ops.hpp"
#include "engine/overlap.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

// DLPackExchangeAPI of DLPack 1.3, after its public specification. The functions that fastclip does not call keep
// their place.
struct ExchangeApi {
    std::uint32_t major, minor;
    ExchangeApi* previous;
    void *allocate, *managed_from_object;
    int (*managed_to_object)(DLManagedTensorVersioned* tensor, void** object);  // takes the tensor over
    int (*tensor_from_object)(void* object, DLTensor* out);                     // lends; nonzero with a Python error
    int (*current_stream)(std::int32_t device_type, std::int32_t device, void** stream);
};

constexpr const char* kCapsule = "dlpack_exchange_api";

struct Registered {
    PyTypeObject* type;  // owned
    const ExchangeApi* api;
    // The descriptor of that attribute, owned: to look it up for each tensor costs more than to call it.
    PyObject* grad;
};

std::vector<Registered>& registered() {  // torch.Tensor and torch.nn.Parameter; never destroyed
    static auto* types = new std::vector<Registered>;
    return *types;
}

const Registered* find(PyTypeObject* type) {
    for (const Registered& r : registered())
        if (r.type == type) return &r;
    return nullptr;
}

py::object grad_of(PyObject* owner) {
    const Registered* known = find(Py_TYPE(owner));
    PyObject* value =
        known ? Py_TYPE(known->grad)->tp_descr_get(known->grad, owner, nullptr) : PyObject_GetAttrString(owner, "grad");
    if (!value) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(value);
}

std::optional<DType> dtype_of(DLDataType type) {
    for (int i = 0; i < kDTypes; ++i) {
        const DLDataType known = dlpack_type(static_cast<DType>(i));
        if (type.code == known.code && type.bits == known.bits && type.lanes == 1) return static_cast<DType>(i);
    }
    return std::nullopt;
}

}  // namespace

bool describe(const DLTensor& t, Buffer& buffer, std::unique_ptr<Layout>& layout) {
    const std::optional<DType> dtype = dtype_of(t.dtype);
    if (!dtype || t.ndim < 0 || t.ndim > kMaxDims) return false;
    const std::int64_t size = info(*dtype).size;
    std::int64_t count = 1;
    bool c_order = true;
    for (int d = t.ndim - 1; d >= 0; --d) {
        c_order = c_order && (!t.strides || t.shape[d] == 1 || t.strides[d] == count);
        count *= t.shape[d];
    }
    char* data = static_cast<char*>(t.data) + t.byte_offset;
    if (count > 0 && !t.data) return false;  // fake, or zeros that nobody has stored
    buffer = {data, count, nullptr, *dtype, false};
    const bool aligned = reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(size) == 0;
    if (count == 0 || (c_order && aligned)) return true;
    py::ssize_t shape[kMaxDims], strides[kMaxDims];
    std::int64_t dense = size;
    for (int d = t.ndim - 1; d >= 0; --d) {
        shape[d] = t.shape[d];
        strides[d] = t.strides ? t.strides[d] * size : dense;
        dense *= t.shape[d];
    }
    layout = std::make_unique<Layout>();
    if (make_layout({t.ndim, shape, strides}, kAllAxes, size, *layout) && aligned)
        layout.reset();
    else
        buffer.layout = layout.get();
    return true;
}

bool register_tensor_type(py::handle type) {
#ifdef Py_GIL_DISABLED
    return false;  // nothing keeps another thread from taking the memory away: NumPy's arrays hold it
#endif
    if (!PyType_Check(type.ptr()) || !py::hasattr(type, "__dlpack_c_exchange_api__")) return false;
    const py::object capsule = type.attr("__dlpack_c_exchange_api__");
    if (!PyCapsule_IsValid(capsule.ptr(), kCapsule)) return false;
    const auto* api = static_cast<const ExchangeApi*>(PyCapsule_GetPointer(capsule.ptr(), kCapsule));
    if (api->major != 1 || !api->tensor_from_object || !api->managed_to_object) return false;
    py::object grad = type.attr("grad");
    if (!Py_TYPE(grad.ptr())->tp_descr_get || !Py_TYPE(grad.ptr())->tp_descr_set) return false;
    if (find(reinterpret_cast<PyTypeObject*>(type.ptr()))) return true;
    PyObject* owned = py::reinterpret_borrow<py::object>(type).release().ptr();
    registered().push_back({reinterpret_cast<PyTypeObject*>(owned), api, grad.release().ptr()});
    return true;
}

bool current_stream(std::int32_t device_type, std::int32_t device, void** stream) {
    return registered()[0].api->current_stream(device_type, device, stream) == 0;
}

// Over memory of its own: 0.4 us, where torch.scalar_tensor takes 1.2.
py::object make_scalar(double value, DType dtype) {
    if (registered().empty()) return py::make_tuple(value, static_cast<int>(dtype));
    struct Scalar {
        DLManagedTensorVersioned managed;
        double value;
    };
    auto* scalar = new Scalar{};
    scalar->managed.major = 1;
    scalar->managed.minor = 0;
    scalar->managed.deleter = [](DLManagedTensorVersioned* self) { delete reinterpret_cast<Scalar*>(self); };
    scalar->managed.tensor = {&scalar->value, {1, 0}, 0, dlpack_type(dtype), nullptr, nullptr, 0};
    store(value, {reinterpret_cast<char*>(&scalar->value), 1, nullptr, dtype, false});
    void* object = nullptr;
    if (registered()[0].api->managed_to_object(&scalar->managed, &object) != 0) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(static_cast<PyObject*>(object));
}

bool Tensors::add_tensor(PyObject* tensor) {
    Buffer buffer;
    std::unique_ptr<Layout> layout;
    if (const Registered* known = find(Py_TYPE(tensor))) {
        DLTensor t;
        if (known->api->tensor_from_object(tensor, &t) != 0) {  // sparse, quantized, under a transformation, ...
            PyErr_Clear();
            return false;
        }
        if (!is_here(t.device) || !describe(t, buffer, layout)) return false;
    } else if (registered().empty() && Py_TYPE(tensor) == py::detail::npy_api::get().PyArray_Type_) {
        const auto* array = py::detail::array_proxy(tensor);
        const std::optional<DType> dtype = dtype_of(array);
        if (!dtype || !(array->flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_)) return false;
        std::int64_t count = 1;
        for (int d = 0; d < array->nd; ++d) count *= array->dimensions[d];
        if (count > 0) layout = layout_of(array, info(*dtype).size);
        buffer = {array->data, count, layout.get(), *dtype, false};
    } else {
        return false;
    }
    if (layout) layouts_.push_back(std::move(layout));
    buffers.push_back(buffer);
    return true;
}

bool Tensors::is_here(DLDevice device) {
    if (device_ < 0) device_ = device.id;
    return device.type == device_type_ && device.id == device_;
}

void Tensors::drop_repeated_owners() {
    std::unordered_set<PyObject*> seen;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < buffers.size(); ++i)
        if (seen.insert(owners_[i]).second) buffers[kept++] = buffers[i];
    buffers.resize(kept);
}

bool Tensors::add(PyObject* list, bool gradients) {
    if (!PyList_CheckExact(list)) return false;
    const auto most = static_cast<std::size_t>(PyList_GET_SIZE(list));
    owners_.reserve(most);
    tensors_.reserve(owners_.capacity());
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); ++i) {
        const auto owner = py::reinterpret_borrow<py::object>(PyList_GET_ITEM(list, i));
        py::object tensor = gradients ? grad_of(owner.ptr()) : owner;
        if (gradients && tensor.is_none()) continue;
        tensors_.push_back(std::move(tensor));
        owners_.push_back(owner.ptr());
    }
    // From here on nothing runs that could be anybody's Python, until the caller has done with the buffers.
    buffers.reserve(tensors_.size());
    for (const py::object& tensor : tensors_)
        if (!add_tensor(tensor.ptr())) return false;
    if (!mark_repeats(buffers)) return false;
    const bool repeats = std::any_of(buffers.begin(), buffers.end(), [](const Buffer& b) { return b.repeat; });
    if (repeats && gradients) drop_repeated_owners();
    return true;
}

py::list Tensors::tensors() const {
    py::list all(tensors_.size());
    for (std::size_t i = 0; i < tensors_.size(); ++i) all[i] = tensors_[i];
    return all;
}

}  // namespace fastclip
