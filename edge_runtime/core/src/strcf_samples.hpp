// From feature maps, as extractors hand them over, to spectra.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "common.hpp"
#include "fft.hpp"

namespace cfvgg {

// Maps (samples, n, n, channels). A cell's channels lie next to each other; strides are in floats.
struct Maps {
  const float* data = nullptr;
  std::ptrdiff_t sample_stride = 0, row_stride = 0, cell_stride = 0;
};

// Which channels of a group a block of maps holds.
struct BlockChannels {
  int first, count;
  bool unit_range;  // each channel of each sample is scaled to [0, 1] by its own extremes
};

// Half spectra by column: for each kx, for each vector of channels, [n rows][2] vectors, so that a transform
// along a column is one contiguous piece. A cache line between columns keeps them out of each other's sets.
struct SpectrumShape {
  SpectrumShape(int n, int channels)
      : n(n), columns(n / 2 + 1), vectors(padded(channels) / kLanes), vector_floats(2 * kLanes * n),
        column_floats(static_cast<std::ptrdiff_t>(vectors) * vector_floats + 16) {}
  std::size_t floats() const { return columns * column_floats; }
  std::ptrdiff_t place(int kx, int vector, int ky) const {
    return kx * column_floats + vector * vector_floats + 2 * kLanes * ky;
  }

  int n, columns, vectors;
  std::ptrdiff_t vector_floats, column_floats;
};

// The first half of a group's transform: blocks side by side, windowed, and their rows transformed.
class SampleRows {
 public:
  // window: (n, n).
  SampleRows(int n, std::vector<BlockChannels> blocks, const float* window)
      : blocks_(std::move(blocks)), shape_(n, blocks_.back().first + blocks_.back().count), fft_(n),
        window_(static_cast<std::size_t>(n) * n), tile_(shape_.vectors * shape_.vector_floats),
        scratch_(shape_.vector_floats), least_(shape_.vectors * kLanes), factor_(shape_.vectors * kLanes) {
    std::memcpy(window_.data(), window, window_.size() * sizeof(float));
    for (std::size_t c = 0; c < factor_.size(); c++) factor_[c] = 1;
  }

  const SpectrumShape& shape() const { return shape_; }
  std::size_t blocks() const { return blocks_.size(); }
  const BlockChannels& block(std::size_t b) const { return blocks_[b]; }

  // maps: one per block. Writes all rows of `spectrum`; its columns are still to be transformed.
  void forward(const Maps* maps, int sample, float* spectrum) {
    const int n = shape_.n;
    for (std::size_t b = 0; b < blocks_.size(); b++) {
      if (blocks_[b].unit_range) find_range(blocks_[b], maps[b], sample);
    }
    for (int y = 0; y < n; y += 2) {
      const bool two = y + 1 < n;
      for (std::size_t b = 0; b < blocks_.size(); b++) {
        gather(blocks_[b], maps[b], sample, y, 0);
        if (two) gather(blocks_[b], maps[b], sample, y + 1, 1);
      }
      for (int q = 0; q < shape_.vectors; q++) {
        float* a = &tile_[q * shape_.vector_floats];
        if (!two) clear_second(a);
        const float* z = fft_.run<false>(a, scratch_.data());
        float* out = spectrum + q * shape_.vector_floats + 2 * kLanes * y;
        split_pair(z, n, out, two ? out + 2 * kLanes : nullptr, shape_.column_floats, kLanes);
      }
    }
  }

 private:
  void find_range(const BlockChannels& block, const Maps& maps, int sample) {
    float *least = &least_[block.first], *most = &factor_[block.first];  // then the factor
    const float* first = maps.data + sample * maps.sample_stride;
    std::memcpy(least, first, block.count * sizeof(float));
    std::memcpy(most, first, block.count * sizeof(float));
    for (int y = 0; y < shape_.n; y++) {
      for (int x = 0; x < shape_.n; x++) {
        const float* p = first + y * maps.row_stride + x * maps.cell_stride;
        for (int c = 0; c < block.count; c++) {
          least[c] = p[c] < least[c] ? p[c] : least[c];
          most[c] = p[c] > most[c] ? p[c] : most[c];
        }
      }
    }
    for (int c = 0; c < block.count; c++) most[c] = 1 / (most[c] - least[c] + 1e-7f);
  }

  // A row of a block into the tile, [vector][n][2] vectors, as real (part 0) or imaginary parts (1).
  void gather(const BlockChannels& block, const Maps& maps, int sample, int y, int part) {
    const float* row = maps.data + sample * maps.sample_stride + y * maps.row_stride;
    const float* window = &window_[static_cast<std::size_t>(y) * shape_.n];
    if (block.first % kLanes) return gather_singly(block, row, maps.cell_stride, window, part);
    for (int c = 0; c < block.count; c += kLanes) {
      const V least = load(&least_[block.first + c]), factor = load(&factor_[block.first + c]);
      float* to = &tile_[(block.first + c) / kLanes * shape_.vector_floats + part * kLanes];
      const int count = std::min(kLanes, block.count - c);
      const float* from = row + c;
      // A whole vector of a cell's last few channels reaches into the next cell, but for the last one.
      const int whole = count == kLanes ? shape_.n : shape_.n - (kLanes - count) / block.count - 1;
      const Mask mask = first_lanes(count);
      int x = 0;
      for (; x < whole; x++, from += maps.cell_stride, to += 2 * kLanes) {
        const V v = (load(from) - least) * (factor * window[x]);
        store(to, mask ? v : V{});
      }
      for (; x < shape_.n; x++, from += maps.cell_stride, to += 2 * kLanes) {
        V v{};
        for (int l = 0; l < count; l++) v[l] = (from[l] - least[l]) * (factor[l] * window[x]);
        store(to, v);
      }
    }
  }

  // Where a block does not begin at a whole vector.
  void gather_singly(const BlockChannels& block, const float* row, std::ptrdiff_t cell_stride,
                     const float* window, int part) {
    for (int c = block.first; c < block.first + block.count; c++) {
      const float* from = row + (c - block.first);
      float* to = &tile_[c / kLanes * shape_.vector_floats + part * kLanes + c % kLanes];
      for (int x = 0; x < shape_.n; x++, from += cell_stride, to += 2 * kLanes) {
        *to = (*from - least_[c]) * (factor_[c] * window[x]);
      }
    }
  }

  typedef int Mask __attribute__((vector_size(kLanes * sizeof(int))));
  static Mask first_lanes(int count) {
    Mask mask;
    for (int l = 0; l < kLanes; l++) mask[l] = l < count ? -1 : 0;
    return mask;
  }

  void clear_second(float* a) const {
    for (int x = 0; x < shape_.n; x++) store(a + 2 * kLanes * x + kLanes, V{});
  }

  std::vector<BlockChannels> blocks_;
  SpectrumShape shape_;
  Fft fft_;
  Floats window_, tile_, scratch_, least_, factor_;
};

}  // namespace cfvgg
