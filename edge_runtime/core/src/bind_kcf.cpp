#include <nanobind/stl/tuple.h>

#include <cmath>
#include <tuple>

#include "bind.hpp"
#include "kcf.hpp"

namespace cfvgg {

namespace {

// Maps of the filter's shape, or an error.
const float* checked(const KcfCore& core, const FloatIn<3>& maps) {
  const auto n = static_cast<std::size_t>(core.size());
  require(
      maps.shape(0) == n && maps.shape(1) == n && maps.shape(2) == static_cast<std::size_t>(core.channels()),
      "maps have another shape than the filter's");
  return maps.data();
}

KcfCore::Found detect(KcfCore& core, const float* maps) {
  nb::gil_scoped_release release;
  return core.detect(maps);
}

void make(KcfCore* self, FloatIn<2> window, FloatIn<2> label, int channels, float ridge, float sigma,
          int exclude_cells) {
  const std::size_t n = window.shape(0);
  require(n >= 5 && n <= 512 && window.shape(1) == n && label.shape(0) == n && label.shape(1) == n,
          "window and label are (n, n), n from 5 to 512");
  require(channels >= 1 && channels <= 4096, "1 to 4096 channels");
  require(ridge > 0 && std::isfinite(ridge) && sigma >= 0 && std::isfinite(sigma) && exclude_cells >= 0,
          "ridge is positive, sigma and exclude_cells are not negative");
  new (self) KcfCore(static_cast<int>(n), channels, window.data(), label.data(), ridge, sigma, exclude_cells);
}

}  // namespace

void bind_kcf(nb::module_& m) {
  nb::class_<KcfCore>(m, "KcfCore")
      .def("__init__", &make, nb::arg("window").noconvert(), nb::arg("label").noconvert(), nb::kw_only(),
           nb::arg("channels"), nb::arg("ridge"), nb::arg("sigma"), nb::arg("exclude_cells"))
      .def(
          "start",
          [](KcfCore& core, FloatIn<3> maps) {
            const float* data = checked(core, maps);
            nb::gil_scoped_release release;  // others may run meanwhile: a tracker that this one will succeed
            core.start(data);
          },
          nb::arg("maps").noconvert())
      .def(
          "detect",
          [](KcfCore& core, FloatIn<3> maps) {
            const KcfCore::Found found = detect(core, checked(core, maps));
            return std::make_tuple(found.down, found.right, found.psr);
          },
          nb::arg("maps").noconvert())
      .def(
          "learn",
          [](KcfCore& core, float down, float right, float rate) {
            require(std::isfinite(down) && std::isfinite(right) && rate >= 0 && rate <= 1,
                    "a displacement is finite, a rate from 0 to 1");
            nb::gil_scoped_release release;
            core.learn(down, right, rate);
          },
          nb::arg("down"), nb::arg("right"), nb::arg("rate"))
      .def(
          "response",
          [](const KcfCore& core, FloatOut<2> out) {
            const auto n = static_cast<std::size_t>(core.size());
            require(out.shape(0) == n && out.shape(1) == n, "a response is (n, n)");
            std::memcpy(out.data(), core.response(), n * n * sizeof(float));
          },
          nb::arg("out").noconvert());
}

}  // namespace cfvgg
