#include <nanobind/nanobind.h>

#include "bind.hpp"
#include "common.hpp"

// CFVGG_CORE is this build's name, one for each level of the processor's instructions.
NB_MODULE(CFVGG_CORE, m) {
  m.attr("lanes") = cfvgg::kLanes;
#if defined(__x86_64__)
  m.def("supported_levels", [] {
    nanobind::list levels;
    levels.append("v1");
    if (__builtin_cpu_supports("x86-64-v3")) levels.append("v3");
    if (__builtin_cpu_supports("x86-64-v4")) levels.append("v4");
    return levels;
  });
#endif
  cfvgg::bind_fft(m);
  cfvgg::bind_kcf(m);
}
