// SPDX-License-Identifier: BSD-3-Clause
#include "engine/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "engine/fpu.hpp"

namespace fastclip {
namespace {

void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Now and then lets others run: the system may have put the thread that is waited for on this thread's CPU, where it
// would not run before the next tick, milliseconds away.
void wait_a_little(int spin) {
    if (spin % 512 == 0)
        std::this_thread::yield();
    else
        pause();
}

// Keeps a sleeping thread from being woken on the CPU of its waker, where the system can leave it waiting for
// milliseconds though another CPU is idle (seen in one loop of three). Once awake it may run wherever it could before.
class Placement {
  public:
#if defined(__linux__)
    static int here() { return sched_getcpu(); }
    void avoid(int cpu, std::thread::native_handle_type thread) {  // by the waker
        if (narrowed_.load() || cpu < 0) return;                   // still on its way from the last time
        // on more CPUs than a cpu_set_t holds this fails, and nothing is done
        if (pthread_getaffinity_np(thread, sizeof before_, &before_) != 0) return;
        cpu_set_t others = before_;
        CPU_CLR(cpu, &others);
        if (CPU_COUNT(&others) == 0) return;
        narrowed_.store(true);
        pthread_setaffinity_np(thread, sizeof others, &others);
    }
    void restore() {  // by the thread itself
        if (!narrowed_.load()) return;
        sched_setaffinity(0, sizeof before_, &before_);
        narrowed_.store(false);
    }

  private:
    cpu_set_t before_;
    std::atomic<bool> narrowed_{false};
#else
    static int here() { return -1; }
    void avoid(int, std::thread::native_handle_type) {}
    void restore() {}
#endif
};

// A worker looks for work this often before it sleeps: some 30 microseconds, enough to bridge the two passes of one
// call and a tight loop of calls (0.3 microseconds to hand over, 30 and more to wake a sleeper).
constexpr int kSpins = 2000;
constexpr std::int64_t kAwakeNanoseconds = 30'000;

struct alignas(64) Claim {
    std::atomic<std::int64_t> next{0};
};

struct Job {
    const Partition& partition;
    Body body;
    void* context;
    Claim* claim;  // one for each part

    void work(int self) {
        for (int k = 0; k < partition.parts; ++k) {
            const int part = (self + k) % partition.parts;
            const std::int64_t end = partition.bound[part + 1], grain = partition.grain;
            for (;;) {
                const std::int64_t begin = claim[part].next.fetch_add(grain, std::memory_order_relaxed);
                if (begin >= end) break;
                body(context, begin, std::min(begin + grain, end));
            }
        }
    }
};

struct SignalsBlocked {
#if !defined(_WIN32)
    sigset_t before;
    SignalsBlocked() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before, nullptr); }
#endif
};

class Pool {
  public:
    // Serves one job at a time; a caller that finds it busy works alone.
    void run(Job& job) {
        std::unique_lock<std::mutex> own(busy_, std::try_to_lock);
        if (!own.owns_lock()) return job.body(job.context, 0, job.partition.bound[job.partition.parts]);
        grow(job.partition.parts - 1);
        job.claim = claim_;
        for (int t = 0; t < job.partition.parts; ++t)
            claim_[t].next.store(job.partition.bound[t], std::memory_order_relaxed);
        current_.store(&job);
        epoch_.fetch_add(1);
        if (sleepers_.load() > 0) wake();
        job.work(0);
        current_.store(nullptr);
        for (int spin = 1; inside_.load() != 0; ++spin) wait_a_little(spin);  // only workers with a piece in hand
    }

    // Workers that look for work right now, so that handing it over costs next to nothing.
    bool awake() const { return workers_.load() > 0 && sleepers_.load() == 0; }

  private:
    void grow(int wanted) {
        if (workers_ >= wanted) return;
        threads_.reserve(static_cast<std::size_t>(wanted));
        SignalsBlocked inherited;  // Python's signals belong to the main thread
        while (workers_ < wanted) {
            try {
                const int self = workers_ + 1;
                std::thread thread([this, self] { serve(self); });
                threads_.push_back(thread.native_handle());
                thread.detach();
            } catch (const std::system_error&) {
                return;  // the system gives no more threads: fewer do the work
            }
            ++workers_;
        }
    }

    void wake() {
        const int cpu = Placement::here();
        for (std::size_t t = 0; t < threads_.size(); ++t) placement_[t + 1].avoid(cpu, threads_[t]);
        epoch_.notify_all();
    }

    void serve(int self) {
        FpuGuard fpu;            // a new thread inherits its creator's state
        if (!scratch()) return;  // no memory: it never takes part, and whoever is there does the work
        std::uint32_t seen = 0;
        for (;;) {
            seen = wait_for_change(self, seen);
            inside_.fetch_add(1);  // before the look at current_: run() clears it, then waits for inside_ == 0
            if (Job* job = current_.load(); job && self < job->partition.parts) job->work(self);
            inside_.fetch_sub(1);
        }
    }

    std::uint32_t wait_for_change(int self, std::uint32_t seen) {
        for (int spin = 1; spin <= kSpins; ++spin) {
            const std::uint32_t now = epoch_.load();
            if (now != seen) return now;
            wait_a_little(spin);
        }
        sleepers_.fetch_add(1);
        epoch_.wait(seen);
        sleepers_.fetch_sub(1);
        placement_[self].restore();
        return epoch_.load();
    }

    std::mutex busy_;
    Claim claim_[kMaxThreads];
    std::atomic<int> workers_{0};                           // changed under busy_
    std::vector<std::thread::native_handle_type> threads_;  // used under busy_
    Placement placement_[kMaxThreads];                      // of each worker, by its number
    std::atomic<Job*> current_{nullptr};
    std::atomic<std::uint32_t> epoch_{0};
    std::atomic<int> inside_{0};
    std::atomic<int> sleepers_{0};
};

// Never destroyed: at exit its threads sleep or spin on memory that stays, and nobody joins them. In a forked child
// there are no workers and the parent's mutex may be held, so the child makes a pool of its own at first need.
std::atomic<Pool*> pool{nullptr};

Pool& get_pool() {
    static const bool registered = [] {
#if !defined(_WIN32)
        pthread_atfork(nullptr, nullptr, [] { pool.store(nullptr); });
#endif
        return true;
    }();
    (void)registered;
    Pool* now = pool.load();
    if (now) return *now;
    Pool* made = new Pool;
    if (pool.compare_exchange_strong(now, made)) return *made;
    delete made;
    return *now;
}

std::atomic<int> threads{0};  // 0: not asked for yet

// Does this call come so soon after the one before that a worker would still be awake?
bool in_tight_loop(std::int64_t bytes) {
    using namespace std::chrono;
    static std::atomic<std::int64_t> expires{0};
    const std::int64_t now = duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
    const std::int64_t work = bytes / 20;  // nanoseconds for one thread at 20 GB/s, the slowest that was seen
    return now < expires.exchange(now + work + kAwakeNanoseconds, std::memory_order_relaxed);
}

}  // namespace

int default_num_threads() {
    int n = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
    cpu_set_t mask;
    if (sched_getaffinity(0, sizeof mask, &mask) == 0) n = CPU_COUNT(&mask);
#endif
    return std::clamp(n, 1, kMaxThreads);
}

int num_threads() {
    if (threads.load(std::memory_order_relaxed) == 0) set_num_threads(default_num_threads());
    return threads.load(std::memory_order_relaxed);
}

void set_num_threads(int n) { threads.store(std::clamp(n, 1, kMaxThreads), std::memory_order_relaxed); }

int threads_for(std::int64_t bytes) {
    const int most = num_threads();
    if (most == 1 || bytes < 2 * kBytesAwake) return 1;
    const bool loop = in_tight_loop(bytes);
    const Pool* now = pool.load();
    const std::int64_t each = loop || (now && now->awake()) ? kBytesAwake : kBytesToWake;
    return static_cast<int>(std::clamp<std::int64_t>(bytes / each, 1, most));
}

char* scratch() {
    struct Free {
        void operator()(char* block) const { std::free(block); }
    };
    thread_local std::unique_ptr<char, Free> block;
    if (!block) block.reset(static_cast<char*>(std::aligned_alloc(64, kScratch)));
    return block.get();
}

void run(const Partition& partition, Body body, void* context) {
    if (partition.parts == 1) {
        if (partition.bound[0] < partition.bound[1]) body(context, partition.bound[0], partition.bound[1]);
        return;
    }
    Job job = {partition, body, context, nullptr};
    get_pool().run(job);
}

}  // namespace fastclip
