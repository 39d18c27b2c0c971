// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <span>

#include "core/buffer.hpp"
#include "engine/norm.hpp"

namespace fastclip {

enum class Power { one, two, infinite };

// A list of which the caller first asks for the norm and then says by what all of it is multiplied, in place: for the
// rules of other libraries. Each thread scales what it has just read. Nothing throws but std::bad_alloc, and that
// before one byte is written.
class InPlace {
  public:
    explicit InPlace(std::span<const Buffer> list);

    double norm(Power power);        // of all elements as one vector; NaN if one is
    void scale(double coefficient);  // rounded to f32 for all but f64; 1 writes nothing

  private:
    std::span<const Buffer> list_;
    NormPlan& plan_;
};

}  // namespace fastclip
