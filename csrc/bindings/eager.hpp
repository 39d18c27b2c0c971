// SPDX-License-Identifier: BSD-3-Clause
// TensorFlow's eager tensors, by the two functions with which it exchanges DLPack capsules: 0.35 us to read one and 0.5
// to make one, where tf.constant takes 10. Nothing of TensorFlow is needed to build this.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

#include "bindings/dlpack.hpp"
#include "core/buffer.hpp"

namespace fastclip {

// From now on tensors of exactly this type are read by `to_capsule(tensor)` and made by `from_capsule(capsule,
// context)`. `type_number(tensor)` is asked first, for one of these: of strings and resources TensorFlow makes no
// capsule, it aborts the process.
void register_eager_type(pybind11::handle type, pybind11::handle type_number, std::vector<long> numbers,
                         pybind11::handle to_capsule, pybind11::handle from_capsule);

// Eager tensors in the CPU's memory. They are immutable and the capsules keep them, so the GIL may be released.
class EagerTensors {
  public:
    // A list or tuple; None entries are skipped. False, with nothing to clean up, if an entry is no tensor of the
    // registered type, or of another device or dtype.
    bool add(pybind11::handle items);

    std::vector<Buffer> buffers;

  private:
    friend class Results;
    std::vector<pybind11::object> capsules_;  // which keep the memory
    std::vector<const DLTensor*> tensors_;
    std::vector<int> places_;  // of each entry: its buffer, or -1 for None
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
    std::vector<DLManagedTensor*> made_;
};

pybind11::object make_eager_scalar(double value, DType dtype, pybind11::handle context);

}  // namespace fastclip
