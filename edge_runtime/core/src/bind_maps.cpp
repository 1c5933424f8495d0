#include "bind.hpp"
#include "picture.hpp"

namespace cfvgg {

namespace {

// The mean of one channel, or of four.
template <class T>
inline void pool_one(const float* p, std::ptrdiff_t row, std::ptrdiff_t column, std::size_t pooling,
                     float factor, float* o) {
  T total{};
  for (std::size_t y = 0; y < pooling; y++) {
    for (std::size_t x = 0; x < pooling; x++) {
      T value;
      std::memcpy(&value, p + static_cast<std::ptrdiff_t>(y) * row + static_cast<std::ptrdiff_t>(x) * column,
                  sizeof value);
      total += value;
    }
  }
  total *= factor;
  std::memcpy(o, &total, sizeof total);
}

// Means over squares of `pooling` cells: (rows, columns, channels), channels contiguous, to (cells, cells,
// channels).
void pool(nb::ndarray<const float, nb::ndim<3>, nb::device::cpu> maps, FloatOut<3> out) {
  const std::size_t cells = out.shape(0), channels = out.shape(2),
                    pooling = cells ? maps.shape(0) / cells : 0;
  require(cells > 0 && out.shape(1) == cells && maps.shape(2) == channels &&
              maps.shape(0) == cells * pooling && maps.shape(1) == cells * pooling && pooling > 0,
          "maps (cells * pooling, cells * pooling, channels), out (cells, cells, channels)");
  require(channels == 1 || maps.stride(2) == 1, "channels must be contiguous");
  const float factor = 1.0f / static_cast<float>(pooling * pooling);
  for (std::size_t r = 0; r < cells; r++) {
    for (std::size_t c = 0; c < cells; c++) {
      const float* first = maps.data() + static_cast<std::ptrdiff_t>(r * pooling) * maps.stride(0) +
                           static_cast<std::ptrdiff_t>(c * pooling) * maps.stride(1);
      float* o = out.data() + (r * cells + c) * channels;
      std::size_t l = 0;
      for (; l + 4 <= channels; l += 4)
        pool_one<F4>(first + l, maps.stride(0), maps.stride(1), pooling, factor, o + l);
      for (; l < channels; l++)
        pool_one<float>(first + l, maps.stride(0), maps.stride(1), pooling, factor, o + l);
    }
  }
}

}  // namespace

void bind_maps(nb::module_& m) {
  m.def("pool", &pool, nb::arg("maps").noconvert(), nb::arg("out").noconvert());
}

}  // namespace cfvgg
