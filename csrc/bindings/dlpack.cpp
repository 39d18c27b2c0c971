// SPDX-License-Identifier: BSD-3-Clause
// A capsule comes from code that we do not know: every field is checked before it is used.
#include "bindings/dlpack.hpp"

#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "bindings/module.hpp"
#include "core/buffer.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

constexpr const char* kName = "dltensor";
constexpr const char* kNameVersioned = "dltensor_versioned";
constexpr const char* kUsed = "used_dltensor";
constexpr const char* kUsedVersioned = "used_dltensor_versioned";
constexpr const char* kOwner = "fastclip.dlpack";

enum Device { kCpu = 1, kCudaHost = 3, kRocmHost = 11 };                // readable by a CPU without further ado
enum Code { kInt = 0, kUInt = 1 };                                      // beside the floats: those that NumPy has
enum Flag : std::uint64_t { kReadOnly = 1, kCopied = 2, kPadded = 4 };  // kPadded is for types below a byte

// A consumed tensor. Its deleter is called once, with the GIL: here, or by the array's base that it is moved to.
class Tensor {
  public:
    explicit Tensor(DLManagedTensor* legacy) : legacy_(legacy) {}
    explicit Tensor(DLManagedTensorVersioned* versioned) : versioned_(versioned) {}
    Tensor(Tensor&& other) noexcept
        : legacy_(std::exchange(other.legacy_, nullptr)), versioned_(std::exchange(other.versioned_, nullptr)) {}
    ~Tensor() {
        if (legacy_ && legacy_->deleter) legacy_->deleter(legacy_);
        if (versioned_ && versioned_->deleter) versioned_->deleter(versioned_);
    }

    const DLTensor& get() const {
        if (!versioned_) return legacy_->tensor;
        if (versioned_->major != 1)  // what follows may have another form
            throw py::type_error("has DLPack version " + std::to_string(versioned_->major) + "; expected 1");
        return versioned_->tensor;
    }

    const char* why_read_only() const {
        if (!versioned_) return "its DLPack capsule has no version and cannot say that it may be written";
        if (versioned_->flags & kReadOnly) return "DLPack marks it read-only";
        if (versioned_->flags & kCopied) return "DLPack lends a copy of it";  // what is written there is lost
        return "";
    }

  private:
    DLManagedTensor* legacy_ = nullptr;
    DLManagedTensorVersioned* versioned_ = nullptr;
};

Tensor consume(py::handle object) {
    PyObject* capsule = object.ptr();
    if (!PyCapsule_CheckExact(capsule))
        throw py::type_error(std::string("gives ") + Py_TYPE(capsule)->tp_name + " for a DLPack capsule");
    if (PyCapsule_IsValid(capsule, kNameVersioned)) {
        void* tensor = PyCapsule_GetPointer(capsule, kNameVersioned);
        if (PyCapsule_SetName(capsule, kUsedVersioned) != 0) throw py::error_already_set();
        return Tensor(static_cast<DLManagedTensorVersioned*>(tensor));
    }
    if (PyCapsule_IsValid(capsule, kName)) {
        void* tensor = PyCapsule_GetPointer(capsule, kName);
        if (PyCapsule_SetName(capsule, kUsed) != 0) throw py::error_already_set();
        return Tensor(static_cast<DLManagedTensor*>(tensor));
    }
    if (PyCapsule_IsValid(capsule, kUsed) || PyCapsule_IsValid(capsule, kUsedVersioned))
        throw py::value_error("gives a DLPack capsule that has been used already");
    throw py::type_error("gives a capsule that is not DLPack's");
}

py::dtype dtype_of(DLDataType type, py::handle bfloat16) {
    if (type.lanes != 1) throw py::type_error("has DLPack vectors of " + std::to_string(type.lanes) + " as elements");
    if (type.code == kDLBfloat && type.bits == 16) return py::dtype::from_args(bfloat16());
    const bool is_float = type.code == kDLFloat && (type.bits == 16 || type.bits == 32 || type.bits == 64);
    const bool is_int = (type.code == kInt || type.code == kUInt) &&
                        (type.bits == 8 || type.bits == 16 || type.bits == 32 || type.bits == 64);
    if (!is_float && !is_int)
        throw py::type_error("has DLPack type code " + std::to_string(type.code) + " of " + std::to_string(type.bits) +
                             " bits; expected float16, bfloat16, float32 or float64");
    const char kind = type.code == kDLFloat ? 'f' : type.code == kInt ? 'i' : 'u';
    return py::dtype(kind + std::to_string(type.bits / 8));
}

struct Overflow : py::value_error {
    Overflow() : py::value_error("has a DLPack shape or strides beyond the address space") {}
};

std::int64_t times(std::int64_t a, std::int64_t b) {
    std::int64_t product;
    if (__builtin_mul_overflow(a, b, &product)) throw Overflow();
    return product;
}

std::int64_t plus(std::int64_t a, std::int64_t b) {
    std::int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) throw Overflow();
    return sum;
}

struct Shape {
    std::vector<py::ssize_t> extent, stride;  // of NumPy: in bytes
    bool empty = false;
    std::int64_t below = 0, above;  // the reach from the first element, in bytes
};

Shape shape_of(const DLTensor& t, std::int64_t itemsize) {
    if (t.ndim < 0 || t.ndim > kMaxDims)
        throw py::value_error("has " + std::to_string(t.ndim) + " DLPack dimensions; expected 0 to 64");
    if (t.ndim > 0 && !t.shape) throw py::value_error("has no DLPack shape");
    Shape shape;
    shape.extent.resize(static_cast<std::size_t>(t.ndim));
    shape.stride.resize(shape.extent.size());
    shape.above = itemsize;
    std::int64_t size = itemsize;  // of the whole, zeros left out: NumPy has the same limit
    for (std::size_t d = shape.extent.size(); d-- > 0;) {
        const std::int64_t n = t.shape[d];
        if (n < 0) throw py::value_error("has " + std::to_string(n) + " in its DLPack shape");
        shape.extent[d] = n;
        shape.stride[d] = t.strides ? times(t.strides[d], itemsize) : size;
        if (n == 0) {
            shape.empty = true;
            continue;
        }
        size = times(size, n);
        const std::int64_t reach = times(shape.stride[d], n - 1);
        if (reach < 0)
            shape.below = plus(shape.below, reach);
        else
            shape.above = plus(shape.above, reach);
    }
    return shape;
}

char* data_of(const DLTensor& t, const Shape& shape) {
    if (shape.empty) return nullptr;
    if (!t.data) throw py::value_error("has no memory: its DLPack data is null");
    constexpr auto kEnd =
        static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());  // of user space and more
    const auto base = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(t.data));
    if (base > kEnd || t.byte_offset > kEnd - base) throw Overflow();
    const auto first = static_cast<std::int64_t>(base + t.byte_offset);
    if (plus(first, shape.below) <= 0) throw Overflow();
    plus(first, shape.above);
    return static_cast<char*>(t.data) + t.byte_offset;
}

void release(PyObject* owner) {
    py::error_scope keep;  // an error may be on its way while arrays go
    delete static_cast<Tensor*>(PyCapsule_GetPointer(owner, kOwner));
}

}  // namespace

py::tuple from_dlpack(py::handle capsule, py::handle bfloat16) {
    Tensor tensor = consume(capsule);
    const DLTensor& t = tensor.get();
    if (t.device.type != kCpu && t.device.type != kCudaHost && t.device.type != kRocmHost)
        throw py::type_error("is on DLPack device type " + std::to_string(t.device.type) +
                             "; expected the CPU's memory");
    const py::dtype dtype = dtype_of(t.dtype, bfloat16);
    const Shape shape = shape_of(t, dtype.itemsize());
    char* data = data_of(t, shape);
    const char* why = tensor.why_read_only();
    py::object owner;
    if (data) {
        auto* moved = new Tensor(std::move(tensor));
        owner = py::reinterpret_steal<py::object>(PyCapsule_New(moved, kOwner, &release));
        if (!owner) {
            delete moved;
            throw py::error_already_set();
        }
    }
    // Without data NumPy makes an empty array of its own, and the tensor goes now.
    py::array array(dtype, shape.extent, data ? shape.stride : std::vector<py::ssize_t>{}, data, owner);
    if (*why) array.attr("flags").attr("writeable") = false;
    return py::make_tuple(array, why);
}

bool is_dlpack(const py::detail::PyArray_Proxy* array) {
    PyObject* base = array->base;
    while (base && PyObject_TypeCheck(base, py::detail::npy_api::get().PyArray_Type_))
        base = py::detail::array_proxy(base)->base;
    return base && PyCapsule_IsValid(base, kOwner);
}

void bind_dlpack(py::module_& m) { m.def("from_dlpack", &from_dlpack); }

}  // namespace fastclip
