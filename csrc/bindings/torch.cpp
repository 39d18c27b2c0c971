// SPDX-License-Identifier: BSD-3-Clause
// torch.nn.utils' verbs over lists of tensors. NotImplemented: something is not plain, and nothing has been touched.
// The GIL is kept throughout, see Tensors.
#include <algorithm>
#include <cmath>
#include <optional>

#include "bindings/calls.hpp"
#include "bindings/module.hpp"
#include "bindings/tensors.hpp"
#include "core/rounding.hpp"
#include "core/torch_rule.hpp"
#include "engine/in_place.hpp"
#include "engine/ops.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

py::object not_implemented() { return py::reinterpret_borrow<py::object>(Py_NotImplemented); }

void count_call() { calls_served.fetch_add(1, std::memory_order_relaxed); }

std::optional<Power> power_of(double p) {
    if (p == 2.0) return Power::two;
    if (p == 1.0) return Power::one;
    if (p == HUGE_VAL) return Power::infinite;
    return std::nullopt;
}

// What torch promotes the dtypes to.
DType common_dtype(const std::vector<Buffer>& buffers) {
    DType common = buffers[0].dtype;
    for (const Buffer& b : buffers) {
        if (b.dtype == common) continue;
        const bool wider = b.dtype == DType::f64 || common == DType::f64;
        common = wider ? DType::f64 : DType::f32;  // of f16 and bf16, too
    }
    return common;
}

template <class T>  // Half, Brain or float
double torch_coefficient_of(double norm, double max_norm) {
    const auto to_dtype = [](double x) { return static_cast<double>(rounded<T>(static_cast<float>(x))); };
    return torch_coefficient_narrow(norm, static_cast<double>(static_cast<float>(max_norm)), to_dtype);
}

// `norm` is a number of the dtype.
double torch_coefficient(DType dtype, double norm, double max_norm) {
    switch (dtype) {
        case DType::f16:
            return torch_coefficient_of<Half>(norm, max_norm);
        case DType::bf16:
            return torch_coefficient_of<Brain>(norm, max_norm);
        case DType::f32:
            return torch_coefficient_of<float>(norm, max_norm);
        default:
            return torch_coefficient_f64(norm, max_norm);
    }
}

// The norm of a list: exact in f64, then rounded to the dtype.
struct TotalNorm {
    DType dtype;
    double exact, value;
    bool torch_overflows;  // f64 alone: its squares leave the range there, and torch's norm is infinite

    TotalNorm(InPlace& list, const std::vector<Buffer>& buffers, Power power)
        : dtype(common_dtype(buffers)), exact(list.norm(power)), value(round_to_dtype(dtype, exact)) {
        torch_overflows = dtype == DType::f64 && power == Power::two && !std::isfinite(exact * exact);
    }

    bool nonfinite() const { return !std::isfinite(exact) || torch_overflows; }

    double coefficient(double max_norm) const {
        // finite gradients whose norm the dtype can't hold: torch makes zeros of them
        const bool beyond = std::isinf(value) && std::isfinite(exact);
        return beyond ? torch_coefficient(DType::f64, exact, max_norm) : torch_coefficient(dtype, value, max_norm);
    }

    py::tuple with(py::object answer) const { return py::make_tuple(make_scalar(value, dtype), std::move(answer)); }
};

bool gather(Tensors& list, py::handle items, bool gradients) {
    return list.add(items.ptr(), gradients) && !list.buffers.empty();
}

// The list, and what its norm is of order 2, 1 or infinity; torch refuses the largest magnitude of nothing.
std::optional<Power> gather_for_norm(Tensors& list, py::handle items, bool gradients, double norm_type) {
    const auto power = power_of(norm_type);
    if (!power || !gather(list, items, gradients)) return std::nullopt;
    const auto empty = [](const Buffer& b) { return b.count == 0; };
    if (power == Power::infinite && std::any_of(list.buffers.begin(), list.buffers.end(), empty)) return std::nullopt;
    count_call();
    return power;
}

py::list written(const Tensors& list, double coefficient) { return coefficient == 1.0 ? py::list() : list.tensors(); }

// (norm, whether it is finite, it in f64 before it was rounded, bytes, whether memory is listed twice, the largest
// number that all dtypes hold)
py::object py_tensors_norm(py::handle items, bool gradients, double norm_type) {
    Tensors list;
    const auto power = gather_for_norm(list, items, gradients, norm_type);
    if (!power) return not_implemented();
    InPlace pass(list.buffers);
    const TotalNorm norm(pass, list.buffers, *power);
    std::int64_t bytes = 0;
    bool repeats = false;
    double held = info(norm.dtype).largest;
    for (const Buffer& b : list.buffers) {
        bytes += b.count * info(b.dtype).size;
        repeats = repeats || b.repeat;
        held = std::min(held, info(b.dtype).largest);
    }
    return py::make_tuple(make_scalar(norm.value, norm.dtype), !norm.nonfinite(), norm.exact, bytes, repeats, held);
}

// (norm, tensors that were written); None instead of these if the norm is not finite and that is an error.
py::object py_tensors_clip(py::handle items, bool gradients, double max_norm, double norm_type, bool raise) {
    Tensors list;
    const auto power = gather_for_norm(list, items, gradients, norm_type);
    if (!power) return not_implemented();
    InPlace pass(list.buffers);
    const TotalNorm norm(pass, list.buffers, *power);
    if (raise && norm.nonfinite()) return norm.with(py::none());
    const double c = norm.coefficient(max_norm);
    pass.scale(c);
    return norm.with(written(list, c));  // to make a tensor lets go of the GIL
}

// The tensors that were written, by the coefficient of a norm of that dtype.
py::object py_tensors_scale(py::handle items, bool gradients, double max_norm, double norm, int dtype) {
    Tensors list;
    if (!gather(list, items, gradients)) return not_implemented();
    count_call();
    const double c = torch_coefficient(static_cast<DType>(dtype), norm, max_norm);
    InPlace(list.buffers).scale(c);
    return written(list, c);
}

// The tensors, whose values beyond -bound and bound are brought there. torch refuses a bound that a dtype can't hold.
py::object py_tensors_clamp(py::handle items, bool gradients, double bound) {
    Tensors list;
    if (bound < 0.0 || !gather(list, items, gradients)) return not_implemented();
    for (const Buffer& b : list.buffers)
        if (bound > info(b.dtype).largest && !std::isinf(bound)) return not_implemented();
    count_call();
    clamp_list(list.buffers, {}, -bound, bound);
    return list.tensors();
}

}  // namespace

void bind_torch(py::module_& m) {
    m.def("register_tensor_type", &register_tensor_type);
    m.def("tensors_norm", &py_tensors_norm);
    m.def("tensors_clip", &py_tensors_clip);
    m.def("tensors_scale", &py_tensors_scale);
    m.def("tensors_clamp", &py_tensors_clamp);
}

}  // namespace fastclip
