// SPDX-License-Identifier: BSD-3-Clause
#include "bindings/rows.hpp"

#include <algorithm>

#include "bindings/arrays.hpp"

namespace fastclip {
namespace {

constexpr std::int64_t kBatch = 4096;  // rows described at a time: 200 KB, however many there are

}  // namespace

RowWalk::RowWalk(PyObject* object, DType dtype, std::uint64_t reduced) : dtype_(dtype) {
    const auto* array = pybind11::detail::array_proxy(object);
    at_ = array->data;
    dense_ = make_layout(axes_of(array), reduced, info(dtype).size, row_) &&
             (array->flags & pybind11::detail::npy_api::NPY_ARRAY_ALIGNED_);
    make_layout(axes_of(array), ~reduced, info(dtype).size, outer_);
    row_count_ = left_ = 1;
    for (int d = 0; d < row_.ndim; ++d) row_count_ *= row_.shape[d];
    for (int d = 0; d < outer_.ndim; ++d) left_ *= outer_.shape[d];
    if (row_count_ == 0) left_ = 0;
}

bool RowWalk::next_batch() {
    batch_.clear();
    batch_.reserve(static_cast<std::size_t>(std::min(left_, kBatch)));
    for (; left_ > 0 && static_cast<std::int64_t>(batch_.size()) < kBatch; --left_) {
        batch_.push_back({at_, row_count_, dense_ ? nullptr : &row_, dtype_, false});
        for (int d = outer_.ndim - 1; d >= 0; --d) {
            at_ += outer_.stride[d];
            if (++index_[d] < outer_.shape[d]) break;
            at_ -= outer_.shape[d] * outer_.stride[d];
            index_[d] = 0;
        }
    }
    return !batch_.empty();
}

}  // namespace fastclip
