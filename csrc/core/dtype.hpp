// SPDX-License-Identifier: BSD-3-Clause
// THE list of element types. Everything that must know them all expands it.
#pragma once

#include <cstdint>

// X(tag, C++ type of one element in memory, significand bits that arithmetic on it keeps: f16 and bf16 go by f32, the
//   largest finite number)
#define FASTCLIP_DTYPES(X)            \
    X(f16, Half, 24, 65504.0)         \
    X(bf16, Brain, 24, 0x1.fep127)    \
    X(f32, float, 24, 0x1.fffffep127) \
    X(f64, double, 53, 0x1.fffffffffffffp1023)

namespace fastclip {

struct Half {  // IEEE 754 binary16
    std::uint16_t bits;
};
struct Brain {  // the upper half of an f32: bfloat16
    std::uint16_t bits;
};

enum class DType : std::uint8_t {
#define FASTCLIP_TAG(tag, type, bits, largest) tag,
    FASTCLIP_DTYPES(FASTCLIP_TAG)
#undef FASTCLIP_TAG
        count_
};

inline constexpr int kDTypes = static_cast<int>(DType::count_);

struct DTypeInfo {
    int size;      // bytes of one element
    double round;  // unit roundoff of a product: half the distance from 1 to the next number
    double largest;
};

inline constexpr DTypeInfo kDTypeInfo[kDTypes] = {
#define FASTCLIP_INFO(tag, type, bits, largest) {sizeof(type), 1.0 / static_cast<double>(1ULL << (bits)), largest},
    FASTCLIP_DTYPES(FASTCLIP_INFO)
#undef FASTCLIP_INFO
};

constexpr const DTypeInfo& info(DType dtype) { return kDTypeInfo[static_cast<int>(dtype)]; }

}  // namespace fastclip
