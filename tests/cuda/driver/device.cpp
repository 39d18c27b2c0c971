// SPDX-License-Identifier: BSD-3-Clause
#include "device.hpp"

#include <cstdlib>
#include <cstring>
#include <map>
#include <thread>

namespace driver {

std::recursive_mutex everything;

namespace {

constexpr std::size_t kAlignment = 512;
constexpr int kPoison = 0xff;  // NaN in every dtype

struct Block {
    std::size_t size;
    bool pinned;
};

std::map<std::uintptr_t, Block> blocks;
std::map<std::uintptr_t, std::unique_ptr<Stream>> streams;  // by handle; an event may name one that is closed
std::map<std::thread::id, Stream*> of_threads;
std::string message, later, record;

Stream& legacy() { return open_stream(0, true); }

Stream& stream_of_thread() {
    Stream*& found = of_threads[std::this_thread::get_id()];
    if (!found) {
        found = &open_stream(~of_threads.size(), true);
        found->handle = 2;
    }
    return *found;
}

const Block* block_of(const void* p, std::size_t size) {
    const auto at = reinterpret_cast<std::uintptr_t>(p);
    const auto after = blocks.upper_bound(at);
    if (after == blocks.begin()) return nullptr;
    const auto found = std::prev(after);
    return at + size <= found->first + found->second.size ? &found->second : nullptr;
}

void run(Stream& stream) { run_until(stream, stream.enqueued); }

}  // namespace

// ---- what is said

Settings& settings() {
    static Settings here;
    return here;
}

Error fail(Error error, const std::string& why) {
    message = why;
    return error;
}

const std::string& why() { return message; }

const char* name_of(int error) {
    switch (error) {
        case kInvalidValue:
            return "InvalidValue";
        case kInvalidDevice:
            return "InvalidDevice";
        case kInvalidHandle:
            return "InvalidHandle";
        case kNotFound:
            return "NotFound";
        case kNotReady:
            return "NotReady";
        case kLaunchFailure:
            return "LaunchFailure";
        case kCapturing:
            return "StreamCaptureUnsupported";
        default:
            return "NotSupported";
    }
}

void fail_later(const std::string& why) {
    if (later.empty()) later = why;
}

void note(const std::string& line) {
    if (!settings().idle) record += line + "\n";
}

// ---- memory

Error allocate(void** p, std::size_t size, bool pinned) {
    *p = nullptr;
    if (!size) return kSuccess;
    *p = std::aligned_alloc(kAlignment, (size + kAlignment - 1) / kAlignment * kAlignment);
    std::memset(*p, kPoison, size);
    blocks[reinterpret_cast<std::uintptr_t>(*p)] = {size, pinned};
    return kSuccess;
}

Error release(void* p, bool pinned) {
    if (!p) return kSuccess;
    for (auto& [_, stream] : streams) run(*stream);
    const auto found = blocks.find(reinterpret_cast<std::uintptr_t>(p));
    if (found == blocks.end() || found->second.pinned != pinned)
        return fail(kInvalidValue, "what is freed was not allocated");
    std::memset(p, kPoison, found->second.size);
    blocks.erase(found);
    std::free(p);
    return kSuccess;
}

bool on_device(const void* p, std::size_t size) {
    const Block* found = block_of(p, size);
    return found ? !found->pinned : settings().trusting;
}

bool is_pinned(const void* p, std::size_t size) {
    const Block* found = block_of(p, size);
    return found && found->pinned;
}

Error copy(void* to, const void* from, std::size_t size, int kind, void* stream) {
    if (!size) return kSuccess;
    if (kind == kByAddresses) kind = 2 * on_device(from, size) + on_device(to, size);
    if (kind < kHostToDevice || kind > kDeviceToDevice) return fail(kInvalidValue, "a copy of no kind that is known");
    if (kind != kHostToDevice && !on_device(from, size))
        return fail(kInvalidValue, "a copy from what is not on the device");
    if (kind != kDeviceToHost && !on_device(to, size))
        return fail(kInvalidValue, "a copy to what is not on the device");
    if (kind == kHostToDevice) note("upload " + std::to_string(size));
    if (kind == kHostToDevice && !is_pinned(from, size)) {  // pageable memory has been read when the call returns
        const auto* bytes = static_cast<const char*>(from);
        return put(stream,
                   [to, kept = std::vector<char>(bytes, bytes + size)] { std::memcpy(to, kept.data(), kept.size()); });
    }
    const Error error = put(stream, [=] { std::memmove(to, from, size); });
    return error || kind != kDeviceToHost || is_pinned(to, size) ? error : wait_for(stream);
}

// ---- streams

Stream& open_stream(std::uintptr_t handle, bool blocking) {
    auto& found = streams[handle];
    if (!found) found = std::make_unique<Stream>();
    found->handle = handle;
    found->blocking = blocking;
    return *found;
}

Stream* find_stream(void* handle) {
    const auto at = reinterpret_cast<std::uintptr_t>(handle);
    if (at <= 1) return &legacy();
    if (at == 2) return &stream_of_thread();
    const auto found = streams.find(at);
    if (found != streams.end() && found->second->open) return found->second.get();
    if (found == streams.end() && settings().trusting) return &open_stream(at, false);
    fail(kInvalidHandle, "stream " + std::to_string(at) + ", which nobody made");
    return nullptr;
}

void run_until(Stream& stream, std::uint64_t place) {
    while (stream.done < place && !stream.waiting.empty()) {
        const Work work = std::move(stream.waiting.front());
        stream.waiting.pop_front();
        ++stream.done;
        work();
    }
}

Error put(void* handle, Work work) {
    Stream* stream = find_stream(handle);
    if (!stream) return kInvalidHandle;
    if (settings().idle) return kSuccess;
    if (stream->capture) {
        stream->capture->push_back(std::move(work));
        return kSuccess;
    }
    if (stream == &legacy()) {
        for (auto& [_, other] : streams)
            if (other->blocking && other.get() != stream) run(*other);
    } else if (stream->blocking) {
        run(legacy());
    }
    stream->waiting.push_back(std::move(work));
    ++stream->enqueued;
    if (!settings().lazy) run(*stream);
    return kSuccess;
}

Error waited() {
    if (later.empty()) return kSuccess;
    const std::string what = std::move(later);
    later.clear();
    return fail(kLaunchFailure, what);
}

Error wait_for(void* handle) {
    Stream* stream = find_stream(handle);
    if (!stream) return kInvalidHandle;
    if (stream->capture) return fail(kCapturing, "a stream that captures a graph is waited for");
    note("synchronization " + std::to_string(stream->handle));
    if (stream == &legacy())
        for (auto& [_, other] : streams)
            if (other->blocking) run(*other);
    run(*stream);
    return waited();
}

Error wait_for_all() {
    note("synchronization");
    for (auto& [_, stream] : streams) run(*stream);
    return waited();
}

}  // namespace driver

using namespace driver;

// ---- for tests

DRIVER_API Settings* driver_settings() { return &settings(); }

DRIVER_API const char* driver_record() {  // since it was asked for the last time
    DRIVER_LOCKED;
    static std::string taken;
    taken = std::move(record);
    record.clear();
    return taken.c_str();
}

DRIVER_API int driver_refuse(const char* name) {
    return fail(kNotSupported, std::string(name) + " is not in tests/cuda/driver");
}
