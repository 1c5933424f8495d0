// Frames and patches as they lie in memory, and what all kernels on pictures use.
#pragma once

#include <algorithm>
#include <vector>

#include "common.hpp"

namespace cfvgg {

// Four floats: a pixel of three channels and one more, or the four parts of something.
typedef float F4 __attribute__((vector_size(16)));

inline F4 load4(const float* p) {
  F4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline void store4(float* p, F4 v) {
  std::memcpy(p, &v, sizeof v);
}

// Sides up to this are accepted, so that products of sides and steps stay far from the end of the integers.
constexpr std::int64_t kMostPx = 1 << 24;

// uint8 (rows, columns, 1 or 3) in memory of others, with any steps between rows, pixels and channels.
struct Picture {
  const std::uint8_t* data;
  int rows, columns, channels;
  std::ptrdiff_t row_step, pixel_step, channel_step;

  bool packed() const { return pixel_step == channels && (channels == 1 || channel_step == 1); }

  // Pixels [first, first + count) of a row, channels innermost: where they are, or gathered in `scratch`.
  const std::uint8_t* pixels(int row, int first, int count, std::uint8_t* scratch) const {
    const std::uint8_t* from = data + row * row_step + first * pixel_step;
    if (packed()) return from;
    if (channels == 1) {
      for (int i = 0; i < count; i++) scratch[i] = from[i * pixel_step];
    } else {
      for (int i = 0; i < count; i++) {
        for (int c = 0; c < channels; c++) {
          scratch[i * channels + c] = from[i * pixel_step + c * channel_step];
        }
      }
    }
    return scratch;
  }

  // Every step-th row and column, from the first ones.
  Picture every(int step) const {
    return {data,        (rows + step - 1) / step, (columns + step - 1) / step,
            channels,    row_step * step,          pixel_step * step,
            channel_step};
  }
};

// Memory that only grows: after the first frames nothing is allocated any more.
template <typename T>
class Scratch {
 public:
  T* at_least(std::size_t size) {
    if (held_.size() < size) held_.resize(size);
    return held_.data();
  }
  T* data() { return held_.data(); }
  const T* data() const { return held_.data(); }

 private:
  std::vector<T> held_;
};

}  // namespace cfvgg
