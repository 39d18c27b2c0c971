// SPDX-License-Identifier: BSD-3-Clause
// CUDA's driver, as CuPy calls it: a cubin is loaded, and its kernels are launched in the emulator. What a launch must
// keep to is read from the cubin.
#include <elf.h>

#include <cstring>
#include <map>

#include "device.hpp"

using namespace driver;

namespace {

constexpr std::size_t kDefaultShared = 48 * 1024;  // dynamic and static, of a kernel that was not allowed more
constexpr std::size_t kReserved = 1024;            // of each block, which a cubin for sm_90 counts as static

using Launcher = const char* (*)(const char*, const unsigned*, const unsigned*, void**, unsigned, unsigned, unsigned);
std::map<std::string, Launcher> launchers;  // of the kernels that the emulator has

struct Function {
    std::string name;
    std::vector<std::size_t> parameters;  // their sizes
    unsigned threads = 0, cluster = 1;
    std::size_t fixed = 0, dynamic = kDefaultShared;  // bytes of shared memory
};
using Module = std::map<std::string, Function>;
std::map<std::string, std::vector<std::size_t>> parameters;  // of all kernels that were loaded

template <class T>
T at(const char* bytes) {
    T value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
}

// NVIDIA's notes about a kernel. Each has a format, a kind and a number: the value, or how many bytes follow.
void read_notes(Function& f, const char* notes, std::size_t size) {
    enum Format : std::uint8_t { kBytesFollow = 4 };
    enum Kind : std::uint8_t { kThreads = 0x05, kParameter = 0x17, kCluster = 0x3d };
    for (std::size_t i = 0; i + 4 <= size;) {
        const auto kind = at<std::uint8_t>(notes + i + 1);
        const std::size_t follow = at<std::uint8_t>(notes + i) == kBytesFollow ? at<std::uint16_t>(notes + i + 2) : 0;
        const char* value = notes + i + 4;
        if (kind == kThreads) f.threads = at<unsigned>(value);
        if (kind == kCluster) f.cluster = at<unsigned>(value);
        if (kind == kParameter) {  // its place in the list is in bytes 4 and 5, its size above the 18 bits of others
            const std::size_t place = at<std::uint16_t>(value + 4);
            if (f.parameters.size() <= place) f.parameters.resize(place + 1);
            f.parameters[place] = at<unsigned>(value + 8) >> 18;
        }
        i += 4 + follow;
    }
}

Module read(const char* cubin) {
    Module found;
    const auto header = at<Elf64_Ehdr>(cubin);
    const auto section = [&](unsigned i) { return at<Elf64_Shdr>(cubin + header.e_shoff + i * sizeof(Elf64_Shdr)); };
    const char* names = cubin + section(header.e_shstrndx).sh_offset;
    for (unsigned i = 0; i < header.e_shnum; ++i) {
        const Elf64_Shdr s = section(i);
        const std::string name = names + s.sh_name;
        const auto of = [&](const char* kind) { return name.rfind(kind, 0) ? "" : name.substr(std::strlen(kind)); };
        if (const std::string kernel = of(".nv.info."); !kernel.empty())
            read_notes(found[kernel], cubin + s.sh_offset, s.sh_size);
        if (const std::string kernel = of(".nv.shared."); !kernel.empty()) found[kernel].fixed = s.sh_size;
        if (const std::string kernel = of(".text."); !kernel.empty()) found[kernel].name = kernel;
    }
    return found;
}

std::string at_most(std::size_t asked, std::size_t most, const std::string& kernel) {
    return std::to_string(asked) + " bytes of at most " + std::to_string(most) + " of shared memory, in " + kernel;
}

Error check(const Function& f, const unsigned* grid, const unsigned* block, std::size_t shared) {
    const auto refuse = [&](const std::string& why) { return fail(kInvalidValue, f.name + ": " + why); };
    const std::size_t fixed = f.fixed > kReserved ? f.fixed - kReserved : 0;
    if (!grid[0] || grid[0] >> 31 || grid[1] != 1 || grid[2] != 1) return refuse("a grid that is none");
    if (!block[0] || block[1] != 1 || block[2] != 1) return refuse("a block that is none");
    if (f.threads && block[0] > f.threads)
        return refuse(std::to_string(block[0]) + " threads of at most " + std::to_string(f.threads));
    if (grid[0] % f.cluster) return refuse("the grid is no multiple of the cluster");
    if (fixed + shared > f.dynamic) return fail(kInvalidValue, at_most(fixed + shared, f.dynamic, f.name));
    return kSuccess;
}

}  // namespace

DRIVER_API void driver_has_kernel(const char* name, Launcher launcher) { launchers[name] = launcher; }

DRIVER_API const char* driver_parameters(const char* kernel) {  // their sizes, in words
    DRIVER_LOCKED;
    static thread_local std::string sizes;
    sizes.clear();
    for (const std::size_t size : parameters[kernel]) sizes += std::to_string(size) + " ";
    return sizes.c_str();
}

DRIVER_API int cuGetErrorName(int error, const char** text) {
    const std::map<int, const char*> names = {{kInvalidValue, "CUDA_ERROR_INVALID_VALUE"},
                                              {kInvalidHandle, "CUDA_ERROR_INVALID_HANDLE"},
                                              {kNotFound, "CUDA_ERROR_NOT_FOUND"}};
    return *text = names.count(error) ? names.at(error) : "CUDA_ERROR_NOT_SUPPORTED", kSuccess;
}

DRIVER_API int cuGetErrorString(int, const char** text) { return *text = why().c_str(), kSuccess; }
DRIVER_API int cuDriverGetVersion(int* version) { return *version = 13000, kSuccess; }

DRIVER_API int cuModuleLoadData(Module** module, const char* image) {
    if (std::memcmp(image, ELFMAG, SELFMAG)) return fail(kInvalidValue, "what is loaded is no cubin");
    DRIVER_LOCKED;
    *module = new Module(read(image));
    for (const auto& [name, f] : **module) parameters[name] = f.parameters;
    return kSuccess;
}

DRIVER_API int cuModuleUnload(Module* module) {
    DRIVER_LOCKED;
    const Error error = wait_for_all();
    delete module;
    return error;
}

DRIVER_API int cuModuleGetFunction(Function** function, Module* module, const char* name) {
    const auto found = module->find(name);
    if (found == module->end()) return fail(kNotFound, std::string(name) + " is not in the module");
    return *function = &found->second, kSuccess;
}

enum FunctionAttribute { kMaxThreads, kFixedShared, kDynamicShared = 8 };

DRIVER_API int cuFuncGetAttribute(int* value, int attribute, const Function* f) {
    if (attribute != kDynamicShared)
        return fail(kNotSupported, "attribute " + std::to_string(attribute) + " of a kernel");
    return *value = static_cast<int>(f->dynamic), kSuccess;
}

DRIVER_API int cuFuncSetAttribute(Function* f, int attribute, int value) {
    if (attribute != kDynamicShared)
        return fail(kNotSupported, "attribute " + std::to_string(attribute) + " of a kernel");
    if (value > settings().shared) return fail(kInvalidValue, at_most(value, settings().shared, f->name));
    f->dynamic = value;
    return kSuccess;
}

DRIVER_API int cuLaunchKernel(const Function* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                              unsigned bz, unsigned shared, void* stream, void** arguments, void**) {
    if (settings().idle) return kSuccess;
    DRIVER_LOCKED;
    const unsigned grid[] = {gx, gy, gz}, block[] = {bx, by, bz};
    if (const Error error = check(*f, grid, block, shared)) return error;
    const auto found = launchers.find(f->name);
    if (found == launchers.end()) return fail(kNotSupported, "the emulator has no kernel " + f->name);
    const Stream* on = find_stream(stream);
    if (!on) return kInvalidHandle;
    std::vector<std::vector<char>> values;  // as they are now: the caller may write others when this returns
    for (std::size_t i = 0; i < f->parameters.size(); ++i) {
        const char* value = static_cast<const char*>(arguments[i]);
        values.emplace_back(value, value + f->parameters[i]);
    }
    note("launch " + f->name + " " + std::to_string(gx) + " " + std::to_string(bx) + " " + std::to_string(on->handle));
    return put(stream, [=, launcher = found->second, name = f->name]() mutable {
        std::vector<void*> pointers;
        for (auto& value : values) pointers.push_back(value.data());
        const unsigned workers = settings().workers, seed = settings().seed;
        const unsigned grid[] = {gx}, block[] = {bx};
        const std::string said = launcher(name.c_str(), grid, block, pointers.data(), shared, workers, seed);
        if (!said.empty()) fail_later(name + ": " + said);
    });
}
