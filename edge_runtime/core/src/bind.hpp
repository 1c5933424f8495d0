// What each bind_*.cpp adds to the module.
#pragma once

#include <nanobind/nanobind.h>

namespace cfvgg {

void bind_eco(nanobind::module_& m);
void bind_fft(nanobind::module_& m);
void bind_images(nanobind::module_& m);
void bind_kcf(nanobind::module_& m);
void bind_maps(nanobind::module_& m);
void bind_response(nanobind::module_& m);
void bind_strcf(nanobind::module_& m);

}  // namespace cfvgg
