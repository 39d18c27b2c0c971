// SPDX-License-Identifier: BSD-3-Clause
#include "isa/dispatch.hpp"

#include <atomic>

#include "isa/cpu.hpp"

namespace fastclip {

#define FASTCLIP_ISA(name) extern const KernelTable kernels_##name;
#include "isas.inc"
#undef FASTCLIP_ISA

std::span<const IsaInfo> isas() {
    static const IsaInfo all[] = {
#define FASTCLIP_ISA(name) {&kernels_##name, cpu::supported<cpu::Isa::name>()},
#include "isas.inc"
#undef FASTCLIP_ISA
    };
    return all;
}

namespace {

const KernelTable* best() {
    const KernelTable* table = nullptr;
    for (const IsaInfo& isa : isas())
        if (isa.supported) table = isa.table;
    return table;
}

std::atomic<const KernelTable*> chosen{nullptr};

}  // namespace

const KernelTable& kernels() {
    const KernelTable* table = chosen.load(std::memory_order_relaxed);
    if (!table) chosen.store(table = best(), std::memory_order_relaxed);
    return *table;
}

const KernelTable* find_isa(std::string_view name) {
    for (const IsaInfo& isa : isas())
        if (isa.supported && name == isa.table->name) return isa.table;
    return nullptr;
}

void use(const KernelTable& table) { chosen.store(&table, std::memory_order_relaxed); }

}  // namespace fastclip
