// SPDX-License-Identifier: BSD-3-Clause
// TensorFlow's eager tensors, read and made by functions that TensorFlow has and its adapter hands over: nothing of
// TensorFlow is needed to build this.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <vector>

#include "core/buffer.hpp"

namespace fastclip {

// How eager tensors of one type are read and made.
class EagerExchange {
  public:
    virtual ~EagerExchange() = default;

    // The buffers of tensors, each of which is replaced by what keeps its memory. False, and no Python error, if one is
    // not in the CPU's memory or of a dtype of ours.
    virtual bool read(std::vector<pybind11::object>& tensors, std::vector<Buffer>& buffers) const = 0;

    enum class Shape { same, none };
    // A tensor over a block that holds a buffer, where the one that was read is, and of its shape or of no dimensions.
    // The block is the tensor's from then on; it is released if there is an error.
    virtual pybind11::object make(const Buffer& block, PyObject* read, Shape shape, PyObject* context) const = 0;
};

// By TensorFlow's functions for DLPack's capsules: 0.37 us to read a tensor and 0.47 to make one, where tf.constant
// takes 10. `type_number(tensor)` is asked first, for one of these: of strings and resources TensorFlow makes no
// capsule, it aborts the process. The place of a number is its dtype's. New tensors lie on CPU:0.
std::unique_ptr<EagerExchange> exchange_capsules(pybind11::handle type_number, const std::vector<long>& numbers,
                                                 pybind11::handle to_capsule, pybind11::handle from_capsule);

// By its C functions: 0.04 us and 0.35. A tensor that an operation has still to make is waited for without the GIL,
// which that may want. The addresses are those of eager_handles.cpp's `Functions`, in their order.
std::unique_ptr<EagerExchange> exchange_handles(const std::vector<long>& numbers,
                                                const std::vector<std::size_t>& addresses);

// From now on tensors of exactly this type are exchanged so.
void register_eager_type(pybind11::handle type, std::unique_ptr<EagerExchange> exchange);

// Eager tensors in the CPU's memory. They are immutable and kept, so the GIL may be released.
class EagerTensors {
  public:
    EagerTensors() = default;
    ~EagerTensors();
    EagerTensors(const EagerTensors&) = delete;
    EagerTensors& operator=(const EagerTensors&) = delete;

    // A list or tuple; None entries are skipped. False, with nothing to clean up, if an entry is no tensor of the
    // registered type, or of another device or dtype.
    bool add(pybind11::handle items);
    bool add_one(pybind11::handle item);

    // A tensor of no dimensions, where the first one is.
    pybind11::object make_scalar(double value, DType dtype, pybind11::handle context) const;

    std::vector<Buffer> buffers;

  private:
    friend class Results;
    bool keep(PyObject* item);
    bool read();

    std::vector<pybind11::object> kept_;  // of each buffer: what was read
    std::vector<int> places_;             // of each entry: its buffer, or -1 for None
};

// Room for results of the same shapes and dtypes, in recycled blocks aligned to 64 bytes: TensorFlow aborts the process
// on memory that is not.
class Results {
  public:
    explicit Results(const EagerTensors& like);
    ~Results();
    Results(const Results&) = delete;
    Results& operator=(const Results&) = delete;

    // Tensors over the blocks, None where there was one; the blocks are the tensors' from then on.
    pybind11::list tensors(pybind11::handle context);

    std::vector<Buffer> buffers;

  private:
    const EagerTensors& like_;
    std::size_t given_ = 0;  // so many of the blocks are tensors'
};

}  // namespace fastclip
