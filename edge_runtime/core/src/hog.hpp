// Histograms of oriented gradients, 31 channels (Felzenszwalb 2010; Dollar's `fhog`), one patch at a time.
//
// A patch passes through once. Every row of pixels gives gradients, which are added to the four cells around
// each pixel; a row of cells that nothing more is added to is normalised one row later, when the energy of
// the next one is known. What is held at a time fits a small processor's first cache.
#pragma once

#include "hog_axis.hpp"
#include "hog_gradients.hpp"

namespace cfvgg {

class Hog {
 public:
  // The map of a patch: cell (r, c) at out + (r * across + c) * stride, kHogChannels floats.
  void run(const Picture& patch, int cell_px, float* out, std::ptrdiff_t stride) {
    if (!prepare(patch, cell_px)) return;
    const int last_row = down_.cells * cell_px;
    int place = 0;  // row of the places between cells that is being added to
    for (int y = 0; y < last_row; y++) {
      if (down_.after.data()[y] != place) {
        finish_place(place, out, stride);
        place = down_.after.data()[y];
      }
      gradients_.find(patch, y);
      spread(y);
    }
    for (; place <= down_.cells; place++) finish_place(place, out, stride);
    normalise(down_.cells - 1, out, stride);
  }

 private:
  static constexpr int kBins = kSigned + 2;    // stored, so that they are whole vectors of four
  static constexpr int kPlace = kBins * 4;     // floats of a place: four parts a bin
  static constexpr int kCell = 32;             // floats of a cell
  static constexpr int kRing = 4;              // rows of cells that are held

  bool prepare(const Picture& patch, int cell_px) {
    down_.make(patch.rows, cell_px);
    across_.make(patch.columns, cell_px);
    if (down_.cells == 0 || across_.cells == 0) return false;
    pixels_ = across_.cells * cell_px;
    gradients_.start(patch, pixels_);
    place_offsets_.at_least(pixels_);
    spread_columns_.at_least(static_cast<std::size_t>(4) * pixels_);
    for (int x = 0; x < pixels_; x++) {
      const CellAxis::Weights w = across_.weights.data()[x];
      store4(spread_columns_.data() + 4 * x, F4{w.before, w.after, w.before, w.after});
      place_offsets_.data()[x] = across_.after.data()[x] * kPlace;
    }
    const int cells = across_.cells;
    places_.at_least(static_cast<std::size_t>(cells + 1) * kPlace);
    std::fill_n(places_.data(), static_cast<std::size_t>(cells + 1) * kPlace, 0.0f);
    ring_.at_least(static_cast<std::size_t>(kRing) * (cells + 2) * kCell);
    std::fill_n(ring_.data(), static_cast<std::size_t>(kRing) * (cells + 2) * kCell, 0.0f);
    energy_.at_least(static_cast<std::size_t>(2) * cells);
    scale_.at_least(static_cast<std::size_t>(2) * cells);
    const double area_px = static_cast<double>(cell_px) * cell_px;
    least_energy_ = static_cast<float>(1e-4 / 4 / (area_px * area_px));
    share_ = static_cast<float>(0.5 / area_px);  // lengths come doubled
    return true;
  }

  // Adds a row's lengths to the places, each to the four parts of its orientation: those of the cells above
  // left, above right, below left and below right.
  void spread(int y) {
    const CellAxis::Weights of_row = down_.weights.data()[y];
    const float above = of_row.before * share_, below = of_row.after * share_;
    const F4 of_rows = {above, above, below, below};
    // Local, for the stores below might change members as far as the compiler knows.
    const std::uint8_t* bins = Orientations::table().bins();
    const std::uint16_t* index = gradients_.index();
    const float* length = gradients_.length();
    const float* weights = spread_columns_.data();
    const int* offsets = place_offsets_.data();
    float* places = places_.data();
    const auto pixel = [=](int x) {
      float* to = places + offsets[x] + 4 * bins[index[x]];
      store4(to, load4(to) + load4(weights + 4 * x) * of_rows * length[x]);
    };
    // Neighbours often go to the same place, and the second one waits for the first: so go through both
    // halves of the row at once.
    const int half = pixels_ / 2;
    for (int x = 0; x < half; x++) {
      pixel(x);
      pixel(half + x);
    }
    if (pixels_ & 1) pixel(pixels_ - 1);
  }

  float* cells(int row) {
    return ring_.data() + static_cast<std::ptrdiff_t>(row & (kRing - 1)) * (across_.cells + 2) * kCell;
  }

  // Nothing more comes to this row of places: its parts go to the cells, and the row of cells above is whole.
  void finish_place(int place, float* out, std::ptrdiff_t stride) {
    float *above = cells(place + kRing - 1), *below = cells(place);
    std::fill_n(below, (across_.cells + 2) * kCell, 0.0f);
    float* from = places_.data();
    for (int q = 0; q <= across_.cells; q++, from += kPlace, above += kCell, below += kCell) {
      for (int b = 0; b < kBins; b += 4) {
        F4 p0 = load4(from + 4 * b), p1 = load4(from + 4 * b + 4), p2 = load4(from + 4 * b + 8),
           p3 = load4(from + 4 * b + 12);
        transpose(p0, p1, p2, p3);
        store4(above + b, load4(above + b) + p0);
        store4(above + kCell + b, load4(above + kCell + b) + p1);
        store4(below + b, load4(below + b) + p2);
        store4(below + kCell + b, load4(below + kCell + b) + p3);
      }
    }
    std::fill_n(places_.data(), static_cast<std::size_t>(across_.cells + 1) * kPlace, 0.0f);
    if (place == 0) return;
    finish_cells(place - 1);
    if (place > 1) normalise(place - 2, out, stride);
  }

  static void transpose(F4& a, F4& b, F4& c, F4& d) {
    const F4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const F4 cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    a = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
    b = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
    c = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    d = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
  }

  // Unsigned orientations and the energy of a row of cells; then the scales of the blocks of this row and the
  // one above: half, for the sum over four blocks is halved. A map of one row or column has no blocks; this
  // row or column then stands for both of a block.
  void finish_cells(int r) {
    const int n = across_.cells;
    float *now = energy_.data() + (r & 1) * n, *before = energy_.data() + (~r & 1) * n;
    float* cell = cells(r) + kCell;
    for (int c = 0; c < n; c++, cell += kCell) {
      const F4 first = load4(cell) + load4(cell + kUnsigned);
      const F4 second = load4(cell + 4) + load4(cell + kUnsigned + 4);
      const float rest = cell[8] + cell[kUnsigned + 8];
      store4(cell + kSigned, first);
      store4(cell + kSigned + 4, second);
      cell[kSigned + 8] = rest;
      const F4 squares = first * first + second * second;
      now[c] = (squares[0] + squares[1]) + (squares[2] + squares[3]) + rest * rest;
    }
    if (r == 0 && down_.cells > 1) return;
    if (r == 0) before = now;
    float* scale = scale_.data() + (std::max(r - 1, 0) & 1) * n;
    for (int c = 0; c < n; c++) {
      const int next = n > 1 ? std::min(c + 1, n - 1) : 0;
      const float energy = (now[c] + before[c]) + (now[next] + before[next]);
      scale[c] = 0.5f / std::sqrt(energy + least_energy_);
    }
    if (n > 1) scale[n - 1] = scale[n - 2];
  }

  // The 31 channels of a row of cells. Blocks: from the cell on, a row up, a column left, both.
  void normalise(int r, float* out, std::ptrdiff_t stride) {
    const int n = across_.cells, last = std::max(down_.cells - 2, 0);
    const float* lower = scale_.data() + (std::min(r, last) & 1) * n;
    const float* upper = scale_.data() + (std::min(std::max(r - 1, 0), last) & 1) * n;
    const float* cell = cells(r) + kCell;
    float* to = out + static_cast<std::ptrdiff_t>(r) * n * stride;
    for (int c = 0; c < n; c++, cell += kCell, to += stride) {
      const int left = std::max(c - 1, 0);
      normalise_cell(cell, F4{lower[c], upper[c], lower[left], upper[left]}, to);
    }
  }

  static void normalise_cell(const float* cell, F4 scales, float* out) {
    constexpr float kMost = 0.5f * 0.2f, kTexture = 2 * 0.2357f;
    constexpr int kWhole = kSigned / kLanes;  // vectors of signed orientations only
    alignas(64) float channels[kCell];
    alignas(64) float sums[4][kLanes];
    V textures[4] = {};
    for (int j = 0; j < kCell / kLanes; j++) {
      const V h = load(cell + j * kLanes), most = splat(kMost);
      V total{};
      for (int i = 0; i < 4; i++) {
        const V part = h * scales[i];
        const V clipped = part < most ? part : most;
        total += clipped;
        if (j < kWhole) textures[i] += clipped;
      }
      store(channels + j * kLanes, total);
    }
    for (int i = 0; i < 4; i++) store(sums[i], textures[i]);
    F4 texture{};
    for (int l = 0; l < kLanes; l += 4) {
      F4 a = load4(sums[0] + l), b = load4(sums[1] + l), c = load4(sums[2] + l), d = load4(sums[3] + l);
      transpose(a, b, c, d);
      texture += (a + b) + (c + d);
    }
    for (int b = kWhole * kLanes; b < kSigned; b++) {
      const F4 part = scales * cell[b], most = F4{} + kMost;
      texture += part < most ? part : most;
    }
    store4(channels + kSigned + kUnsigned, texture * kTexture);
    std::memcpy(out, channels, kHogChannels * sizeof(float));
  }

  Gradients gradients_;
  CellAxis down_, across_;
  int pixels_ = 0;  // of a row that lie in whole cells
  float least_energy_ = 0, share_ = 0;
  Scratch<int> place_offsets_;
  Scratch<float> spread_columns_, places_, ring_, energy_, scale_;
};

}  // namespace cfvgg
