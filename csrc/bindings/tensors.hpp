// SPDX-License-Identifier: BSD-3-Clause
// Tensors whose type has DLPack's exchange API (1.3): a C function that describes one in 23 ns, where the protocol's
// Python methods take 2,100 and Tensor.numpy() takes 670.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <vector>

#include "bindings/dlpack.hpp"
#include "core/buffer.hpp"

namespace fastclip {

inline constexpr std::int32_t kCpu = 1;  // DLPack's number

// The buffer of a tensor in C order, or with a layout; false if it is none of ours: another dtype, or fake.
bool describe(const DLTensor& t, Buffer& buffer, std::unique_ptr<Layout>& layout);

// From now on tensors of exactly this type are plain. False if it has no exchange API, or no `grad`.
bool register_tensor_type(pybind11::handle type);

// The stream on which the framework works on a device of that type; false, with a Python error, if there is none.
bool current_stream(std::int32_t device_type, std::int32_t device, void** stream);

// A tensor of no dimensions; where no type is registered the number and the dtype.
pybind11::object make_scalar(double value, DType dtype);

// A list of tensors, or of what has them as its `grad`. The GIL must be held as long as the buffers are used:
// nothing keeps another thread from giving a tensor's memory back (PyTorch: resize_).
class Tensors {
  public:
    explicit Tensors(std::int32_t device_type = kCpu) : device_type_(device_type) {}

    // False, with nothing to clean up, if anything is not plain: another type than those registered (where none is,
    // NumPy's arrays stand for tensors), device, dtype, or memory that two tensors share in part. Of owners that are
    // listed twice the first counts; those whose `grad` is None are skipped.
    bool add(PyObject* list, bool gradients);

    pybind11::list tensors() const;  // all that were found, repeated ones, too

    std::int32_t device() const { return device_; }

    std::vector<Buffer> buffers;

  private:
    bool add_tensor(PyObject* tensor);
    bool is_here(DLDevice device);
    void drop_repeated_owners();

    std::int32_t device_type_, device_ = -1;  // the number of the first one's
    std::vector<std::unique_ptr<Layout>> layouts_;
    std::vector<pybind11::object> tensors_;
    std::vector<PyObject*> owners_;  // of each tensor; not owned, to tell them apart
};

}  // namespace fastclip
