// Tables of the histograms of oriented gradients: orientations, and how pixels are spread over cells.
#pragma once

#include <cmath>

#include "picture.hpp"

namespace cfvgg {

constexpr int kSigned = 18, kUnsigned = 9, kHogChannels = kSigned + kUnsigned + 4;

// Orientations by the cosine of the gradient's angle in steps of 1e-4, as the authors' program has them.
// A gradient that points up (y < 0) is turned by half a circle, and found in the second half.
class Orientations {
 public:
  static constexpr int kSteps = 20001;

  Orientations() {
    const float pi = static_cast<float>(M_PI);
    for (int i = 0; i < kSteps; i++) {
      const float cosine = static_cast<float>(i - 10000) / 10000.0f;
      const float angle = std::min(static_cast<float>(std::acos(static_cast<double>(cosine))), pi - 1e-6f);
      bins_[i] = nearest(angle);
      bins_[kSteps + i] = nearest(angle + pi);
    }
  }

  const std::uint8_t* bins() const { return bins_; }

  static const Orientations& table() {
    static const Orientations one;
    return one;
  }

 private:
  static std::uint8_t nearest(float angle) {
    const float per_radian = static_cast<float>(kSigned) / (2 * static_cast<float>(M_PI));
    volatile const float turned = angle * per_radian;  // rounded before the half is added
    const int bin = static_cast<int>(turned + 0.5f);
    return static_cast<std::uint8_t>(bin >= kSigned ? 0 : bin);
  }

  std::uint8_t bins_[2 * kSteps];
};

// For every pixel of an axis the cell after its centre, and the weights of the cell before and of that cell.
// What lies outside the cells has no weight. The first and the last cell get 8/7 of it, as in `fhog`.
struct CellAxis {
  struct Weights {
    float before, after;
  };
  int size_px = 0, cell_px = 0, cells = 0;
  Scratch<int> after;
  Scratch<Weights> weights;

  void make(int pixels, int cell) {
    if (pixels == size_px && cell == cell_px) return;
    size_px = pixels;
    cell_px = cell;
    cells = pixels / cell;
    const int inside = cells * cell;
    after.at_least(inside);
    weights.at_least(inside);
    for (int i = 0; i < inside; i++) {
      // The pixel's centre lies at cell (i + 0.5) / cell - 0.5.
      const std::int64_t width = 2 * static_cast<std::int64_t>(cell);
      const std::int64_t doubled = 2 * static_cast<std::int64_t>(i) + 1 + cell;
      const int next = static_cast<int>(doubled / width);
      const double share = static_cast<double>(doubled % width) / static_cast<double>(width);
      after.data()[i] = next;
      weights.data()[i] = {static_cast<float>(gain(next - 1) * (1 - share)),
                           static_cast<float>(gain(next) * share)};
    }
  }

 private:
  double gain(int cell) const {
    if (cell < 0 || cell >= cells) return 0;
    const double border = 8.0 / 7;
    return (cell == 0 ? border : 1) * (cell == cells - 1 ? border : 1);
  }
};

}  // namespace cfvgg
