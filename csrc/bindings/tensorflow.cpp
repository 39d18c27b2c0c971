// SPDX-License-Identifier: BSD-3-Clause
// TensorFlow's verbs over eager tensors. NotImplemented: something is not plain. None for the results: all is within
// the limit, and the tensors, which are immutable, may come back as they are.
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>

#include "bindings/calls.hpp"
#include "bindings/eager.hpp"
#include "bindings/module.hpp"
#include "core/tensorflow_rule.hpp"
#include "engine/ops.hpp"
#include "engine/plan.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

py::object not_implemented() { return py::reinterpret_borrow<py::object>(Py_NotImplemented); }

// The tensors hold the memory, so that the GIL may go.
template <class F>
void compute(const EagerTensors& list, F&& f) {
    if (gil_for(total_bytes(list.buffers)) == Gil::keep) return f();
    Held({}).without_gil(f);
}

bool gather(const EagerTensors& list, bool added) {
    if (!added || list.buffers.empty()) return false;
    calls_served.fetch_add(1, std::memory_order_relaxed);
    return true;
}

bool any_nonfinite(const EagerTensors& list) {
    const ListStats stats = measure(list.buffers);
    return std::any_of(stats.each.begin(), stats.each.end(), [](const BufferStats& s) { return s.nonfinite > 0; });
}

double norm_of(const EagerTensors& list) {
    double norm = 0.0;
    compute(list, [&] { norm = norm_list(list.buffers); });
    return norm;
}

DType common_dtype(const EagerTensors& list) {
    DType common = list.buffers[0].dtype;
    for (const Buffer& b : list.buffers)
        if (b.dtype != common) common = b.dtype == DType::f64 || common == DType::f64 ? DType::f64 : DType::f32;
    return common;
}

template <class F>
py::object new_tensors(const EagerTensors& list, py::handle context, F&& fill) {
    Results results(list);
    compute(list, [&] { fill(results.buffers); });
    return results.tensors(context);
}

py::object clipped(const EagerTensors& list, DType dtype, double norm, double limit, py::handle context) {
    const double c = tensorflow_coefficient(dtype, norm, limit);
    if (c == 1.0) return py::none();
    return new_tensors(list, context, [&](std::span<const Buffer> to) { scale_list(list.buffers, to, c); });
}

// The norm of all elements, as a tensor of the dtype that they are promoted to.
py::object py_eager_norm(py::handle items, py::handle context) {
    EagerTensors list;
    if (!gather(list, list.add(items))) return not_implemented();
    const double norm = norm_of(list);
    return list.make_scalar(norm, common_dtype(list), context);
}

// (results, norm). `counted`, where it is not None, are the tensors whose norm counts instead.
py::object py_eager_clip(py::handle items, py::handle counted, double limit, py::handle context) {
    EagerTensors list, others;
    if ((!counted.is_none() && !others.add(counted)) || !gather(list, list.add(items))) return not_implemented();
    const EagerTensors& measured = counted.is_none() ? list : others;
    const DType dtype = common_dtype(list);
    const double norm = norm_of(measured);
    py::object results;
    if (std::isinf(norm) && counted.is_none() && limit >= 0.0 && !any_nonfinite(list)) {  // beyond f64
        const Request request = {{2.0}, limit, Nonfinite::nan, {}};
        results = new_tensors(list, context, [&](std::span<const Buffer> to) { clip_list(list.buffers, to, request); });
    } else {
        results = clipped(list, dtype, norm, limit, context);
    }
    return py::make_tuple(std::move(results), list.make_scalar(norm, dtype, context));
}

// The results for a norm of that dtype.
py::object py_eager_scale(py::handle items, double norm, int dtype, double limit, py::handle context) {
    EagerTensors list;
    if (!gather(list, list.add(items))) return not_implemented();
    return clipped(list, static_cast<DType>(dtype), norm, limit, context);
}

// One tensor by its own norm, divided by its size for an `average`; or by that of `counted`, where it is not None.
py::object py_eager_clip_one(py::handle item, py::handle counted, double limit, bool average, py::handle context) {
    EagerTensors list, other;
    if (!counted.is_none() && !other.add_one(counted)) return not_implemented();
    if (!gather(list, list.add_one(item))) return not_implemented();
    const double norm = norm_of(counted.is_none() ? list : other);
    const double size = average ? static_cast<double>(list.buffers[0].count) : 1.0;
    if (norm <= limit * size) return py::none();
    Request request = {{0.0}, limit, Nonfinite::propagate, norm, average};
    if (std::isinf(norm) && counted.is_none()) request.use_norm.reset();  // beyond f64, perhaps
    const py::object made =
        new_tensors(list, context, [&](std::span<const Buffer> to) { clip_list(list.buffers, to, request); });
    return made[py::int_(0)];
}

// The elements of one tensor between lo and hi.
py::object py_eager_clamp(py::handle item, double lo, double hi, py::handle context) {
    EagerTensors list;
    if (!gather(list, list.add_one(item))) return not_implemented();
    const py::object made =
        new_tensors(list, context, [&](std::span<const Buffer> to) { clamp_list(list.buffers, to, lo, hi); });
    return made[py::int_(0)];
}

void py_register_eager_type(py::handle type, const std::vector<long>& numbers, py::handle type_number,
                            py::handle to_capsule, py::handle from_capsule, const std::vector<std::size_t>& addresses) {
    register_eager_type(type, addresses.empty() ? exchange_capsules(type_number, numbers, to_capsule, from_capsule)
                                                : exchange_handles(numbers, addresses));
}

}  // namespace

void bind_tensorflow(py::module_& m) {
    m.def("register_eager_type", &py_register_eager_type);
    m.def("eager_norm", &py_eager_norm);
    m.def("eager_clip", &py_eager_clip);
    m.def("eager_scale", &py_eager_scale);
    m.def("eager_clip_one", &py_eager_clip_one);
    m.def("eager_clamp", &py_eager_clamp);
}

}  // namespace fastclip
