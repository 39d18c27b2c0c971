// SPDX-License-Identifier: BSD-3-Clause
// How a native call is served: counted, and without the GIL where it is long enough for others to profit.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <span>

namespace fastclip {

inline std::atomic<std::int64_t> calls_served{0};  // not those handed back

// A call on less than 4 MB is too short to let others in.
inline constexpr std::int64_t kBytesToRelease = 4 << 20;

// References that keep arrays alive, and NumPy from resizing them, while the GIL is released: ndarray.resize refuses
// an array that somebody else refers to, as it does one whose buffer is exported, for a tenth of an export's cost and
// for bfloat16, too, which has no buffer.
class Held {
  public:
    explicit Held(std::span<PyObject* const> arrays) : arrays_(arrays) {
        for (PyObject* array : arrays_) Py_INCREF(array);
    }
    ~Held() {
        if (unwinding_) return;  // without the GIL, in a process that is about to end
        for (PyObject* array : arrays_) Py_DECREF(array);
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

    // Python is ending this thread, which no longer has the GIL: destructors leave their references alone.
    static bool unwinding() { return unwinding_; }

    template <class F>  // f must not touch Python
    void without_gil(F&& f) {
        std::exception_ptr failure;
        PyThreadState* thread = PyEval_SaveThread();
        try {
            f();
        } catch (...) {
            failure = std::current_exception();
        }
        // If the interpreter is shutting down, Python ends this thread here (before 3.14), by unwinding its stack. That
        // must not pass through a destructor that takes the GIL, as gil_scoped_release has: it would abort the process.
        unwinding_ = true;
        PyEval_RestoreThread(thread);
        unwinding_ = false;
        if (failure) std::rethrow_exception(failure);
    }

  private:
    std::span<PyObject* const> arrays_;
    static inline thread_local bool unwinding_ = false;
};

enum class Gil { keep, release };

inline Gil gil_for(std::int64_t bytes) { return bytes < kBytesToRelease ? Gil::keep : Gil::release; }

template <class F>
void serve(Gil gil, std::span<PyObject* const> arrays, F&& f) {
    calls_served.fetch_add(1, std::memory_order_relaxed);
#ifndef Py_GIL_DISABLED
    if (gil == Gil::keep) return f();
#else
    (void)gil;
#endif
    Held(arrays).without_gil(f);
}

}  // namespace fastclip
