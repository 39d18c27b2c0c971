// SPDX-License-Identifier: BSD-3-Clause
// A CUDA device over the CPU's memory, for CuPy as it is.
//
// device.cpp has memory, streams and what waits on them, runtime.cpp the functions of CUDA's runtime that CuPy calls,
// modules.cpp those of its driver: what is loaded and launched. Streams are lazy: what is put on one runs when somebody
// waits for it, or never. What is written too late, or freed too early, is then wrong in every run, and not in one of a
// thousand. A test may ask for the opposite, that all runs at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#define DRIVER_API extern "C" __attribute__((visibility("default")))
#define DRIVER_LOCKED const std::lock_guard driver_guard(driver::everything)

namespace driver {

enum Error {  // CUDA's numbers; its runtime and its driver have the same ones
    kSuccess = 0,
    kInvalidValue = 1,
    kInvalidDevice = 101,
    kInvalidHandle = 400,
    kNotFound = 500,
    kNotReady = 600,
    kLaunchFailure = 719,
    kNotSupported = 801,
    kCapturing = 900,
};

struct Settings {
    int multiprocessors = 2, major = 9, shared = 227 * 1024;  // an H100's, but for the number of multiprocessors
    int workers = 1, seed = 0;                                // of the emulator
    int lazy = 1;
    int trusting = 0;  // memory and streams that nobody made here are the device's too
    int idle = 0;      // nothing runs, so that the time of what calls can be taken
};

using Work = std::function<void()>;
using Graph = std::vector<Work>;

struct Stream {
    std::uintptr_t handle = 0;
    bool open = true;
    bool blocking = true;  // it waits for the legacy default stream, and this one for it
    std::deque<Work> waiting;
    std::uint64_t enqueued = 0, done = 0;
    std::shared_ptr<Graph> capture;
};

enum Kind { kHostToDevice = 1, kDeviceToHost, kDeviceToDevice, kByAddresses };

// What frees memory runs all streams, and threads of Python call all of this: one lock.
extern std::recursive_mutex everything;

Settings& settings();
Error fail(Error error, const std::string& why);  // `why` is what an error's text is asked for
const std::string& why();
const char* name_of(int error);
void fail_later(const std::string& why);  // a kernel's mistake: the next call that waits reports it
void note(const std::string& line);       // into the record that tests read

Error allocate(void** p, std::size_t size, bool pinned);
Error release(void* p, bool pinned);
bool on_device(const void* p, std::size_t size);  // all these bytes, in one block
bool is_pinned(const void* p, std::size_t size);
Error copy(void* to, const void* from, std::size_t size, int kind, void* stream);

Stream* find_stream(void* handle);  // or null, which `fail` has a text for
Stream& open_stream(std::uintptr_t handle, bool blocking);
Error put(void* stream, Work work);
void run_until(Stream& stream, std::uint64_t place);
Error wait_for(void* stream);
Error wait_for_all();
Error waited();

}  // namespace driver
