// What each bind_*.cpp adds to the module.
#pragma once

#include <nanobind/nanobind.h>

namespace cfvgg {

void bind_fft(nanobind::module_& m);
void bind_kcf(nanobind::module_& m);

}  // namespace cfvgg
