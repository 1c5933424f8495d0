#include <nanobind/stl/pair.h>

#include "bind.hpp"
#include "cells.hpp"
#include "hog.hpp"
#include "sampling.hpp"
#include "scale_filter.hpp"

namespace cfvgg {

namespace {

bool sized(std::int64_t side_px) { return side_px >= 1 && side_px <= kMostPx; }

Picture picture(const BytesIn<3>& frame) {
  require(sized(frame.shape(0)) && sized(frame.shape(1)), "a frame has rows and columns");
  require(frame.shape(2) == 1 || frame.shape(2) == 3, "a frame is (rows, columns, 3 or 1)");
  return {frame.data(),
          static_cast<int>(frame.shape(0)),
          static_cast<int>(frame.shape(1)),
          static_cast<int>(frame.shape(2)),
          static_cast<std::ptrdiff_t>(frame.stride(0)),
          static_cast<std::ptrdiff_t>(frame.stride(1)),
          static_cast<std::ptrdiff_t>(frame.stride(2))};
}

Sampler& sampler() {
  thread_local Sampler one;
  return one;
}

void cut(BytesIn<3> frame, std::int64_t top, std::int64_t left, std::int64_t rows, std::int64_t columns,
         bool linear, BytesOut<3> out) {
  const Picture from = picture(frame);
  require(sized(rows) && sized(columns), "a patch has 1 to 2^24 px a side");
  require(sized(out.shape(0)) && sized(out.shape(1)) && out.shape(2) == frame.shape(2),
          "the output is (rows, columns, the frame's channels)");
  constexpr std::int64_t kFar = std::int64_t{1} << 40;
  const Rectangle part{std::clamp(top, -kFar, kFar), std::clamp(left, -kFar, kFar), rows, columns};
  const int out_rows = static_cast<int>(out.shape(0)), out_columns = static_cast<int>(out.shape(1));
  sampler().cut(from, part, linear, out_rows, out_columns, out.data());
}

void cut_affine(BytesIn<3> frame, double row, double column, double side_px, BytesOut<3> out) {
  const Picture from = picture(frame);
  require(std::isfinite(row) && std::isfinite(column), "a position is finite");
  require(side_px > 0 && side_px <= static_cast<double>(kMostPx), "a patch has up to 2^24 px a side");
  require(sized(out.shape(0)) && out.shape(0) == out.shape(1) && out.shape(2) == frame.shape(2),
          "the output is (side, side, the frame's channels)");
  sampler().affine(from, row, column, side_px, static_cast<int>(out.shape(0)), out.data());
}

// A batch of patches (n, rows, columns, 3 or 1), and maps (n, rows / cell, columns / cell, channels or more)
// of which the channels from `first` on are written.
struct Batch {
  BytesIn<4> patches;
  FloatOut<4> out;
  int cell_px;
  std::ptrdiff_t first;

  Batch(BytesIn<4> from, int cell, FloatOut<4> to, std::int64_t first_channel, std::size_t channels)
      : patches(from), out(to), cell_px(cell), first(first_channel) {
    require(cell_px >= 1, "a cell has 1 px or more");
    require(patches.shape(3) == 1 || patches.shape(3) == 3, "patches are (n, rows, columns, 3 or 1)");
    require(static_cast<std::int64_t>(patches.shape(1)) <= kMostPx &&
                static_cast<std::int64_t>(patches.shape(2)) <= kMostPx,
            "a patch has up to 2^24 px a side");
    require(out.shape(0) == patches.shape(0) && out.shape(1) == patches.shape(1) / cell_px &&
                out.shape(2) == patches.shape(2) / cell_px && first_channel >= 0 &&
                out.shape(3) >= channels &&
                static_cast<std::size_t>(first_channel) <= out.shape(3) - channels,
            "maps are (n, rows / cell, columns / cell, channels)");
  }

  template <typename Work>
  void each(const Work& work) const {
    if (out.size() == 0) return;
    const std::size_t map = out.shape(1) * out.shape(2) * out.shape(3);
    for (std::size_t i = 0; i < patches.shape(0); i++) {
      const Picture one{patches.data() + static_cast<std::ptrdiff_t>(i) * patches.stride(0),
                        static_cast<int>(patches.shape(1)),
                        static_cast<int>(patches.shape(2)),
                        static_cast<int>(patches.shape(3)),
                        static_cast<std::ptrdiff_t>(patches.stride(1)),
                        static_cast<std::ptrdiff_t>(patches.stride(2)),
                        static_cast<std::ptrdiff_t>(patches.stride(3))};
      work(one, out.data() + i * map + first, static_cast<std::ptrdiff_t>(out.shape(3)));
    }
  }
};

CellMeans& means() {
  thread_local CellMeans one;
  return one;
}

void hog(BytesIn<4> patches, int cell_px, FloatOut<4> out, std::int64_t first_channel) {
  thread_local Hog one;
  Batch(patches, cell_px, out, first_channel, kHogChannels)
      .each([cell_px](const Picture& patch, float* to, std::ptrdiff_t stride) {
        one.run(patch, cell_px, to, stride);
      });
}

void grey(BytesIn<4> patches, int cell_px, FloatOut<4> out, std::int64_t first_channel) {
  Batch(patches, cell_px, out, first_channel, 1)
      .each([cell_px](const Picture& patch, float* to, std::ptrdiff_t stride) {
        means().grey(patch, cell_px, to, stride);
      });
}

void colour_names(BytesIn<4> patches, FloatIn<2> table, int cell_px, FloatOut<4> out,
                  std::int64_t first_channel) {
  require(patches.shape(3) == 3, "colour names need three channels");
  require(table.shape(0) == 32 * 32 * 32, "a table of colour names has 32768 rows");
  const int entries = static_cast<int>(table.shape(1));
  Batch(patches, cell_px, out, first_channel, table.shape(1))
      .each([&](const Picture& patch, float* to, std::ptrdiff_t stride) {
        means().names(patch, table.data(), entries, cell_px, to, stride);
      });
}

void bind_scale_filter(nb::module_& m) {
  using Unlocked = nb::call_guard<nb::gil_scoped_release>;
  using Pair = std::pair<double, double>;
  const auto check = [](const ScaleFilter& filter, const FloatIn<2>& features) {
    require(static_cast<int>(features.shape(0)) == filter.scales() &&
                static_cast<int>(features.shape(1)) == filter.features(),
            "a sample is (scales, features)");
  };
  nb::class_<ScaleFilter>(m, "ScaleFilter")
      .def(
          "__init__",
          [](ScaleFilter* self, int scales, int interpolated_scales, double step, double label_sigma,
             double learning_rate, double regularisation, double model_area_px, Pair target_px,
             Pair base_px) {
            new (self) ScaleFilter({scales, interpolated_scales, step, label_sigma, learning_rate,
                                    regularisation, model_area_px},
                                   {target_px.first, target_px.second}, {base_px.first, base_px.second});
          },
          nb::arg("scales"), nb::arg("interpolated_scales"), nb::arg("step"), nb::arg("label_sigma"),
          nb::arg("learning_rate"), nb::arg("regularisation"), nb::arg("model_area_px"), nb::arg("target_px"),
          nb::arg("base_px"))
      .def_prop_ro("features", &ScaleFilter::features)
      .def(
          "learn",
          [](ScaleFilter& self, BytesIn<3> frame, double row, double column, double scale) {
            self.learn(picture(frame), row, column, scale);
          },
          nb::arg("frame").noconvert(), nb::arg("row"), nb::arg("column"), nb::arg("scale"), Unlocked())
      .def(
          "locate",
          [](ScaleFilter& self, BytesIn<3> frame, double row, double column, double scale) {
            return self.locate(picture(frame), row, column, scale);
          },
          nb::arg("frame").noconvert(), nb::arg("row"), nb::arg("column"), nb::arg("scale"), Unlocked())
      .def("sample",
           [](ScaleFilter& self, BytesIn<3> frame, double row, double column, double scale, FloatOut<2> out) {
             require(static_cast<int>(out.shape(0)) == self.scales() &&
                         static_cast<int>(out.shape(1)) == self.features(),
                     "a sample is (scales, features)");
             self.sample(picture(frame), row, column, scale, out.data(), self.features());
           })
      .def("learn_features",
           [check](ScaleFilter& self, FloatIn<2> features) {
             check(self, features);
             self.learn(features.data());
           })
      .def("locate_features", [check](ScaleFilter& self, FloatIn<2> features) {
        check(self, features);
        return self.locate(features.data());
      });
}

}  // namespace

void bind_images(nb::module_& m) {
  using Unlocked = nb::call_guard<nb::gil_scoped_release>;
  m.def("cut", &cut, nb::arg("frame").noconvert(), nb::arg("top"), nb::arg("left"), nb::arg("rows"),
        nb::arg("columns"), nb::arg("linear"), nb::arg("out").noconvert(), Unlocked());
  m.def("cut_affine", &cut_affine, nb::arg("frame").noconvert(), nb::arg("row"), nb::arg("column"),
        nb::arg("side_px"), nb::arg("out").noconvert(), Unlocked());
  m.def("hog", &hog, nb::arg("patches").noconvert(), nb::arg("cell_px"), nb::arg("out").noconvert(),
        nb::arg("first_channel") = 0, Unlocked());
  m.def("grey", &grey, nb::arg("patches").noconvert(), nb::arg("cell_px"), nb::arg("out").noconvert(),
        nb::arg("first_channel") = 0, Unlocked());
  m.def("colour_names", &colour_names, nb::arg("patches").noconvert(), nb::arg("table").noconvert(),
        nb::arg("cell_px"), nb::arg("out").noconvert(), nb::arg("first_channel") = 0, Unlocked());
  bind_scale_filter(m);
}

}  // namespace cfvgg
