#include <nanobind/stl/tuple.h>

#include <tuple>

#include "bind.hpp"
#include "response.hpp"

namespace cfvgg {

namespace {

using FoundTuple = std::tuple<double, double, double, double, int>;

FoundTuple as_tuple(const Found& found) {
  return FoundTuple(found.down, found.across, found.height, found.psr, found.scale);
}

// For tests: (down, across, height, psr, scale) of spectra (scales, n, n / 2 + 1, 2); maps (scales, n, n).
FoundTuple locate(FloatIn<4> spectra, bool centred, float unit, int newton_iterations, int exclude_cells,
                 FloatOut<3> maps) {
  const int scales = static_cast<int>(spectra.shape(0)), n = static_cast<int>(spectra.shape(1));
  Response response(n, scales, centred ? Response::Rows::kCentred : Response::Rows::kNatural, unit);
  require(static_cast<int>(spectra.shape(2)) == response.columns() && spectra.shape(3) == 2 &&
              maps.shape(0) == spectra.shape(0) && static_cast<int>(maps.shape(1)) == n &&
              maps.shape(2) == maps.shape(1),
          "spectra are (scales, n, n / 2 + 1, 2), maps (scales, n, n)");
  const float* from = spectra.data();
  for (int s = 0; s < scales; s++) {
    for (int row = 0; row < n; row++) {
      for (int k = 0; k < response.columns(); k++, from += 2) {
        response.re(s, row)[k] = from[0];
        response.im(s, row)[k] = from[1];
      }
    }
  }
  const Found found = response.locate(newton_iterations, exclude_cells);
  for (int s = 0; s < scales; s++) {
    for (int i = 0; i < n * n; i++) maps.data()[s * n * n + i] = response.map(s)[i % n * n + i / n];
  }
  return as_tuple(found);
}

double sidelobe_ratio(FloatIn<2> map, int exclude_cells) {
  const int rows = static_cast<int>(map.shape(0)), columns = static_cast<int>(map.shape(1));
  require(rows > 0 && columns > 0, "a map has cells");
  const int at = highest(map.data(), rows * columns);
  return peak_to_sidelobe_ratio(map.data(), rows, columns, at, exclude_cells);
}

}  // namespace

void bind_response(nb::module_& m) {
  m.def("locate", &locate, nb::arg("spectra"), nb::arg("centred"), nb::arg("unit"),
        nb::arg("newton_iterations"), nb::arg("exclude_cells"), nb::arg("maps").noconvert());
  m.def("peak_to_sidelobe_ratio", &sidelobe_ratio, nb::arg("map"), nb::arg("exclude_cells"));
}

}  // namespace cfvgg
