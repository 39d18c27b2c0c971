// SPDX-License-Identifier: BSD-3-Clause
// The engine's verbs for Python. Each takes the user's own containers; where something in them is not plain it
// returns NotImplemented and has touched nothing.
#include <optional>
#include <string_view>
#include <utility>

#include "bindings/arrays.hpp"
#include "bindings/calls.hpp"
#include "bindings/module.hpp"
#include "bindings/rows.hpp"
#include "bindings/rules.hpp"
#include "engine/ops.hpp"
#include "engine/plan.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

py::object not_implemented() { return py::reinterpret_borrow<py::object>(Py_NotImplemented); }

template <class F>
void compute(const Gathered& src, F&& f) {
    serve(src.can_hold() ? gil_for(total_bytes(src.buffers)) : Gil::keep, src.arrays(), f);
}

RuleRecord make_rule(double slack, std::string_view nonfinite, bool average) {
    constexpr std::pair<std::string_view, Nonfinite> kNames[] = {
        {"propagate", Nonfinite::propagate}, {"nan", Nonfinite::nan},   {"raise", Nonfinite::raise},
        {"skip", Nonfinite::skip},           {"zero", Nonfinite::zero},
    };
    for (const auto& [name, policy] : kNames)
        if (name == nonfinite) return {{slack}, policy, average};
    throw py::value_error("unknown non-finite policy");
}

// In place, or into the plain arrays `out` (None: in place) of the same shapes.
bool gather_both(Gathered& src, Gathered& dst, py::handle arrays, py::handle out, bool vetted) {
    if (out.is_none()) return src.add(arrays.ptr(), Access::write, vetted);
    return src.add(arrays.ptr(), Access::read, vetted) && dst.add(out.ptr(), Access::write, vetted);
}

// The norm; None if elements are not finite and the rule is to raise.
py::object py_clip_list(py::handle arrays, py::handle out, double limit, py::handle use_norm_or_none,
                        const RuleRecord& rule, bool vetted) {
    std::optional<double> use_norm;
    if (!use_norm_or_none.is_none()) use_norm = use_norm_or_none.cast<double>();
    Gathered src, dst;
    if (!gather_both(src, dst, arrays, out, vetted)) return not_implemented();
    Outcome outcome = {};
    compute(src, [&] { outcome = clip_list(src.buffers, dst.buffers, rule.request(limit, use_norm)); });
    if (outcome.nonfinite) return py::none();
    return py::float_(outcome.norm);
}

py::object py_clip_each(py::handle arrays, py::handle out, double limit, const RuleRecord& rule, bool vetted) {
    Gathered src, dst;
    if (!gather_both(src, dst, arrays, out, vetted)) return not_implemented();
    compute(src, [&] { clip_each(src.buffers, dst.buffers, rule.request(limit)); });
    return py::none();
}

// One array, each group of elements that differ only along `axes` by its own norm: in place, or from a dense one to
// another of the same layout.
py::object py_clip_rows(py::handle array, py::handle out, std::uint64_t axes, double limit, const RuleRecord& rule) {
    Gathered src, dst;
    if (!gather_both(src, dst, array, out, true)) return not_implemented();
    const py::handle target = out.is_none() ? array : out;
    RowWalk rows(array.ptr(), src.buffers[0].dtype, axes), results(target.ptr(), src.buffers[0].dtype, axes);
    const bool straight = !out.is_none() && rows.dense();
    compute(src, [&] {
        if (!out.is_none() && !straight) clip_list(src.buffers, dst.buffers, rule.request(kInf));  // a copy
        while (results.next_batch()) {
            if (straight) rows.next_batch();
            clip_each(straight ? rows.batch() : results.batch(), straight ? results.batch() : std::span<const Buffer>{},
                      rule.request(limit));
        }
    });
    return py::none();
}

py::object py_clamp_list(py::handle arrays, py::handle out, double lo, double hi, bool vetted) {
    Gathered src, dst;
    if (!gather_both(src, dst, arrays, out, vetted)) return not_implemented();
    compute(src, [&] { clamp_list(src.buffers, dst.buffers, lo, hi); });
    return py::none();
}

py::object py_norm_list(py::handle arrays) {
    Gathered src;
    if (!src.add(arrays.ptr(), Access::read, true)) return not_implemented();
    double norm = 0.0;
    compute(src, [&] { norm = norm_list(src.buffers); });
    return py::float_(norm);
}

// Into the one element of an array, by our rounding: the caller's may be set otherwise, or flush to zero.
py::object py_norm_into(py::handle array, py::handle out) {
    Gathered src, dst;
    if (!gather_both(src, dst, array, out, true)) return not_implemented();
    compute(src, [&] { store(norm_list(src.buffers), dst.buffers[0]); });
    return py::none();
}

// (norm, sumabs, maxabs, [(norm, sumabs, maxabs, nonfinite, zeros) for each array])
py::object py_measure_list(py::handle arrays) {
    Gathered src;
    if (!src.add(arrays.ptr(), Access::read, true)) return not_implemented();
    ListStats stats = {};
    compute(src, [&] { stats = measure(src.buffers); });
    py::list each;
    for (const BufferStats& s : stats.each)
        each.append(py::make_tuple(s.norm, s.sumabs, s.maxabs, s.nonfinite, s.zeros));
    return py::make_tuple(stats.norm, stats.sumabs, stats.maxabs, each);
}

// (clip, plain, pre, factor) for a sum of squares hi + lo of elements times `scale`: the evaluator, for its tests.
py::tuple py_evaluate(const RuleRecord& rule, double hi, double lo, double scale, double limit, double round) {
    const Coefficient c = coefficient(rule.rule, norm_of({hi, lo}, scale), limit, round);
    return py::make_tuple(c.clip, c.plain, c.pre, c.factor);
}

}  // namespace

void bind_ops(py::module_& m) {
    py::class_<RuleRecord>(m, "Rule").def(py::init(&make_rule), py::arg("slack"), py::arg("nonfinite"),
                                          py::arg("average"));
    m.def("clip_list", &py_clip_list);
    m.def("clip_each", &py_clip_each);
    m.def("clip_rows", &py_clip_rows);
    m.def("clamp_list", &py_clamp_list);
    m.def("norm_list", &py_norm_list);
    m.def("norm_into", &py_norm_into);
    m.def("measure_list", &py_measure_list);
    m.def("evaluate", &py_evaluate);
    m.def("calls", [] { return calls_served.load(); });
}

}  // namespace fastclip
