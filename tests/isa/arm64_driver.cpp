// SPDX-License-Identifier: BSD-3-Clause
// `arm64_driver ISA` runs every kernel of that ISA on made-up numbers, between pages that nobody may touch, and prints
// a digest of the results for each kernel, walk and dtype: equal for all ISAs, or one of them is wrong.
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "arm64_inputs.hpp"
#include "core/buffer.hpp"
#include "core/convert.hpp"
#include "engine/fpu.hpp"
#include "engine/ops.hpp"
#include "engine/parallel.hpp"
#include "isa/dispatch.hpp"

using namespace fastclip;

namespace {

std::map<std::string, std::uint64_t> digests;

std::uint64_t& digest(const std::string& key) { return digests.try_emplace(key, 0xcbf29ce484222325u).first->second; }
void mix(std::uint64_t& digest, std::uint64_t value) {  // FNV-1a, eight bytes at a time
    digest = (digest ^ value) * 0x100000001b3u;
    digest ^= digest >> 29;
}

constexpr double kNan = __builtin_nan("");
constexpr const char* kWalks[] = {"in_cache", "from_memory", "past_cache"};

// ties in f16 and bf16, subnormal results, overflow, products by way of f64, of which one is rounded twice
constexpr Product kNarrow[] = {
    {0x1.333334p-2f, false, 0, 0, 0}, {1.5f, false, 0, 0, 0},
    {0x1.8p-14f, false, 0, 0, 0},     {0x1.d4cp+14f, false, 0, 0, 0},
    {0, true, 0x1.8p-110, 0, 0},      {0, true, 0x1.00200002p-3, 0, 0},
    {0.0f, false, 0, 0, 0},           {__builtin_nanf("0x3fffff"), false, 0, 0, 0},
};
constexpr Product kF64[] = {
    {0, false, 0, 1.0, 0x1.3333333333333p-2}, {0, false, 0, 1.0, 1.5}, {0, false, 0, 0x1p-512, 0x1.b33p-10},
    {0, false, 0, 0x1p-1060, 0x1.4cdp+900},   {0, false, 0, 1.0, 0.0}, {0, false, 0, 1.0, kNan},
};
constexpr double kBounds[][2] = {{-0.25, 0.125}, {-0x1p-130, 0x1p-20}, {-0.0, 0.0},  {0.0, -0.0},     {1.0, -1.0},
                                 {-kInf, kInf},  {kNan, 1.0},          {-1.0, kNan}, {0x1p-30, kInf}, {-1e9, 1e9}};

template <class T>
class Checks {
  public:
    explicit Checks(const Kernels& kernels) : k_(kernels) {}

    // x[i] = element(i); `turn` says which coefficient and bounds
    template <class Element>
    void run(std::int64_t n, std::int64_t place, int turn, Element element) {
        const auto fill = [&](Arena& arena, std::int64_t where) {
            T* x = arena.put<T>(n, where);
            for (std::int64_t i = 0; i < n; ++i) x[i] = element(i);
            return x;
        };
        T* x = fill(source_, place);
        for (double by : {1.0, kGrow, kShrink, 0x1p-480})
            if (by == 1.0 || std::is_same_v<T, double>) add("sumsq", k_.sumsq(x, n, by));
        add("sumabs", k_.sumabs(x, n));
        mix(digest(key("maxabs")), bits(k_.maxabs(x, n)));
        const Counts counts = k_.counts(x, n);
        mix(digest(key("counts")), static_cast<std::uint64_t>(counts.nonfinite << 32 | counts.zeros));

        constexpr auto& products = of_dtype();
        const Product& c = products[turn / kKinds % static_cast<int>(std::size(products))];
        const auto [lo, hi] = kBounds[turn / kKinds % static_cast<int>(std::size(kBounds))];
        T* least = lo_.put<T>(n, place);
        T* most = hi_.put<T>(n, place);
        for (std::int64_t i = 0; i < n; ++i) {
            const T opposite = negated(element(i));  // so that zeros of both signs meet
            least[i] = i % 7 ? number<T>(2, static_cast<std::uint64_t>(i * 3 + turn)) : i % 2 ? opposite : element(i);
            most[i] = i % 7 == 3 ? opposite : number<T>(turn / 3 % kKinds, static_cast<std::uint64_t>(i + turn));
        }
        for (int w = 0; w < 3; ++w) {
            const Walk walk = static_cast<Walk>(w);
            const auto transformed = [&](const char* name, auto op) {
                const std::string as = key(name, walk);
                T* dst = target_.put<T>(n, place < 0 ? place : (place + turn) % 32);
                op(static_cast<void*>(dst), x);
                add(as, dst, n);
                target_.check(as);
                if (n > 300 && turn % 5) return;
                dst = fill(target_, place);  // in place
                op(static_cast<void*>(dst), dst);
                add(as, dst, n);
                target_.check(as);
            };
            transformed("scale", [&](void* to, const T* from) { k_.scale(to, from, n, c, walk); });
            transformed("clamp", [&](void* to, const T* from) { k_.clamp(to, from, n, lo, hi, walk); });
            transformed("clamp_between",
                        [&](void* to, const T* from) { k_.clamp_between(to, from, n, least, most, walk); });
            outside(x, n, lo, hi, walk);
            changed(key("scale_update", walk), n, place, fill,
                    [&](void* to) { k_.scale_update(to, least, n, c, walk); });
        }
        for (double by : {1.0, kGrow, kShrink})
            if (by == 1.0 || std::is_same_v<T, double>) add("update_sumsq", k_.update_sumsq(x, least, n, by));
        changed(key("drop_nonfinite_update"), n, place, fill,
                [&](void* to) { k_.drop_nonfinite_update(to, least, n); });
        k_.drop_nonfinite(x, n);
        add(key("drop_nonfinite"), x, n);
        for (auto* arena : {&source_, &lo_, &hi_}) arena->check(key("a kernel"));
    }

    void all() {
        constexpr std::int64_t kPerLine = 64 / static_cast<std::int64_t>(sizeof(T));
        int turn = 0;
        for (std::int64_t n = 0; n <= kChunk + 1; ++n) {
            const bool small = n <= 70, medium = (n >= 127 && n <= 130) || (n >= 255 && n <= 260);
            const bool streams = (n >= 383 && n <= 385) || (n >= 511 && n <= 513) || (n >= 1023 && n <= 1033) ||
                                 (n >= 2047 && n <= 2049);
            if (!small && !medium && !streams && n < kChunk - 1) continue;
            const std::int64_t first = n > 130 ? -3 : -1, past = small ? kPerLine : streams || medium ? 4 : 0;
            for (std::int64_t place = first; place < past; ++place) {
                for (int kind = 0; kind < kKinds; ++kind, ++turn) {
                    if (n > 130 && (place + n + kind) % kKinds) continue;  // one kind for each size and place
                    run(n, place, turn,
                        [=](std::int64_t i) { return number<T>(kind, static_cast<std::uint64_t>(i + 11 * n)); });
                }
            }
        }
        if constexpr (sizeof(T) == 2) {  // every value there is
            for (turn = 0; turn < 10 * kKinds; turn += kKinds)
                run(65536, -1, turn, [](std::int64_t i) { return T{static_cast<std::uint16_t>(i)}; });
        }
    }

  private:
    template <class Fill, class Op>  // op(the elements) in place
    void changed(const std::string& as, std::int64_t n, std::int64_t place, Fill fill, Op op) {
        T* x = fill(target_, place);
        op(static_cast<void*>(x));
        add(as, x, n);
        target_.check(as);
    }
    static constexpr auto& of_dtype() {
        if constexpr (std::is_same_v<T, double>)
            return kF64;
        else
            return kNarrow;
    }
    static std::string key(const char* name) { return std::string(name) + " " + Format<T>::kTag; }
    static std::string key(const char* name, Walk walk) { return key(name) + " " + kWalks[static_cast<int>(walk)]; }
    void add(const char* name, Partial p) {
        mix(digest(key(name)), bits(p.hi));
        mix(digest(key(name)), bits(p.lo));
    }
    void add(const std::string& key, const T* x, std::int64_t n) {
        std::uint64_t& d = digest(key);
        for (std::int64_t i = 0; i < n; ++i) mix(d, bits(x[i]));
    }
    static double value(double x) { return x; }
    template <class Narrow>
    static double value(Narrow x) {
        return static_cast<double>(to_f32(x));
    }
    // The index may be any before the first element outside, so it is checked instead of digested.
    void outside(const T* x, std::int64_t n, double lo, double hi, Walk walk) {
        T least, most;
        round_once(least, lo);
        round_once(most, hi);
        std::int64_t first = 0;
        while (first < n && !(value(x[first]) < value(least) || value(x[first]) > value(most))) ++first;
        const std::int64_t found = k_.first_outside(x, n, lo, hi, walk);
        if (found < 0 || found > first || (found == n) != (first == n)) fail(key("first_outside", walk));
        mix(digest(key("first_outside", walk)), found == n);
    }

    const Kernels& k_;
    Arena source_, target_, lo_, hi_;
};

void check_copy(const KernelTable& table) {
    Arena source, target;
    for (int w = 0; w < 3; ++w) {
        const std::string as = std::string("copy bytes ") + kWalks[w];
        for (std::int64_t n = 0; n < 9000; n += n < 140 ? 1 : 997) {
            for (std::int64_t place = 0; place < 64; place += 4) {
                char* x = source.put<char>(n, -1);
                for (std::int64_t i = 0; i < n; ++i)
                    x[i] = static_cast<char>(random_bits(static_cast<std::uint64_t>(i)));
                char* dst = target.put<char>(n, place ? place : -1 - (-n & 3));  // an address divisible by 4
                table.copy(dst, x, n, static_cast<Walk>(w));
                if (std::memcmp(dst, x, static_cast<std::size_t>(n))) fail(as);
                target.check(as);
            }
        }
    }
}

// The engine with two threads, over a list of every dtype.
void check_engine(const KernelTable& table) {
    constexpr std::int64_t kCount = 300'001;
    use(table);
    set_num_threads(2);
    std::vector<std::vector<char>> memory;
    std::vector<Buffer> list;
    const auto append = [&]<class E>(E, DType dtype) {
        memory.emplace_back(kCount * sizeof(E));
        E* x = static_cast<E*>(static_cast<void*>(memory.back().data()));
        for (std::int64_t i = 0; i < kCount; ++i) x[i] = number<E>(2, static_cast<std::uint64_t>(i));
        list.push_back({memory.back().data(), kCount, nullptr, dtype, false});
    };
#define FASTCLIP_APPEND(tag, type, bits, largest) append(type{}, DType::tag);
    FASTCLIP_DTYPES(FASTCLIP_APPEND)
#undef FASTCLIP_APPEND
    mix(digest("engine norm"), bits(norm_list(list)));
    clamp_list(list, {}, -3.0, 5.0);
    mix(digest("engine norm"), bits(norm_list(list)));
}

#if defined(__aarch64__)
// Flushes subnormal numbers, rounds to zero, makes NaN default and f16 without infinity: what the guard must undo.
constexpr std::uint64_t kHostile = 1u << 24 | 3u << 22 | 1u << 25 | 1u << 26;
std::uint64_t fpu_state() {
    std::uint64_t state;
    __asm__ volatile("mrs %0, fpcr" : "=r"(state));
    return state;
}
void spoil_fpu() { __asm__ volatile("msr fpcr, %0" ::"r"(kHostile)); }
void check_fpu() {
    if (fpu_state() != kHostile) fail("the guard did not give the state back");
    __asm__ volatile("msr fpcr, %0" ::"r"(std::uint64_t{0}));
}
#else
void spoil_fpu() {}
void check_fpu() {}
#endif

}  // namespace

int main(int argc, char** argv) {
    const KernelTable* table = argc == 2 ? find_isa(argv[1]) : nullptr;
    if (!table) fail("no such ISA here");
    spoil_fpu();
    {
        FpuGuard fpu;
#define FASTCLIP_CHECK(tag, type, bits, largest) Checks<type>((*table)[DType::tag]).all();
        FASTCLIP_DTYPES(FASTCLIP_CHECK)
#undef FASTCLIP_CHECK
        check_copy(*table);
    }
    check_engine(*table);
    check_fpu();
    for (const auto& [key, value] : digests) std::printf("%s: %016" PRIx64 "\n", key.c_str(), value);
}
