// SPDX-License-Identifier: BSD-3-Clause
// np.clip for what is plain: one call from Python, no containers, no keywords. Whatever NumPy might treat in a way of
// its own is handed back (NotImplemented), untouched.
#include <cmath>
#include <cstdlib>
#include <new>
#include <optional>
#include <utility>

#include "bindings/arrays.hpp"
#include "bindings/calls.hpp"
#include "bindings/module.hpp"
#include "bindings/results.hpp"
#include "core/convert.hpp"
#include "engine/ops.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

using py::detail::npy_api;
using py::detail::PyArray_Proxy;

bool same_form(const PyArray_Proxy* a, const PyArray_Proxy* b) {
    if (a->nd != b->nd || !(a->flags & b->flags & kOrders) || dtype_of(a) != dtype_of(b)) return false;
    for (int d = 0; d < a->nd; ++d)
        if (a->dimensions[d] != b->dimensions[d]) return false;
    return true;
}

bool apart(const Buffer& a, const Buffer& b) { return a.data + bytes(a) <= b.data || b.data + bytes(b) <= a.data; }

double to_dtype(DType dtype, double x) {
    switch (dtype) {
        case DType::f16: {
            Half r;
            round_once(r, x);
            return static_cast<double>(to_f32(r));
        }
        case DType::bf16: {
            Brain r;
            round_once(r, x);
            return static_cast<double>(to_f32(r));
        }
        case DType::f32:
            return static_cast<double>(static_cast<float>(x));
        default:
            return x;
    }
}

// A number that NumPy takes into the elements' own dtype: Python's (no subclass), or a scalar of that dtype. Not NaN,
// and not one that overflows there, for which NumPy warns.
std::optional<double> scalar_bound(PyObject* object, const PyObject* type, DType dtype) {
    double x;
    if (PyFloat_CheckExact(object)) {
        x = PyFloat_AS_DOUBLE(object);
    } else if (PyLong_CheckExact(object)) {
        int overflow;
        const long long whole = PyLong_AsLongLongAndOverflow(object, &overflow);
        if (overflow || std::llabs(whole) > 1ll << 53) return std::nullopt;
        x = static_cast<double>(whole);
    } else if (reinterpret_cast<PyObject*>(Py_TYPE(object)) == type) {
        x = PyFloat_AsDouble(object);
        if (x == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
            return std::nullopt;
        }
    } else {
        return std::nullopt;
    }
    const double r = to_dtype(dtype, x);
    if (std::isnan(r) || (std::isinf(r) && !std::isinf(x))) return std::nullopt;
    return r;
}

PyObject* hand_back() { return Py_NewRef(Py_NotImplemented); }

struct Bounds {
    double lo = -INFINITY, hi = INFINITY;
    const PyArray_Proxy *lows = nullptr, *highs = nullptr;
};

bool read_numbers(PyObject* low, PyObject* high, const PyObject* type, DType dtype, Bounds& bounds) {
    for (const auto& [object, bound] : {std::pair{low, &bounds.lo}, std::pair{high, &bounds.hi}}) {
        if (object == Py_None) continue;
        const std::optional<double> x = scalar_bound(object, type, dtype);
        if (!x) return false;
        // With one bound NumPy calls minimum or maximum, which may give a zero of either sign for two zeros.
        if (*x == 0.0 && (low == Py_None || high == Py_None)) return false;
        *bound = *x;
    }
    if (!(bounds.lo > bounds.hi)) return true;
    bounds.lo = bounds.hi;    // the upper one wins
    return bounds.hi != 0.0;  // whose sign elements of -0.0 would take: not as our clamp has it
}

bool read_bounds(PyObject* low, PyObject* high, const PyArray_Proxy* array, DType dtype, Bounds& bounds) {
    if (low == Py_None && high == Py_None) return false;
    bounds.lows = as_array(low);
    bounds.highs = as_array(high);
    if (bounds.lows && bounds.highs)
        return dense(bounds.lows) && dense(bounds.highs) && same_form(array, bounds.lows) &&
               same_form(array, bounds.highs);
    if (bounds.lows || bounds.highs) return false;
    return read_numbers(low, high, py::detail::array_descriptor1_proxy(array->descr)->typeobj, dtype, bounds);
}

PyObject* float64_type;  // numpy.float64, which the result for a Python float is
PyObject* float32_type;

// A number: NumPy makes a 0-d array of it, and of the result a scalar, which takes it seven times as long.
PyObject* clip_number(PyObject* a, PyObject* low, PyObject* high) {
    const auto* given = reinterpret_cast<PyObject*>(Py_TYPE(a));
    const bool narrow = given == float32_type;
    if (!narrow && !PyFloat_CheckExact(a) && given != float64_type) return hand_back();
    if (low == Py_None && high == Py_None) return hand_back();
    PyObject* type = narrow ? float32_type : float64_type;
    const double x = PyFloat_AsDouble(a);
    Bounds bounds;
    // NaN keeps its sign and payload, as only NumPy knows.
    if (!read_numbers(low, high, type, narrow ? DType::f32 : DType::f64, bounds) || std::isnan(x)) return hand_back();
    PyObject* clipped = PyFloat_FromDouble(x < bounds.lo ? bounds.lo : x > bounds.hi ? bounds.hi : x);
    if (!clipped) return nullptr;
    calls_served.fetch_add(1, std::memory_order_relaxed);
    PyObject* result = PyObject_CallOneArg(type, clipped);
    Py_DECREF(clipped);
    return result;
}

// clip(a, a_min, a_max, out)
PyObject* clip(PyObject*, PyObject* const* args, Py_ssize_t count) {
    if (count != 4) return hand_back();
    const PyArray_Proxy* array = as_array(args[0]);
    if (!array) return args[3] == Py_None ? clip_number(args[0], args[1], args[2]) : hand_back();
    const std::optional<Buffer> src = dense(array);
    Bounds bounds;
    if (!src || !read_bounds(args[1], args[2], array, src->dtype, bounds)) return hand_back();
    if (src->dtype == DType::bf16) return hand_back();  // NumPy's result is float32

    Buffer dst = *src;
    PyObject* result;
    if (args[3] == Py_None) {
        result = new_like(array, bytes(*src));
        if (!result) return nullptr;
        dst.data = py::detail::array_proxy(result)->data;
    } else {
        const PyArray_Proxy* out = as_array(args[3]);
        if (!out || !dense(out) || !same_form(array, out) || !(out->flags & npy_api::NPY_ARRAY_WRITEABLE_))
            return hand_back();
        dst.data = out->data;
        if (dst.data != src->data && !apart(dst, *src)) return hand_back();
        for (const PyArray_Proxy* other : {bounds.lows, bounds.highs})
            if (other && !apart(dst, *dense(other))) return hand_back();
        result = Py_NewRef(args[3]);
    }
    const bool in_place = dst.data == src->data;
    PyObject* held[] = {args[0], result, args[1], args[2]};
    const int arrays = bounds.lows ? 4 : 2;
    const auto work = [&] {
        const std::span<const Buffer> from(&*src, 1), to(&dst, in_place ? 0 : 1);
        if (bounds.lows)
            clamp_between(*src, dst, bounds.lows->data, bounds.highs->data);
        else
            clamp_list(from, to, bounds.lo, bounds.hi);
    };
    try {
        serve(gil_for(bytes(*src)), std::span(held, static_cast<std::size_t>(arrays)), work);
    } catch (const std::bad_alloc&) {
        Py_DECREF(result);
        return PyErr_NoMemory();
    }
    return result;
}

PyMethodDef method = {"clip", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(clip)), METH_FASTCALL,
                      nullptr};

}  // namespace

void bind_clip(py::module_& m) {
    const py::module_ numpy = py::module_::import("numpy");
    float64_type = py::object(numpy.attr("float64")).release().ptr();
    float32_type = py::object(numpy.attr("float32")).release().ptr();
    m.attr("clip") = py::reinterpret_steal<py::object>(PyCFunction_NewEx(&method, nullptr, nullptr));
}

}  // namespace fastclip
