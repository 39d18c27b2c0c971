// SPDX-License-Identifier: BSD-3-Clause
// Which kernels run: one table for the process, the best that the CPU has until somebody chooses another.
#pragma once

#include <span>
#include <string_view>

#include "core/kernel_table.hpp"

namespace fastclip {

struct IsaInfo {
    const KernelTable* table;
    bool supported;
};

std::span<const IsaInfo> isas();  // all that were compiled, worst to best

const KernelTable& kernels();
const KernelTable* find_isa(std::string_view name);  // null unless compiled and supported
void use(const KernelTable& table);

}  // namespace fastclip
