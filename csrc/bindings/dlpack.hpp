// SPDX-License-Identifier: BSD-3-Clause
// DLPack's C ABI, after its public specification (versions 0.x and 1.x), and the import of its capsules.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>

#include "core/dtype.hpp"

namespace fastclip {

struct DLDevice {
    std::int32_t type;
    std::int32_t id;
};

struct DLDataType {
    std::uint8_t code;
    std::uint8_t bits;
    std::uint16_t lanes;
};

struct DLTensor {
    void* data;
    DLDevice device;
    std::int32_t ndim;
    DLDataType dtype;
    std::int64_t* shape;
    std::int64_t* strides;  // in elements; null: C order
    std::uint64_t byte_offset;
};

struct DLManagedTensor {  // capsule "dltensor"
    DLTensor tensor;
    void* context;
    void (*deleter)(DLManagedTensor*);
};

struct DLManagedTensorVersioned {  // capsule "dltensor_versioned"; of other major versions only these three are the
                                   // same
    std::uint32_t major, minor;
    void* context;
    void (*deleter)(DLManagedTensorVersioned*);
    std::uint64_t flags;
    DLTensor tensor;
};

inline constexpr std::uint8_t kDLFloat = 2, kDLBfloat = 4;

inline DLDataType dlpack_type(DType dtype) {
    return {dtype == DType::bf16 ? kDLBfloat : kDLFloat, static_cast<std::uint8_t>(8 * info(dtype).size), 1};
}

static_assert(sizeof(DLTensor) == 48 && offsetof(DLManagedTensorVersioned, tensor) == 32);

// Consumes a capsule: (array, why). The array lies over the tensor's memory and calls its deleter when it goes; where
// anything is wrong, the deleter is called at once. `why` says why the array is read-only, and is "" where it is not.
// `bfloat16` is called for that dtype if it is needed.
pybind11::tuple from_dlpack(pybind11::handle capsule, pybind11::handle bfloat16);

// Whether an array's memory is DLPack's: a producer may free it although it is lent (PyTorch: resize_), so nobody may
// run beside a call on it.
bool is_dlpack(const pybind11::detail::PyArray_Proxy* array);

}  // namespace fastclip
