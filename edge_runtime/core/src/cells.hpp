// Means over cells: intensity, and entries of a table of colours.
#pragma once

#include "picture.hpp"

namespace cfvgg {

class CellMeans {
 public:
  // Mean intensity of every cell, -0.5 to 0.5, at out + (r * across + c) * stride.
  void grey(const Picture& patch, int cell_px, float* out, std::ptrdiff_t stride) {
    const int down = patch.rows / cell_px, across = patch.columns / cell_px, channels = patch.channels;
    if (down == 0 || across == 0) return;
    const int pixels = across * cell_px, values = pixels * channels;
    std::uint8_t* scratch = bytes_.at_least(values);
    std::int32_t* sums = sums_.at_least(values);
    const float area = 255.0f * static_cast<float>(cell_px) * static_cast<float>(cell_px);
    for (int r = 0; r < down; r++) {
      std::fill_n(sums, values, 0);
      for (int k = 0; k < cell_px; k++) {
        add(patch.pixels(r * cell_px + k, 0, pixels, scratch), values, sums);
      }
      const std::int32_t* from = sums;
      for (int c = 0; c < across; c++, out += stride) {
        std::int64_t total[3] = {};
        for (int k = 0; k < cell_px; k++) {
          for (int channel = 0; channel < channels; channel++) total[channel] += *from++;
        }
        *out = luma(total, channels) / area - 0.5f;
      }
    }
  }

  // Mean of the table's rows (entries floats each) of every cell's pixels, which are
  // R // 8 + 32 (G // 8 + 32 (B // 8)).
  void names(const Picture& patch, const float* table, int entries, int cell_px, float* out,
             std::ptrdiff_t stride) {
    const int down = patch.rows / cell_px, across = patch.columns / cell_px;
    if (down == 0 || across == 0) return;
    const int pixels = across * cell_px;
    std::uint8_t* scratch = bytes_.at_least(static_cast<std::size_t>(pixels) * 3);
    const float share = 1 / (static_cast<float>(cell_px) * static_cast<float>(cell_px));
    for (int r = 0; r < down; r++, out += across * stride) {
      for (int c = 0; c < across; c++) std::fill_n(out + c * stride, entries, 0.0f);
      for (int k = 0; k < cell_px; k++) {
        const std::uint8_t* from = patch.pixels(r * cell_px + k, 0, pixels, scratch);
        for (int c = 0; c < across; c++) {
          for (int x = 0; x < cell_px; x++, from += 3) {
            const int index = (from[2] >> 3) + 32 * (from[1] >> 3) + 1024 * (from[0] >> 3);
            add_row(table + static_cast<std::ptrdiff_t>(index) * entries, entries, out + c * stride);
          }
        }
      }
      for (int c = 0; c < across; c++) {
        for (int e = 0; e < entries; e++) out[c * stride + e] *= share;
      }
    }
  }

 private:
  static float luma(const std::int64_t* total, int channels) {
    if (channels == 1) return static_cast<float>(total[0]);
    return 0.114020904255103f * static_cast<float>(total[0]) +
           0.587043074451121f * static_cast<float>(total[1]) +
           0.298936021293775f * static_cast<float>(total[2]);
  }

  static void add(const std::uint8_t* __restrict from, int count, std::int32_t* __restrict sums) {
    for (int i = 0; i < count; i++) sums[i] += from[i];
  }

  static void add_row(const float* __restrict from, int count, float* __restrict to) {
    for (int i = 0; i < count; i++) to[i] += from[i];
  }

  Scratch<std::uint8_t> bytes_;
  Scratch<std::int32_t> sums_;
};

}  // namespace cfvgg
