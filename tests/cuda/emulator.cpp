// SPDX-License-Identifier: BSD-3-Clause
// The scheduler behind emulator.hpp.
#include "emulator.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>
#ifdef EMULATOR_TSAN  // the kernels are built with -fsanitize=thread, this file is not
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulator {
namespace {

enum class State : unsigned char { runs, at_barrier, in_collective, exited };

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
constexpr unsigned kVariables = 64;          // of shared memory in one module
constexpr unsigned char kPoison = 0xff;      // NaN in every dtype

char* map(std::size_t size) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (p == MAP_FAILED) std::abort();
    return static_cast<char*>(p);
}

struct Multiprocessor : Block {  // what one OS thread emulates: one block at a time
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    char* arena = map(kShared);
    std::size_t used = 0, places[kVariables] = {};  // place + 1; 0: not met yet
    char* stacks = nullptr;
    std::size_t stack_count = 0;
    void *sp = nullptr, *fake = nullptr, *tsan = nullptr;
    const void* bottom = nullptr;
    std::size_t size = 0;
    unsigned at_barrier = 0, alive = 0;
    std::string error;

    Multiprocessor() { std::memset(arena, kPoison, kShared); }
    ~Multiprocessor() {
#ifdef EMULATOR_TSAN
        for (Fiber& f : fibers) __tsan_destroy_fiber(f.tsan);
#endif
        munmap(arena, kShared);
        if (stacks) munmap(stacks, stack_count * kStack);
    }
};

Multiprocessor& here() { return *static_cast<Multiprocessor*>(block); }
Fiber& self() { return *static_cast<Fiber*>(lane); }

}  // namespace

thread_local Lane* lane;
thread_local Block* block;

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

std::string deadlock(const Multiprocessor& m, unsigned index) {
    const auto waiting =
        std::count_if(m.fibers.begin(), m.fibers.end(), [](const Fiber& f) { return f.state == State::in_collective; });
    return "deadlock in block " + std::to_string(index) + ": " + std::to_string(m.at_barrier) +
           " threads at __syncthreads, " + std::to_string(waiting) + " in a warp collective, " +
           std::to_string(m.fibers.size() - m.alive) + " exited";
}

bool release_barrier(Multiprocessor& m) {
    if (!m.alive || m.at_barrier != m.alive) return false;
    m.at_barrier = 0;
    for (Fiber& f : m.fibers)
        if (f.state == State::at_barrier) f.state = State::runs;
    return true;
}

void run_block(const Launch& launch, unsigned index) {
    Multiprocessor& m = here();
    const unsigned n = launch.block.x;
    m.launch = &launch;
    m.index = {index, 0, 0};
    make_stacks(m, n);
    m.fibers.resize(n);
    m.warps.assign((n + 31) / 32, {});
    m.at_barrier = 0;
    m.alive = n;
    std::memset(m.arena, kPoison, m.used);
#ifdef EMULATOR_TSAN
    m.tsan = __tsan_get_current_fiber();
    __tsan_release(&m.fibers);
#endif
    for (unsigned t = 0; t < n; ++t) make_fiber(m, t);
    // Seed 0 runs the threads forwards, 1 backwards, others in an order that changes with every pass.
    std::vector<unsigned> turns(n);
    for (unsigned t = 0; t < n; ++t) turns[t] = launch.seed == 1 ? n - 1 - t : t;
    unsigned long long random = launch.seed * 0x9e3779b97f4a7c15ull + index + 1;
    while (m.alive && m.error.empty()) {
        for (unsigned t = n; launch.seed > 1 && t > 1; --t) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            std::swap(turns[t - 1], turns[random % t]);
        }
        bool moved = false;
        for (unsigned t : turns)
            if (m.fibers[t].state == State::runs) {
                switch_to(m.fibers[t]);
                moved = true;
            }
        if (!release_barrier(m) && !moved) m.error = deadlock(m, index);
    }
#ifdef EMULATOR_TSAN
    __tsan_acquire(&m.fibers);
#endif
}

}  // namespace

void wait_at_barrier() {
    self().state = State::at_barrier;
    ++here().at_barrier;
    switch_back();
}

unsigned long long exchange(unsigned mask, unsigned long long value, unsigned source) {
    Fiber& f = self();
    Collective& c = here().warps[f.warp].collectives[__builtin_ctz(mask)];
    if (!(mask >> f.lane & 1)) throw std::runtime_error("collective: the calling lane is not in its own mask");
    if (c.arrived && c.mask != mask) throw std::runtime_error("collective: lanes of one warp pass different masks");
    if (!(mask >> source & 1)) throw std::runtime_error("shuffle: the source lane is not in the mask");
    c.mask = mask;
    c.in[f.lane] = value;
    c.arrived |= 1u << f.lane;
    if (c.arrived == mask) {  // the last lane completes it and wakes the others
        for (int i = 0; i < 32; ++i) c.out[i] = c.in[i];
        c.arrived = 0;
        for (Fiber& other : here().fibers)
            if (other.warp == f.warp && other.state == State::in_collective && mask >> other.lane & 1)
                other.state = State::runs;
    } else {
        f.state = State::in_collective;
        switch_back();
    }
    return c.out[source];
}

void* shared(unsigned id, std::size_t size) {
    Multiprocessor& m = here();
    if (id >= kVariables || m.used + size > kShared)
        throw std::runtime_error("more shared memory than a block can have");
    if (!m.places[id]) {
        m.places[id] = m.used + 1;
        m.used += (size + 15) / 16 * 16;
    }
    return m.arena + m.places[id] - 1;
}

std::string run(const Launch& launch, unsigned workers) {
    const unsigned blocks = launch.grid.x;
    std::atomic<unsigned> next{0};
    std::atomic<bool> failed{false};
    std::string message;
    const auto work = [&] {
        Multiprocessor m;
        block = &m;
        for (unsigned i; !failed && (i = next++) < blocks;) {
            run_block(launch, launch.seed == 1 ? blocks - 1 - i : i);
            if (!m.error.empty() && !failed.exchange(true)) message = m.error;
        }
        block = nullptr;
    };
    std::vector<std::thread> threads;
    for (unsigned w = 1; w < workers; ++w) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
    return message;
}

}  // namespace emulator
