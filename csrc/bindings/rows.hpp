// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <pybind11/numpy.h>

#include <span>
#include <vector>

#include "core/buffer.hpp"

namespace fastclip {

// One array as many buffers: a row for each index along the axes that are kept.
class RowWalk {
  public:
    // `reduced` has bit a set if axis a belongs to the rows.
    RowWalk(PyObject* array, DType dtype, std::uint64_t reduced);

    bool next_batch();
    bool dense() const { return dense_; }  // each row is one dense block
    std::span<const Buffer> batch() const { return batch_; }

  private:
    Layout row_;    // of every row
    Layout outer_;  // from row to row
    bool dense_;
    DType dtype_;
    char* at_;
    std::int64_t row_count_, left_;
    std::int64_t index_[kMaxDims] = {};
    std::vector<Buffer> batch_;
};

}  // namespace fastclip
