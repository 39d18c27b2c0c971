// SPDX-License-Identifier: BSD-3-Clause
// The scheduler behind emulator.hpp.
#include <algorithm>
#include <atomic>
#include <thread>

#include "fibers.hpp"

namespace emulator {

thread_local Lane* lane;
thread_local Block* block;

namespace {

unsigned draw(unsigned long long& random, unsigned below) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return static_cast<unsigned>(random % below);
}

char* dynamic_of(const Multiprocessor& m, const Launch& launch) {  // it ends where nobody may touch anything
    return m.arena + kArena - (launch.shared + 15) / 16 * 16;
}

void begin_block(Multiprocessor& m, const Launch& launch, unsigned index) {
    const unsigned n = launch.block.x;
    m.launch = &launch;
    m.index = {index, 0, 0};
    make_stacks(m, n);
    m.fibers.resize(n);
    m.warps.assign((n + 31) / 32, {});
    m.at_barrier = m.at_cluster_barrier = 0;
    m.alive = n;
    m.begun = false;
    std::memset(m.arena, kPoison, m.used);
    std::memset(dynamic_of(m, launch), kPoison, launch.shared);
#ifdef EMULATOR_TSAN
    m.tsan = __tsan_get_current_fiber();
    __tsan_release(&m.fibers);
#endif
    for (unsigned t = 0; t < n; ++t) make_fiber(m, t);
    // Seed 0 runs the threads forwards, 1 backwards, others in an order that changes with every pass.
    m.turns.resize(n);
    for (unsigned t = 0; t < n; ++t) m.turns[t] = launch.seed == 1 ? n - 1 - t : t;
    m.random = launch.seed * 0x9e3779b97f4a7c15ull + index + 1;
}

void wake(Multiprocessor& m, State from) {
    for (Fiber& f : m.fibers)
        if (f.state == from) f.state = State::runs;
}

bool run_pass(Multiprocessor& m) {  // false: nobody could move
    block = &m;
    m.begun = true;
    for (unsigned t = m.launch->block.x; m.launch->seed > 1 && t > 1; --t)
        std::swap(m.turns[t - 1], m.turns[draw(m.random, t)]);
    bool moved = false;
    for (unsigned t : m.turns)
        if (m.fibers[t].state == State::runs) {
            switch_to(m.fibers[t]);
            moved = true;
        }
    if (m.alive && m.at_barrier == m.alive) {
        m.at_barrier = 0;
        wake(m, State::at_barrier);
        moved = true;
    }
    return moved && m.error.empty();
}

bool release_cluster_barrier(std::vector<Multiprocessor>& cluster) {
    for (const Multiprocessor& m : cluster)
        if (m.at_cluster_barrier != m.alive) return false;
    for (Multiprocessor& m : cluster) {
        m.at_cluster_barrier = 0;
        wake(m, State::at_cluster_barrier);
    }
    return true;
}

std::string deadlock(const Multiprocessor& m) {
    const auto waiting =
        std::count_if(m.fibers.begin(), m.fibers.end(), [](const Fiber& f) { return f.state == State::in_collective; });
    return "deadlock in block " + std::to_string(m.index.x) + ": " + std::to_string(m.at_barrier) +
           " threads at __syncthreads, " + std::to_string(m.at_cluster_barrier) + " at the cluster's barrier, " +
           std::to_string(waiting) + " in a warp collective, " + std::to_string(m.fibers.size() - m.alive) + " exited";
}

// One block goes as far as it can before the next one does, so that what must wait for others is seen not to: forwards
// with seed 0, backwards with 1. With others, a pass of any block follows one of any other.
std::string run_cluster(std::vector<Multiprocessor>& cluster, const Launch& launch, unsigned index) {
    const unsigned n = launch.cluster;
    for (unsigned b = 0; b < n; ++b) begin_block(cluster[b], launch, index * n + b);
    unsigned long long random = launch.seed * 0x9e3779b97f4a7c15ull + index + 1;
    const auto alive = [](const Multiprocessor& m) { return m.alive != 0; };
    while (std::any_of(cluster.begin(), cluster.end(), alive)) {
        bool moved = false;
        const unsigned first = launch.seed > 1 ? draw(random, n) : 0;
        for (unsigned b = 0; b < n && !(moved && launch.seed > 1); ++b) {
            Multiprocessor& m = cluster[launch.seed == 1 ? n - 1 - b : (first + b) % n];
            while (run_pass(m)) {
                moved = true;
                if (launch.seed > 1) break;
            }
            if (!m.error.empty()) return m.error;
        }
        if (!moved && !release_cluster_barrier(cluster))
            return deadlock(*std::find_if(cluster.begin(), cluster.end(), alive));
    }
#ifdef EMULATOR_TSAN
    for (Multiprocessor& m : cluster) __tsan_acquire(&m.fibers);
#endif
    return {};
}

}  // namespace

void wait_at_barrier() {
    self().state = State::at_barrier;
    ++here().at_barrier;
    switch_back();
}

void wait_at_cluster_barrier() {
    self().state = State::at_cluster_barrier;
    ++here().at_cluster_barrier;
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
    if (id >= kVariables || m.used + size + m.launch->shared > kShared)
        throw std::runtime_error("more shared memory than a block can have");
    if (!m.places[id]) {
        m.places[id] = m.used + 1;
        m.used += (size + 15) / 16 * 16;
    }
    return m.arena + m.places[id] - 1;
}

void* dynamic_shared() {
    Multiprocessor& m = here();
    if (m.used + m.launch->shared > kShared) throw std::runtime_error("more shared memory than a block can have");
    return dynamic_of(m, *m.launch);
}

const void* at_rank(const void* p, unsigned rank) {
    Multiprocessor& m = here();
    if (rank >= m.cluster->size()) throw std::runtime_error("shared memory of a block that the cluster has not");
    Multiprocessor& other = (*m.cluster)[rank];
    if (!other.begun) throw std::runtime_error("shared memory of a block that has not begun");
    if (!other.alive) throw std::runtime_error("shared memory of a block that has ended");
    return other.arena + (static_cast<const char*>(p) - m.arena);
}

std::string run(const Launch& launch, unsigned workers) {
    if (launch.grid.x % launch.cluster) return "the grid is no multiple of the cluster";
    const unsigned clusters = launch.grid.x / launch.cluster;
    std::atomic<unsigned> next{0};
    std::atomic<bool> failed{false};
    std::string message;
    const auto work = [&] {
        block = nullptr;  // allocates what this thread has of both variables, before fibers are told what came before
        std::vector<Multiprocessor> cluster(launch.cluster);
        for (Multiprocessor& m : cluster) {
            m.cluster = &cluster;
            m.cluster_key = &cluster;
        }
        for (unsigned i; !failed && (i = next++) < clusters;) {
            const std::string error = run_cluster(cluster, launch, launch.seed == 1 ? clusters - 1 - i : i);
            if (!error.empty() && !failed.exchange(true)) message = error;
        }
    };
    std::vector<std::thread> threads;
    for (unsigned w = 1; w < workers; ++w) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
    return message;
}

}  // namespace emulator
