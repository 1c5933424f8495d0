#include <nanobind/nanobind.h>

#include "bind.hpp"
#include "common.hpp"

// CFVGG_CORE is this build's name, one for each level of the processor's instructions.
NB_MODULE(CFVGG_CORE, m) {
  m.attr("lanes") = cfvgg::kLanes;
  m.def("supported_levels", [] {
    nanobind::typed<nanobind::list, nanobind::str> levels;
    levels.append("v1");
#if defined(__x86_64__)
    if (__builtin_cpu_supports("x86-64-v3")) levels.append("v3");
    if (__builtin_cpu_supports("x86-64-v4")) levels.append("v4");
#endif
    return levels;
  });
  cfvgg::bind_eco(m);
  cfvgg::bind_fft(m);
  cfvgg::bind_images(m);
  cfvgg::bind_kcf(m);
  cfvgg::bind_maps(m);
  cfvgg::bind_response(m);
  cfvgg::bind_strcf(m);
}
