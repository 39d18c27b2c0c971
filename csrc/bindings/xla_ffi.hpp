// SPDX-License-Identifier: BSD-3-Clause
// What XLA's runtime hands to a custom call: the part of its typed FFI's C ABI that is read here, after the public
// header of version 0.1 to 0.3 (jaxlib 0.6 to 0.11, xla/ffi/api/c_api.h). Fields are only ever appended to these
// structs, and each tells its size, so that a newer runtime serves a handler that asks for 0.1.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastclip::xla {

inline constexpr int kMajor = 0, kMinor = 1;  // the oldest with these structs

struct Extension {
    std::size_t struct_size;
    std::int32_t type;
    Extension* next;
};
inline constexpr std::int32_t kMetadataExtension = 1;

struct Version {
    std::size_t struct_size;
    Extension* extensions;
    std::int32_t major, minor;
};

struct Metadata {
    std::size_t struct_size;
    Version version;
    std::uint32_t traits;
};

struct MetadataExtension {
    Extension base;
    Metadata* metadata;
};

enum class Type : std::int32_t { f16 = 10, f32 = 11, f64 = 12, bf16 = 16 };

struct Array {
    std::size_t struct_size;
    Extension* extensions;
    Type dtype;
    void* data;
    std::int64_t rank;
    std::int64_t* dims;
};

struct Arrays {  // of arguments or of results
    std::size_t struct_size;
    Extension* extensions;
    std::int64_t size;
    std::int32_t* types;  // 1: an array
    Array** arrays;
};

struct Attributes {
    std::size_t struct_size;
    Extension* extensions;
    std::int64_t size;
    std::int32_t* types;
    void** names;
    void** values;
};

struct Error;

struct CreateError {
    std::size_t struct_size;
    Extension* extensions;
    const char* message;
    std::int32_t code;
};
inline constexpr std::int32_t kInvalidArgument = 3, kResourceExhausted = 8;

struct Api {
    std::size_t struct_size;
    Extension* extensions;
    Version version;
    const void* internal;
    Error* (*create_error)(CreateError*);
    // more functions, which are not called
};

struct CallFrame {
    std::size_t struct_size;
    Extension* extensions;
    const Api* api;
    void* context;
    std::int32_t stage;
    Arrays arguments, results;
    Attributes attributes;
    // what came later is not read
};
inline constexpr std::int32_t kExecute = 3;

static_assert(sizeof(void*) == 8 && offsetof(CallFrame, arguments) == 40 && offsetof(CallFrame, results) == 80 &&
              sizeof(CallFrame) == 168);

}  // namespace fastclip::xla
