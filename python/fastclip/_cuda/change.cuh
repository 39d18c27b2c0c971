// SPDX-License-Identifier: BSD-3-Clause
// Elements in place: op(x) tells whether x has become another. A vector in which none has is not written.
#pragma once

#include "common.cuh"

namespace fastclip {

struct Scale {
    float narrow;
    bool tiny;  // the coefficient no longer keeps f32's 24 bits clear of its subnormal numbers
    bool clip, drop;
    double plain, pre, factor;

    Scale() = default;
    __device__ explicit Scale(const Verdict& verdict)
        : narrow(fastclip::narrow(verdict.by.plain)),
          tiny(verdict.by.plain < kPlainBelow),
          clip(verdict.by.clip),
          drop(verdict.drop),
          plain(verdict.by.plain),
          pre(verdict.by.pre),
          factor(verdict.by.factor) {}

    __device__ float product(float x) const { return tiny ? fastclip::narrow(widen(x) * plain) : multiply(x, narrow); }
    __device__ double product(double x) const { return x * pre * factor; }

    template <class T>
    __device__ bool operator()(T& x) const {  // false: x stays as it is
        if (drop && !is_finite_value(x)) {
            x = 0;
            return true;
        }
        if (clip) x = product(x);
        return clip;
    }
};

template <int D, class Op>
FASTCLIP_INLINE void change_element(typename Element<D>::Stored* at, const Op& op) {
    auto x = Element<D>::load(*at);
    if (op(x)) *at = Element<D>::store(x);
}

template <int D, class Op>
FASTCLIP_INLINE void change_vector(uint4* at, const uint4& v, const Op& op) {
    u32 words[4] = {v.x, v.y, v.z, v.w};
    bool changed = false;
#pragma unroll
    for (u32 i = 0; i < kPerVector<D>; ++i) {
        auto x = Element<D>::load(Element<D>::get(words, i));
        if (op(x)) {
            Element<D>::put(words, i, Element<D>::store(x));
            changed = true;
        }
    }
    if (changed) *at = {words[0], words[1], words[2], words[3]};
}

template <int D, class Op>
FASTCLIP_INLINE void change_run(char* data, u32 count, const Op& op) {
    using Stored = typename Element<D>::Stored;
    const u32 lane = threadIdx.x % kWarp;
    const Split<D> split = Split<D>::of(data, count);
    Stored* head = global(reinterpret_cast<Stored*>(data));
    if (lane < split.head) change_element<D>(head + lane, op);
    uint4* at = global(reinterpret_cast<uint4*>(head + split.head));
    u32 i = lane;
#pragma unroll 1
    for (; i + 3 * kWarp < split.vectors; i += 4 * kWarp) {
        const uint4 a = at[i], b = at[i + kWarp], c = at[i + 2 * kWarp], d = at[i + 3 * kWarp];
        change_vector<D>(at + i, a, op);
        change_vector<D>(at + i + kWarp, b, op);
        change_vector<D>(at + i + 2 * kWarp, c, op);
        change_vector<D>(at + i + 3 * kWarp, d, op);
    }
#pragma unroll 1
    for (; i < split.vectors; i += kWarp) change_vector<D>(at + i, at[i], op);
    if (lane < split.tail) change_element<D>(head + (count - split.tail + lane), op);
}

}  // namespace fastclip
