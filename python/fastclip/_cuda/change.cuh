// SPDX-License-Identifier: BSD-3-Clause
// Elements in place: op(x) tells whether x has become another. A vector in which none has is not written.
#pragma once

#include "common.cuh"

namespace fastclip {

struct Scale {
    float narrow;
    bool clip, drop;
    double plain, pre, factor;

    Scale() = default;
    __device__ explicit Scale(const Coefficient& by, bool drop = false)
        : narrow(fastclip::narrow(by.plain)),
          clip(by.clip),
          drop(drop),
          plain(by.plain),
          pre(by.pre),
          factor(by.factor) {}
    __device__ explicit Scale(const Verdict& verdict) : Scale(verdict.by, verdict.drop) {}

    // The coefficient no longer keeps f32's 24 bits clear of its subnormal numbers.
    __device__ bool tiny() const { return plain < kPlainBelow; }
    __device__ bool usual() const { return clip && !drop && !tiny(); }
    __device__ float usually(float x) const { return multiply(x, narrow); }
    __device__ double usually(double x) const { return x * pre * factor; }
    __device__ float product(float x) const { return tiny() ? fastclip::narrow(widen(x) * plain) : usually(x); }
    __device__ double product(double x) const { return usually(x); }

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

// What is not a mere product is rare, and made element by element, where they are: in registers, at three branches for
// each, it was six times the machine code of f16.
template <int D>
FASTCLIP_INLINE void change_vector(uint4* at, const uint4& v, const Scale& op) {
    if (!op.usual()) {
#pragma unroll 1  // backwards, or rows_warp spills 80 bytes on sm_103
        for (u32 i = kPerVector<D>; i--;) change_element<D>(reinterpret_cast<typename Element<D>::Stored*>(at) + i, op);
        return;
    }
    u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (u32 i = 0; i < kPerVector<D>; ++i)
        Element<D>::put(words, i, Element<D>::store(op.usually(Element<D>::load(Element<D>::get(words, i)))));
    *at = {words[0], words[1], words[2], words[3]};
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
