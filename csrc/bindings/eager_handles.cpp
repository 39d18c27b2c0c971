// SPDX-License-Identifier: BSD-3-Clause
// What TensorFlow's public headers declare (2.21: c/c_api.h, c/tf_status.h, c/eager/c_api.h and
// python/eager/pywrap_tensor.h), called by address.
#include <algorithm>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "bindings/calls.hpp"
#include "bindings/eager.hpp"
#include "engine/blocks.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

struct Handle;
struct Status;
struct Context;

struct Functions {
    Handle* (*handle_of)(const PyObject*);            // borrowed
    PyObject* (*tensor_of)(Handle*, bool is_packed);  // takes the handle
    int (*data_type)(Handle*);
    void* (*data)(Handle*, Status*);
    const char* (*memory)(Handle*, Status*);  // the name of the device in whose memory it is
    int (*rank)(Handle*, Status*);
    std::int64_t (*dim)(Handle*, int, Status*);
    Handle* (*new_handle)(Context*, const char* device, int data_type, const std::int64_t* dims, int rank, void* data,
                          std::size_t bytes, void (*release)(void* data, std::size_t bytes, void*), void*, Status*);
    Status* (*new_status)();
    void (*delete_status)(Status*);
    int (*code)(const Status*);  // 0: all is well
    const char* (*message)(const Status*);
};
constexpr std::size_t kFunctions = 12;
static_assert(sizeof(Functions) == kFunctions * sizeof(std::size_t));

constexpr int kMostDims = 254;  // of TensorFlow

// TensorFlow may let go of a tensor on any thread, with or without the GIL.
void give_back(void* data, std::size_t, void*) { blocks::release(data); }

class Handles final : public EagerExchange {
  public:
    Handles(std::vector<long> numbers, const std::vector<std::size_t>& addresses) : numbers_(std::move(numbers)) {
        if (addresses.size() != kFunctions) throw std::invalid_argument("exchange_handles: not all functions are here");
        std::memcpy(&tf_, addresses.data(), sizeof tf_);
    }

    bool read(std::vector<py::object>& tensors, std::vector<Buffer>& buffers) const override {
        std::vector<Handle*> handles;
        handles.reserve(tensors.size());
        for (const py::object& tensor : tensors) {
            handles.push_back(tf_.handle_of(tensor.ptr()));
            if (!handles.back()) return false;
        }
        bool all = false;
        Held({}).without_gil([&] {
            const OwnStatus status(tf_);
            all = std::all_of(handles.begin(), handles.end(), [&](Handle* handle) {
                buffers.emplace_back();
                return read_one(handle, status, buffers.back());
            });
        });
        return all;
    }

    py::object make(const Buffer& block, PyObject* read, Shape shape, PyObject* context) const override {
        std::unique_ptr<void, void (*)(void*)> owner(block.data, blocks::release);
        Handle* like = tf_.handle_of(read);
        const OwnStatus status(tf_);
        std::int64_t dims[kMostDims];
        const int rank = shape == Shape::same ? tf_.rank(like, status.get()) : 0;
        for (int d = 0; d < rank; ++d) dims[d] = tf_.dim(like, d, status.get());
        auto* where = static_cast<Context*>(PyCapsule_GetPointer(context, nullptr));
        if (!where) throw py::error_already_set();
        const char* memory = tf_.memory(like, status.get());
        if (!status.ok()) throw std::runtime_error(status.message());
        const auto bytes = static_cast<std::size_t>(block.count * info(block.dtype).size);
        Handle* made = tf_.new_handle(where, memory, static_cast<int>(numbers_[static_cast<std::size_t>(block.dtype)]),
                                      dims, rank, owner.release(), bytes, give_back, nullptr, status.get());
        if (!made || !status.ok()) throw std::runtime_error(status.message());
        auto tensor = py::reinterpret_steal<py::object>(tf_.tensor_of(made, false));
        if (!tensor) throw py::error_already_set();
        return tensor;
    }

  private:
    class OwnStatus {
      public:
        explicit OwnStatus(const Functions& tf) : tf_(tf), status_(tf.new_status()) {}
        ~OwnStatus() { tf_.delete_status(status_); }
        OwnStatus(const OwnStatus&) = delete;
        OwnStatus& operator=(const OwnStatus&) = delete;
        Status* get() const { return status_; }
        bool ok() const { return tf_.code(status_) == 0; }
        const char* message() const { return tf_.message(status_); }

      private:
        const Functions& tf_;
        Status* status_;
    };

    bool read_one(Handle* handle, const OwnStatus& status, Buffer& buffer) const {
        const auto number = std::find(numbers_.begin(), numbers_.end(), tf_.data_type(handle));
        if (number == numbers_.end()) return false;
        void* data = tf_.data(handle, status.get());  // waits for the operation that makes it
        if (!status.ok()) return false;               // of a failed operation, remote, or of several devices
        const char* memory = tf_.memory(handle, status.get());
        if (!memory || !std::strstr(memory, "device:CPU:")) return false;
        const int rank = tf_.rank(handle, status.get());
        if (!status.ok() || rank < 0 || rank > kMostDims) return false;
        std::int64_t count = 1;
        for (int d = 0; d < rank; ++d) count *= tf_.dim(handle, d, status.get());
        if (!status.ok() || (count > 0 && !data)) return false;
        buffer = {static_cast<char*>(data), count, nullptr, static_cast<DType>(number - numbers_.begin()), false};
        return true;
    }

    Functions tf_;
    std::vector<long> numbers_;
};

}  // namespace

std::unique_ptr<EagerExchange> exchange_handles(const std::vector<long>& numbers,
                                                const std::vector<std::size_t>& addresses) {
    return std::make_unique<Handles>(numbers, addresses);
}

}  // namespace fastclip
