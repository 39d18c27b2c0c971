// SPDX-License-Identifier: BSD-3-Clause
// One array in place, for callers who clip an array at a time: no containers, no record of the rule, none of pybind11's
// dispatch, which would take as long as to clip 1,000 elements.
#include <new>

#include "bindings/arrays.hpp"
#include "bindings/calls.hpp"
#include "bindings/dlpack.hpp"
#include "bindings/module.hpp"
#include "bindings/rules.hpp"
#include "engine/ops.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

// clip_array(array, limit) returns the norm. NotImplemented: nothing has been touched, since the array is not plain, or
// the limit is no float >= 0, or elements are not finite.
PyObject* clip_array(PyObject*, PyObject* const* args, Py_ssize_t count) {
    PyObject* const no = Py_NotImplemented;
    if (count != 2 || !PyFloat_CheckExact(args[1])) return Py_NewRef(no);
    const double limit = PyFloat_AS_DOUBLE(args[1]);
    const auto* array = as_array(args[0]);
    if (!array || !(array->flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_) || !(limit >= 0.0)) return Py_NewRef(no);
    const std::optional<Buffer> buffer = dense(array);
    if (!buffer || is_dlpack(array)) return Py_NewRef(no);
    Outcome outcome = {};
    try {
        serve(gil_for(bytes(*buffer)), std::span(args, 1),
              [&] { outcome = clip_list(std::span(&*buffer, 1), {}, {kPlainRule, limit, Nonfinite::raise, {}}); });
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
    return outcome.nonfinite ? Py_NewRef(no) : PyFloat_FromDouble(outcome.norm);
}

PyMethodDef method = {"clip_array", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(clip_array)),
                      METH_FASTCALL, nullptr};

}  // namespace

void bind_array(py::module_& m) {
    m.attr("clip_array") = py::reinterpret_steal<py::object>(PyCFunction_NewEx(&method, nullptr, nullptr));
}

}  // namespace fastclip
