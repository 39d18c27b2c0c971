// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <span>

#include "engine/ops.hpp"

namespace fastclip {

// Clips what a list has become, `now`, by the norm of the difference to what it was `before`, in place:
// before + (now - before) * coefficient. Buffers of the same index have the same dtype, count and order of elements; of
// those before none shares memory with one of now, but for the one of its own index if it is the same. Non-finite
// elements of now that are to become 0 become those of before. The request has neither use_norm nor average.
Outcome clip_update(std::span<const Buffer> now, std::span<const Buffer> before, const Request& request);

}  // namespace fastclip
