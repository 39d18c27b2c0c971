// SPDX-License-Identifier: BSD-3-Clause
#pragma once

namespace fastclip::cpu {

// Does this CPU, with this operating system, run the code of the ISA? One specialisation per row of isas.cmake,
// in cpu.cpp: a forgotten one fails to link.
enum class Isa {
#define FASTCLIP_ISA(name) name,
#include "isas.inc"
#undef FASTCLIP_ISA
};

template <Isa>
[[gnu::visibility("hidden")]] bool supported();

}  // namespace fastclip::cpu
