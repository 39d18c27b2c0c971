// SPDX-License-Identifier: BSD-3-Clause
// Compiled once per ISA, with FASTCLIP_ISA naming it: the table of that ISA's kernels.

#include "kernels/reduce.hpp"
#include "kernels/rows.hpp"
#include "kernels/transform.hpp"
#include "kernels/update.hpp"

#define FASTCLIP_JOIN2(a, b) a##b
#define FASTCLIP_JOIN(a, b) FASTCLIP_JOIN2(a, b)
#define FASTCLIP_TEXT2(a) #a
#define FASTCLIP_TEXT(a) FASTCLIP_TEXT2(a)

namespace fastclip {
namespace {

template <class T>
constexpr Kernels kernels() {
    return {
        [](const void* x, std::int64_t n, double by) { return sumsq(static_cast<const T*>(x), n, by); },
        [](const void* const(&x)[4], std::int64_t n, Partial* to, const Waiting* waiting) {
            const T* const four[] = {static_cast<const T*>(x[0]), static_cast<const T*>(x[1]),
                                     static_cast<const T*>(x[2]), static_cast<const T*>(x[3])};
            sumsq_four(four, n, to, waiting);
        },
        [](const void* x, std::int64_t n) { return sumabs(static_cast<const T*>(x), n); },
        [](const void* x, std::int64_t n) { return maxabs(static_cast<const T*>(x), n); },
        [](const void* x, std::int64_t n) { return counts(static_cast<const T*>(x), n); },
        [](void* dst, const void* src, std::int64_t n, const Product& c, Walk walk) {
            scale(static_cast<T*>(dst), static_cast<const T*>(src), n, c, walk);
        },
        [](void* dst, const void* src, std::int64_t n, double lo, double hi, Walk walk) {
            clamp(static_cast<T*>(dst), static_cast<const T*>(src), n, lo, hi, walk);
        },
        [](void* dst, const void* src, std::int64_t n, const void* lo, const void* hi, Walk walk) {
            clamp_between(static_cast<T*>(dst), static_cast<const T*>(src), n, static_cast<const T*>(lo),
                          static_cast<const T*>(hi), walk);
        },
        [](const void* x, std::int64_t n, double lo, double hi, Walk walk) {
            return first_outside(static_cast<const T*>(x), n, lo, hi, walk);
        },
        [](void* x, std::int64_t n) { drop_nonfinite(static_cast<T*>(x), n); },
        [](const void* x, const void* y, std::int64_t n, double by) {
            return update_sumsq(static_cast<const T*>(x), static_cast<const T*>(y), n, by);
        },
        [](void* x, const void* y, std::int64_t n, const Product& c, Walk walk) {
            scale_update(static_cast<T*>(x), static_cast<const T*>(y), n, c, walk);
        },
        [](void* x, const void* y, std::int64_t n) {
            drop_nonfinite_update(static_cast<T*>(x), static_cast<const T*>(y), n);
        },
    };
}

}  // namespace

extern const KernelTable FASTCLIP_JOIN(kernels_, FASTCLIP_ISA);
const KernelTable FASTCLIP_JOIN(kernels_, FASTCLIP_ISA) = {
    FASTCLIP_TEXT(FASTCLIP_ISA),
    {
#define FASTCLIP_KERNELS(tag, type, bits, largest) kernels<type>(),
        FASTCLIP_DTYPES(FASTCLIP_KERNELS)
#undef FASTCLIP_KERNELS
    },
    copy,
};

}  // namespace fastclip
