// SPDX-License-Identifier: BSD-3-Clause
// The engine's verbs as custom calls of XLA's, for JAX on the CPU: no Python while they run, on whatever thread of
// XLA's.
#include <cmath>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "bindings/calls.hpp"
#include "bindings/module.hpp"
#include "bindings/rules.hpp"
#include "bindings/xla_ffi.hpp"
#include "engine/ops.hpp"
#include "engine/pages.hpp"
#include "engine/plan.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

using xla::Array;
using xla::CallFrame;

std::optional<DType> dtype_of(const Array& array) {
    switch (array.dtype) {
        case xla::Type::f16:
            return DType::f16;
        case xla::Type::bf16:
            return DType::bf16;
        case xla::Type::f32:
            return DType::f32;
        case xla::Type::f64:
            return DType::f64;
    }
    return std::nullopt;
}

xla::Error* failure(const CallFrame& frame, std::int32_t code, const std::string& message) {
    xla::CreateError error = {sizeof error, nullptr, message.c_str(), code};
    return frame.api->create_error(&error);
}

// XLA asks which version of its interface a handler was made for, and for what it may be used.
xla::Error* describe(const CallFrame& frame) {
    xla::Metadata& about = *reinterpret_cast<xla::MetadataExtension*>(frame.extensions)->metadata;
    if (about.struct_size < offsetof(xla::Metadata, traits) + sizeof about.traits)
        return failure(frame, xla::kInvalidArgument, "fastclip: this XLA is older than its interface 0.1");
    about.version = {sizeof about.version, nullptr, xla::kMajor, xla::kMinor};
    about.traits = 0;
    return nullptr;
}

bool read(const xla::Arrays& list, std::int64_t first, std::vector<Buffer>& buffers) {
    if (first > list.size) return false;
    buffers.reserve(static_cast<std::size_t>(list.size - first));
    for (std::int64_t i = first; i < list.size; ++i) {
        const Array& array = *list.arrays[i];
        const std::optional<DType> dtype = dtype_of(array);
        if (!dtype) return false;
        std::int64_t count = 1;
        for (std::int64_t d = 0; d < array.rank; ++d) count *= array.dims[d];
        buffers.push_back({static_cast<char*>(array.data), count, nullptr, *dtype, false});
    }
    return true;
}

// A limit and a list of dense arrays, and where the results go.
struct Arguments {
    double limit = 0.0;
    std::vector<Buffer> from, to;  // to: empty where XLA has given the results the arguments' memory

    bool read_from(const CallFrame& frame) {
        if (frame.arguments.size < 1) return false;
        const Array& first = *frame.arguments.arrays[0];
        if (first.rank != 0 || (first.dtype != xla::Type::f32 && first.dtype != xla::Type::f64)) return false;
        limit = first.dtype == xla::Type::f32 ? static_cast<double>(*static_cast<const float*>(first.data))
                                              : *static_cast<const double*>(first.data);
        if (!read(frame.arguments, 1, from) || !read(frame.results, 0, to) || from.size() != to.size()) return false;
        bool in_place = true;
        for (std::size_t i = 0; i < from.size(); ++i) {
            if (from[i].count != to[i].count || from[i].dtype != to[i].dtype) return false;
            in_place = in_place && from[i].data == to[i].data;
        }
        if (in_place)
            to.clear();
        else
            prefer_huge_pages(to);  // XLA's results are fresh memory more often than not
        return true;
    }
};

template <class F>  // f() does the work; it may throw std::bad_alloc
xla::Error* handle(const CallFrame* frame, F f) {
    if (frame->extensions && frame->extensions->type == xla::kMetadataExtension) return describe(*frame);
    if (frame->struct_size < sizeof(CallFrame) || frame->stage != xla::kExecute)
        return failure(*frame, xla::kInvalidArgument, "fastclip: a call of a stage that it has nothing to do in");
    try {
        calls_served.fetch_add(1, std::memory_order_relaxed);
        return f();
    } catch (const std::bad_alloc&) {
        return failure(*frame, xla::kResourceExhausted, "fastclip: out of memory");
    }
}

xla::Error* unexpected(const CallFrame& frame) {
    return failure(frame, xla::kInvalidArgument, "fastclip: arguments that the operation does not have");
}

xla::Error* clip_by_global_norm(CallFrame* frame) {
    return handle(frame, [&]() -> xla::Error* {
        Arguments a;
        if (!a.read_from(*frame)) return unexpected(*frame);
        if (!(a.limit >= 0.0))  // optax would turn the gradients round
            return failure(*frame, xla::kInvalidArgument,
                           "clip_by_global_norm: max_norm is " + std::to_string(a.limit) +
                               " in a compiled program; expected a number >= 0.");
        clip_list(a.from, a.to, {kPlainRule, a.limit, Nonfinite::propagate, {}});
        return nullptr;
    });
}

xla::Error* clip_by_block_rms(CallFrame* frame) {
    return handle(frame, [&]() -> xla::Error* {
        Arguments a;
        if (!a.read_from(*frame)) return unexpected(*frame);
        const std::span<const Buffer> from(a.from), to(a.to);
        for (std::size_t i = 0; i < from.size(); ++i) {
            // below 0 nothing is clipped, as in optax
            const double limit = a.limit < 0.0 ? kInf : a.limit * std::sqrt(static_cast<double>(from[i].count));
            clip_list(from.subspan(i, 1), to.empty() ? to : to.subspan(i, 1),
                      {kPlainRule, limit, Nonfinite::propagate, {}});
        }
        return nullptr;
    });
}

xla::Error* clip(CallFrame* frame) {
    return handle(frame, [&]() -> xla::Error* {
        Arguments a;
        if (!a.read_from(*frame)) return unexpected(*frame);
        clamp_list(a.from, a.to, a.limit < 0.0 ? a.limit : -a.limit, a.limit);  // as in NumPy the upper bound wins
        return nullptr;
    });
}

xla::Error* global_norm(CallFrame* frame) {
    return handle(frame, [&]() -> xla::Error* {
        std::vector<Buffer> list, norm;
        if (!read(frame->arguments, 0, list) || !read(frame->results, 0, norm) || norm.size() != 1)
            return unexpected(*frame);
        store(norm_list(list), norm[0]);
        return nullptr;
    });
}

}  // namespace

void bind_xla(py::module_& m) {
    const auto bind = [&](const char* name, xla::Error* (*handler)(CallFrame*)) {
        m.attr(name) = py::capsule(reinterpret_cast<void*>(handler));
    };
    bind("xla_clip", clip);
    bind("xla_clip_by_block_rms", clip_by_block_rms);
    bind("xla_clip_by_global_norm", clip_by_global_norm);
    bind("xla_global_norm", global_norm);
}

}  // namespace fastclip
