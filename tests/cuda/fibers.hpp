// SPDX-License-Identifier: BSD-3-Clause
// What emulator.cpp schedules: fibers, the blocks that they belong to, and how one is switched to.
#pragma once

#include "emulator.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <vector>
#ifdef EMULATOR_TSAN  // the kernels are built with -fsanitize=thread, this file is not
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulator {
namespace {

enum class State : unsigned char { runs, at_barrier, at_cluster_barrier, in_collective, exited };

struct Fiber : Lane {
    void* sp = nullptr;
    char* stack = nullptr;
    void* fake = nullptr;
    void* tsan = nullptr;
    State state = State::exited;
};

struct Collective {  // one in flight
    unsigned mask = 0, arrived = 0;
    unsigned long long in[32], out[32];
};

struct Warp {
    Collective collectives[32];  // by the first lane of the mask
};

constexpr std::size_t kStack = 256 * 1024;
constexpr std::size_t kShared = 227 * 1024;  // what a block of an H100 can have
constexpr std::size_t kPage = 4096, kArena = (kShared + kPage - 1) / kPage * kPage;
constexpr unsigned kVariables = 64;      // of shared memory in one module
constexpr unsigned char kPoison = 0xff;  // NaN in every dtype

char* map(std::size_t size) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (p == MAP_FAILED) std::abort();
    return static_cast<char*>(p);
}

struct Multiprocessor : Block {  // one block at a time
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    char* arena = map(kArena + kPage);
    std::vector<Multiprocessor>* cluster = nullptr;
    std::size_t used = 0, places[kVariables] = {};  // place + 1; 0: not met yet
    char* stacks = nullptr;
    std::size_t stack_count = 0;
    void *sp = nullptr, *fake = nullptr, *tsan = nullptr;
    const void* bottom = nullptr;
    std::size_t size = 0;
    unsigned at_barrier = 0, at_cluster_barrier = 0, alive = 0;
    bool begun = false;
    unsigned long long random = 0;
    std::vector<unsigned> turns;
    std::string error;

    Multiprocessor() {
        if (mprotect(arena + kArena, kPage, PROT_NONE)) std::abort();
        std::memset(arena, kPoison, kArena);
    }
    Multiprocessor(const Multiprocessor&) = delete;
    ~Multiprocessor() {
#ifdef EMULATOR_TSAN
        for (Fiber& f : fibers) __tsan_destroy_fiber(f.tsan);
#endif
        munmap(arena, kArena + kPage);
        if (stacks) munmap(stacks, stack_count * kStack);
    }
};

Multiprocessor& here() { return *static_cast<Multiprocessor*>(block); }
Fiber& self() { return *static_cast<Fiber*>(lane); }

}  // namespace

// A pair of switches takes 19 ns, ucontext's 670 (it saves the signal mask).
extern "C" void emulator_switch(void** save, void* load);
#ifndef __x86_64__
#error "emulator_switch is written for x86-64 only"
#endif
asm(R"(.text
.globl emulator_switch
.type emulator_switch,@function
emulator_switch:
 pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
 movq %rsp,(%rdi); movq %rsi,%rsp
 popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
 ret
.size emulator_switch,.-emulator_switch
)");

namespace {

void switch_to(Fiber& f) {
    lane = &f;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&here().fake, f.stack, kStack);
#endif
#ifdef EMULATOR_TSAN
    __tsan_switch_to_fiber(f.tsan, __tsan_switch_to_fiber_no_sync);
#endif
    emulator_switch(&here().sp, f.sp);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(here().fake, nullptr, nullptr);
#endif
}

void switch_back(bool for_good = false) {
    Fiber& f = self();
    Multiprocessor& m = here();
    (void)for_good;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &f.fake, m.bottom, m.size);
#endif
#ifdef EMULATOR_TSAN
    __tsan_switch_to_fiber(m.tsan, __tsan_switch_to_fiber_no_sync);
#endif
    emulator_switch(&f.sp, m.sp);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(f.fake, &m.bottom, &m.size);
#endif
}

void fiber_main() {  // never returns
    Multiprocessor& m = here();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &m.bottom, &m.size);
#endif
#ifdef EMULATOR_TSAN
    __tsan_acquire(&m.fibers);
#endif
    try {
        m.launch->body(m.launch->arguments);
    } catch (const std::exception& error) {
        m.error = error.what();
    }
#ifdef EMULATOR_TSAN
    __tsan_release(&m.fibers);
#endif
    self().state = State::exited;
    --m.alive;
    switch_back(true);
    std::abort();
}

void make_stacks(Multiprocessor& m, unsigned n) {
    if (m.stack_count >= n) return;
    if (m.stacks) munmap(m.stacks, m.stack_count * kStack);
    m.stacks = map(n * kStack);
    m.stack_count = n;
}

void make_fiber(Multiprocessor& m, unsigned t) {
    Fiber& f = m.fibers[t];
    f.state = State::runs;
    f.fake = nullptr;
    f.thread = {t, 0, 0};
    f.lane = t & 31;
    f.warp = t >> 5;
    f.warp_key = &m.warps[f.warp];
    f.stack = m.stacks + t * kStack;
    void** sp = reinterpret_cast<void**>(f.stack + kStack - 64);
    *--sp = nullptr;
    *--sp = reinterpret_cast<void*>(fiber_main);
    for (int i = 0; i < 6; ++i) *--sp = nullptr;  // six registers
    f.sp = sp;
#ifdef EMULATOR_TSAN
    if (!f.tsan) f.tsan = __tsan_create_fiber(0);  // half a millisecond for a block's
#endif
}

}  // namespace
}  // namespace emulator
