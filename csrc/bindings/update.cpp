// SPDX-License-Identifier: BSD-3-Clause
// The verb over two lists of arrays. NotImplemented: something in them is not plain, and nothing has been touched.
#include "engine/update.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/calls.hpp"
#include "bindings/module.hpp"
#include "bindings/rules.hpp"
#include "engine/overlap.hpp"
#include "engine/plan.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

bool repeats(const std::vector<Buffer>& list) {
    return std::any_of(list.begin(), list.end(), [](const Buffer& b) { return b.repeat; });
}

// Whether no array that is written shares memory with any other of both lists.
bool apart(const Gathered& written, const Gathered& read) {
    std::vector<Buffer> all = written.buffers;
    all.insert(all.end(), read.buffers.begin(), read.buffers.end());
    return mark_repeats(all) && !repeats(all);
}

// The norm of the difference; None if it is not finite and the rule is to raise.
py::object clip_update_list(py::handle now, py::handle before, double limit, const RuleRecord& rule, bool vetted) {
    Gathered written, read;
    if (!Gathered::add_pairs(written, read, now.ptr(), before.ptr()) || !(vetted || apart(written, read)))
        return py::reinterpret_borrow<py::object>(Py_NotImplemented);
    if (vetted) mark_repeats(written.buffers);
    std::vector<PyObject*> held(written.arrays().begin(), written.arrays().end());
    held.insert(held.end(), read.arrays().begin(), read.arrays().end());
    const bool may_release = written.can_hold() && read.can_hold();
    Outcome outcome = {};
    serve(may_release ? gil_for(2 * total_bytes(written.buffers)) : Gil::keep, held,
          [&] { outcome = clip_update(written.buffers, read.buffers, rule.request(limit)); });
    if (outcome.nonfinite) return py::none();
    return py::float_(outcome.norm);
}

}  // namespace

void bind_update(py::module_& m) { m.def("clip_update_list", &clip_update_list); }

}  // namespace fastclip
