// SPDX-License-Identifier: BSD-3-Clause
// Which kernels and how many threads; and every kernel of every ISA by itself, for the tests.
#include <string>

#include "bindings/arrays.hpp"
#include "bindings/module.hpp"
#include "core/rule.hpp"
#include "engine/fpu.hpp"
#include "engine/parallel.hpp"
#include "isa/dispatch.hpp"

namespace py = pybind11;

namespace fastclip {
namespace {

py::tuple isa_names(bool only_supported) {
    py::list names;
    for (const IsaInfo& isa : isas())
        if (isa.supported || !only_supported) names.append(isa.table->name);
    return py::tuple(names);
}

const KernelTable& table(const std::string& name) {
    const KernelTable* found = find_isa(name);
    if (!found) throw py::value_error("no such ISA on this CPU: " + name);
    return *found;
}

// One dense array and the kernels for its dtype.
struct Call {
    Gathered gathered;
    FpuGuard fpu;
    const Kernels* k;

    Call(const std::string& isa, py::handle x, Access access) {
        if (!gathered.add(x.ptr(), access, true) || gathered.buffers.size() != 1 || gathered.buffers[0].layout)
            throw py::type_error("expected one dense array");
        k = &table(isa)[buffer().dtype];
    }
    const Buffer& buffer() const { return gathered.buffers[0]; }
    char* data() const { return buffer().data; }
    std::int64_t count() const { return buffer().count; }
};

py::tuple as_tuple(Partial p) { return py::make_tuple(p.hi, p.lo); }

}  // namespace

void bind_isa(py::module_& m) {
    m.def("compiled_isas", [] { return isa_names(false); });
    m.def("supported_isas", [] { return isa_names(true); });
    m.def("isa", [] { return kernels().name; });
    m.def("set_isa", [](const std::string& name) { use(table(name)); });
    m.def("register_bfloat16", &register_bfloat16);
    m.def("num_threads", &num_threads);
    m.def("set_num_threads", &set_num_threads);
    m.def("default_num_threads", &default_num_threads);

    m.def("kernel_sumsq", [](const std::string& isa, py::handle x, double scale) {
        Call c(isa, x, Access::read);
        return as_tuple(c.k->sumsq(c.data(), c.count(), scale));
    });
    m.def("kernel_sumabs", [](const std::string& isa, py::handle x) {
        Call c(isa, x, Access::read);
        return as_tuple(c.k->sumabs(c.data(), c.count()));
    });
    m.def("kernel_maxabs", [](const std::string& isa, py::handle x) {
        Call c(isa, x, Access::read);
        return c.k->maxabs(c.data(), c.count());
    });
    m.def("kernel_counts", [](const std::string& isa, py::handle x) {
        Call c(isa, x, Access::read);
        const Counts counts = c.k->counts(c.data(), c.count());
        return py::make_tuple(counts.nonfinite, counts.zeros);
    });
    m.def("walks", [] { return py::make_tuple("in_cache", "from_memory", "past_cache"); });
    m.def(
        "kernel_copy",
        [](const std::string& isa, py::handle dst, py::handle src, int walk) {
            Call to(isa, dst, Access::write), from(isa, src, Access::read);
            table(isa).copy(to.data(), from.data(), bytes(from.buffer()), static_cast<Walk>(walk));
        },
        py::arg(), py::arg(), py::arg(), py::arg() = 0);
    m.def(
        "kernel_scale",
        [](const std::string& isa, py::handle dst, py::handle src, double by, int walk) {
            Call to(isa, dst, Access::write), from(isa, src, Access::read);
            to.k->scale(to.data(), from.data(), from.count(), {static_cast<float>(by), by < kPlainBelow, by, 1.0, by},
                        static_cast<Walk>(walk));
        },
        py::arg(), py::arg(), py::arg(), py::arg(), py::arg() = 0);
    m.def(
        "kernel_clamp",
        [](const std::string& isa, py::handle dst, py::handle src, double lo, double hi, int walk) {
            Call to(isa, dst, Access::write), from(isa, src, Access::read);
            to.k->clamp(to.data(), from.data(), from.count(), lo, hi, static_cast<Walk>(walk));
        },
        py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg() = 0);
    m.def(
        "kernel_clamp_between",
        [](const std::string& isa, py::handle dst, py::handle src, py::handle lo, py::handle hi, int walk) {
            Call to(isa, dst, Access::write), from(isa, src, Access::read);
            Call low(isa, lo, Access::read), high(isa, hi, Access::read);
            to.k->clamp_between(to.data(), from.data(), from.count(), low.data(), high.data(), static_cast<Walk>(walk));
        },
        py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg() = 0);
    m.def(
        "kernel_first_outside",
        [](const std::string& isa, py::handle x, double lo, double hi, int walk) {
            Call c(isa, x, Access::read);
            return c.k->first_outside(c.data(), c.count(), lo, hi, static_cast<Walk>(walk));
        },
        py::arg(), py::arg(), py::arg(), py::arg(), py::arg() = 0);
    m.def("kernel_drop_nonfinite", [](const std::string& isa, py::handle x) {
        Call c(isa, x, Access::write);
        c.k->drop_nonfinite(c.data(), c.count());
    });
    m.def("kernel_update_sumsq", [](const std::string& isa, py::handle x, py::handle y, double scale) {
        Call c(isa, x, Access::read), before(isa, y, Access::read);
        return as_tuple(c.k->update_sumsq(c.data(), before.data(), c.count(), scale));
    });
    m.def(
        "kernel_scale_update",
        [](const std::string& isa, py::handle x, py::handle y, double by, int walk) {
            Call c(isa, x, Access::write), before(isa, y, Access::read);
            c.k->scale_update(c.data(), before.data(), c.count(),
                              {static_cast<float>(by), by < kPlainBelow, by, 1.0, by}, static_cast<Walk>(walk));
        },
        py::arg(), py::arg(), py::arg(), py::arg(), py::arg() = 0);
    m.def("kernel_drop_nonfinite_update", [](const std::string& isa, py::handle x, py::handle y) {
        Call c(isa, x, Access::write), before(isa, y, Access::read);
        c.k->drop_nonfinite_update(c.data(), before.data(), c.count());
    });
}

}  // namespace fastclip
