// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <pybind11/pybind11.h>

namespace fastclip {

void bind_ops(pybind11::module_& m);
void bind_isa(pybind11::module_& m);
void bind_results(pybind11::module_& m);
void bind_array(pybind11::module_& m);
void bind_clip(pybind11::module_& m);
void bind_device(pybind11::module_& m);
void bind_dlpack(pybind11::module_& m);
void bind_torch(pybind11::module_& m);
void bind_update(pybind11::module_& m);
void bind_xla(pybind11::module_& m);
void bind_tensorflow(pybind11::module_& m);

}  // namespace fastclip
