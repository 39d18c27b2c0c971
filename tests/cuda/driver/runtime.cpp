// SPDX-License-Identifier: BSD-3-Clause
// CUDA's runtime, as CuPy calls it. What each function takes is what the headers of CUDA 13 say.
#include <chrono>
#include <cstring>

#include "device.hpp"

using namespace driver;

namespace {

double now() {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Event {
    Stream* stream = nullptr;
    std::uint64_t place = 0;
    std::shared_ptr<double> at;
};

struct PointerAttributes {  // CUDA 13 has more behind, CUDA 12 has not
    int type, device;
    void *on_device, *on_host;
};
enum MemoryType { kUnregistered, kHost, kDevice };

struct Properties {
    char name[256];  // more is not told
};

Error record(Event* event, void* handle) {
    event->at = std::make_shared<double>(0.0);
    const Error error = put(handle, [at = event->at] { *at = now(); });
    event->stream = find_stream(handle);
    event->place = event->stream ? event->stream->enqueued : 0;
    return error;
}

void run(const Event& event) {
    if (event.stream) run_until(*event.stream, event.place);
}

}  // namespace

// ---- the device

DRIVER_API int cudaGetDeviceCount(int* count) { return *count = 1, kSuccess; }
DRIVER_API int cudaGetDevice(int* device) { return *device = 0, kSuccess; }
DRIVER_API int cudaSetDevice(int device) { return device ? fail(kInvalidDevice, "there is device 0 alone") : kSuccess; }
DRIVER_API int cudaGetLastError() { return kSuccess; }
DRIVER_API int cudaRuntimeGetVersion(int* version) { return *version = 13000, kSuccess; }
DRIVER_API int cudaDriverGetVersion(int* version) { return *version = 13000, kSuccess; }
DRIVER_API const char* cudaGetErrorString(int) { return why().c_str(); }

DRIVER_API const char* cudaGetErrorName(int error) {
    static thread_local std::string name;
    return (name = std::string("cudaError") + name_of(error)).c_str();
}

DRIVER_API int cudaDeviceGetAttribute(int* value, int attribute, int) {
    const Settings& s = settings();
    switch (attribute) {
        case 16:
            return *value = s.multiprocessors, kSuccess;
        case 75:
            return *value = s.major, kSuccess;
        case 97:
            return *value = s.shared, kSuccess;
        default:  // fastclip asks for no other
            return *value = 0, kSuccess;
    }
}

DRIVER_API int cudaGetDeviceProperties(Properties* properties, int) {
    std::strcpy(properties->name, "the emulator");
    return kSuccess;
}

DRIVER_API int cudaDeviceSynchronize() {
    DRIVER_LOCKED;
    return wait_for_all();
}

// ---- memory

DRIVER_API int cudaMalloc(void** p, std::size_t size) {
    DRIVER_LOCKED;
    return allocate(p, size, false);
}

DRIVER_API int cudaFree(void* p) {
    DRIVER_LOCKED;
    return release(p, false);
}

DRIVER_API int cudaHostAlloc(void** p, std::size_t size, unsigned) {
    DRIVER_LOCKED;
    return allocate(p, size, true);
}

DRIVER_API int cudaFreeHost(void* p) {
    DRIVER_LOCKED;
    return release(p, true);
}

DRIVER_API int cudaMemGetInfo(std::size_t* left, std::size_t* total) {
    return *left = std::size_t{1} << 30, *total = std::size_t{2} << 30, kSuccess;
}

DRIVER_API int cudaPointerGetAttributes(PointerAttributes* found, void* p) {
    DRIVER_LOCKED;
    const bool device = on_device(p, 1), host = is_pinned(p, 1);
    *found = {device ? kDevice : host ? kHost : kUnregistered, device || host ? 0 : -2, p, device ? nullptr : p};
    return kSuccess;
}

DRIVER_API int cudaMemcpy(void* to, const void* from, std::size_t size, int kind) {
    DRIVER_LOCKED;
    const Error error = copy(to, from, size, kind, nullptr);
    return error ? error : wait_for(nullptr);
}

DRIVER_API int cudaMemcpyAsync(void* to, const void* from, std::size_t size, int kind, void* stream) {
    DRIVER_LOCKED;
    return copy(to, from, size, kind, stream);
}

DRIVER_API int cudaMemsetAsync(void* p, int value, std::size_t size, void* stream) {
    DRIVER_LOCKED;
    if (!on_device(p, size)) return fail(kInvalidValue, "what is filled is not on the device");
    return put(stream, [=] { std::memset(p, value, size); });
}

// ---- streams

DRIVER_API int cudaStreamCreateWithPriority(void** stream, unsigned flags, int) {
    DRIVER_LOCKED;
    static std::uintptr_t handles = 0x10000;  // beyond those that a test names
    Stream& opened = open_stream(++handles, !(flags & 1));
    *stream = reinterpret_cast<void*>(opened.handle);
    return kSuccess;
}

DRIVER_API int cudaStreamCreateWithFlags(void** stream, unsigned flags) {  // which CuPy 13 calls
    return cudaStreamCreateWithPriority(stream, flags, 0);
}

DRIVER_API int cudaStreamDestroy(void* stream) {
    DRIVER_LOCKED;
    Stream* found = find_stream(stream);
    if (!found) return kInvalidHandle;
    run_until(*found, found->enqueued);
    found->open = false;
    return kSuccess;
}

DRIVER_API int cudaStreamSynchronize(void* stream) {
    DRIVER_LOCKED;
    return wait_for(stream);
}

DRIVER_API int cudaStreamWaitEvent(void* stream, const Event* event, unsigned) {
    DRIVER_LOCKED;
    const Stream* found = find_stream(stream);
    if (found && event->stream)
        note("wait " + std::to_string(found->handle) + " " + std::to_string(event->stream->handle));
    return put(stream, [event = *event] { run(event); });
}

// ---- graphs

DRIVER_API int cudaStreamIsCapturing(void* stream, int* status) {
    DRIVER_LOCKED;
    const Stream* found = find_stream(stream);
    *status = found && found->capture;
    return found ? kSuccess : kInvalidHandle;
}

DRIVER_API int cudaStreamBeginCapture(void* stream, int) {
    DRIVER_LOCKED;
    Stream* found = find_stream(stream);
    if (!found || found == find_stream(nullptr)) return fail(kCapturing, "the legacy default stream captures nothing");
    found->capture = std::make_shared<Graph>();
    return kSuccess;
}

DRIVER_API int cudaStreamEndCapture(void* stream, Graph** graph) {
    DRIVER_LOCKED;
    Stream* found = find_stream(stream);
    if (!found || !found->capture) return fail(kInvalidValue, "a stream that captures nothing");
    *graph = new Graph(std::move(*found->capture));
    found->capture = nullptr;
    return kSuccess;
}

DRIVER_API int cudaGraphInstantiate(Graph** executable, const Graph* graph, unsigned long long) {
    return *executable = new Graph(*graph), kSuccess;
}

DRIVER_API int cudaGraphLaunch(const Graph* executable, void* stream) {
    DRIVER_LOCKED;
    for (const Work& work : *executable)
        if (const Error error = put(stream, work)) return error;
    return kSuccess;
}

DRIVER_API int cudaGraphDestroy(Graph* graph) { return delete graph, kSuccess; }
DRIVER_API int cudaGraphExecDestroy(Graph* executable) { return delete executable, kSuccess; }

// ---- events

DRIVER_API int cudaEventCreateWithFlags(Event** event, unsigned) { return *event = new Event, kSuccess; }
DRIVER_API int cudaEventCreate(Event** event) { return cudaEventCreateWithFlags(event, 0); }
DRIVER_API int cudaEventDestroy(Event* event) { return delete event, kSuccess; }

DRIVER_API int cudaEventRecord(Event* event, void* stream) {
    DRIVER_LOCKED;
    return record(event, stream);
}

DRIVER_API int cudaEventQuery(Event* event) {  // nothing has ended that nobody waits for
    DRIVER_LOCKED;
    return event->stream && event->stream->done < event->place ? kNotReady : kSuccess;
}

DRIVER_API int cudaEventSynchronize(const Event* event) {
    DRIVER_LOCKED;
    run(*event);
    return waited();
}

DRIVER_API int cudaEventElapsedTime(float* milliseconds, const Event* from, const Event* to) {
    DRIVER_LOCKED;
    if (!from->at || !to->at) return fail(kInvalidValue, "an event that was never recorded");
    if (from->stream->done < from->place || to->stream->done < to->place) return kNotReady;
    *milliseconds = static_cast<float>(*to->at - *from->at);
    return kSuccess;
}
