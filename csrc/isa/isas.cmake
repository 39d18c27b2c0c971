# SPDX-License-Identifier: BSD-3-Clause
# One row per ISA, worst to best: name, then the compiler flags that its kernels are compiled with.
# Whether a CPU has it is said by supported() in cpu.cpp.

set(FASTCLIP_ISAS baseline)
set(FASTCLIP_FLAGS_baseline "")

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$" AND NOT MSVC)
  list(APPEND FASTCLIP_ISAS avx2 avx512)
  set(FASTCLIP_FLAGS_avx2 -mavx2 -mfma -mf16c -mbmi2)
  set(FASTCLIP_FLAGS_avx512 ${FASTCLIP_FLAGS_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl
                            -mprefer-vector-width=512)
endif()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$" AND NOT MSVC)
  list(APPEND FASTCLIP_ISAS neon)
  set(FASTCLIP_FLAGS_neon -DFASTCLIP_NEON)
endif()
