#include "bind.hpp"
#include "sampling.hpp"

namespace cfvgg {

namespace {

Picture picture(const BytesIn<3>& frame) {
  require(frame.shape(0) >= 1 && frame.shape(1) >= 1 && static_cast<std::int64_t>(frame.shape(0)) <= kMostPx &&
              static_cast<std::int64_t>(frame.shape(1)) <= kMostPx,
          "a frame has rows and columns");
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
  require(rows >= 1 && columns >= 1 && rows <= kMostPx && columns <= kMostPx, "a patch has 1 to 2^24 px a side");
  require(out.shape(0) >= 1 && out.shape(1) >= 1 && out.shape(2) == frame.shape(2) &&
              static_cast<std::int64_t>(out.shape(0)) <= kMostPx && static_cast<std::int64_t>(out.shape(1)) <= kMostPx,
          "the output is (rows, columns, the frame's channels)");
  constexpr std::int64_t kFar = std::int64_t{1} << 40;
  const Rectangle part{std::clamp(top, -kFar, kFar), std::clamp(left, -kFar, kFar), rows, columns};
  sampler().cut(from, part, linear, static_cast<int>(out.shape(0)), static_cast<int>(out.shape(1)), out.data());
}

void cut_affine(BytesIn<3> frame, double row, double column, double side_px, BytesOut<3> out) {
  const Picture from = picture(frame);
  require(std::isfinite(row) && std::isfinite(column), "a position is finite");
  require(side_px > 0 && side_px <= static_cast<double>(kMostPx), "a patch has up to 2^24 px a side");
  require(out.shape(0) >= 1 && out.shape(0) == out.shape(1) && out.shape(2) == frame.shape(2) &&
              static_cast<std::int64_t>(out.shape(0)) <= kMostPx,
          "the output is (side, side, the frame's channels)");
  sampler().affine(from, row, column, side_px, static_cast<int>(out.shape(0)), out.data());
}

}  // namespace

void bind_images(nb::module_& m) {
  using Unlocked = nb::call_guard<nb::gil_scoped_release>;
  m.def("cut", &cut, nb::arg("frame").noconvert(), nb::arg("top"), nb::arg("left"), nb::arg("rows"),
        nb::arg("columns"), nb::arg("linear"), nb::arg("out").noconvert(), Unlocked());
  m.def("cut_affine", &cut_affine, nb::arg("frame").noconvert(), nb::arg("row"), nb::arg("column"),
        nb::arg("side_px"), nb::arg("out").noconvert(), Unlocked());
}

}  // namespace cfvgg
