// SPDX-License-Identifier: BSD-3-Clause
#include "bindings/module.hpp"

namespace py = pybind11;

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
    m.doc() = "The native side of fastclip. Private: fastclip's public functions check what these take for granted.";
    m.attr("__version__") = FASTCLIP_VERSION;
    m.attr("compiler") = FASTCLIP_COMPILER;
    m.attr("flags") = FASTCLIP_FLAGS;
    m.attr("commit") = FASTCLIP_COMMIT;
    fastclip::bind_ops(m);
    fastclip::bind_isa(m);
    fastclip::bind_results(m);
    fastclip::bind_array(m);
    fastclip::bind_clip(m);
    fastclip::bind_device(m);
    fastclip::bind_dlpack(m);
    fastclip::bind_torch(m);
    fastclip::bind_update(m);
    fastclip::bind_xla(m);
    fastclip::bind_tensorflow(m);
}
