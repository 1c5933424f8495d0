// Fourier series of maps on odd grids, half of the spectrum, all channels of a frequency together.
//
// Frequencies -K..K down and 0..K across; each has [2][stored] floats, real parts first. `stored` is the
// number of channels rounded up to whole vectors; the padding is zero.
#pragma once

#include <cmath>
#include <vector>

#include "common.hpp"
#include "fft.hpp"

namespace cfvgg {

struct SeriesShape {
  int size, columns, channels, stored;  // size = 2 K + 1, columns = K + 1

  SeriesShape(int cells, int channels_)
      : size(cells + 1 - cells % 2), columns(size / 2 + 1), channels(channels_), stored(padded(channels_)) {}
  int frequencies() const { return size * columns; }
  std::size_t floats() const { return static_cast<std::size_t>(frequencies()) * 2 * stored; }
  std::size_t at(int row, int column) const {
    return (static_cast<std::size_t>(row) * columns + column) * 2 * stored;
  }
};

// The series of a map from its DFT (cells, cells / 2 + 1, 2, stored), times `factor` (size, columns, 2).
// An even map has one frequency +-cells / 2 where the series has two: both get it, but for one corner.
inline void to_series(const float* dft, int cells, const SeriesShape& shape, const float* factor,
                      float* out) {
  const int half = shape.size / 2, stored = shape.stored;
  for (int r = 0; r < shape.size; r++) {
    const int row = (r - half + cells) % cells;
    const float* from = dft + static_cast<std::size_t>(row) * (cells / 2 + 1) * 2 * stored;
    for (int c = 0; c < shape.columns; c++) {
      const float *p = from + static_cast<std::size_t>(c) * 2 * stored,
                  *f = factor + 2 * (r * shape.columns + c);
      float* o = out + shape.at(r, c);
      const bool corner = cells % 2 == 0 && r == 0 && c == half;
      const float re = corner ? 0.0f : f[0], im = corner ? 0.0f : f[1];
      for (int l = 0; l < stored; l += kLanes) {
        const V x = load(p + l), y = load(p + stored + l);
        store(o + l, x * re - y * im);
        store(o + stored + l, x * im + y * re);
      }
    }
  }
}

// Moves series by (down, across) radians: e^(i (ky down + kx across)) for every frequency, from one row and
// one column of factors.
class Shift {
 public:
  explicit Shift(int most_size) : down_(2 * most_size), across_(2 * most_size) {}

  void set(const SeriesShape& shape, double down, double across) {
    const int half = shape.size / 2;
    for (int r = 0; r < shape.size; r++) {
      down_[2 * r] = static_cast<float>(std::cos((r - half) * down));
      down_[2 * r + 1] = static_cast<float>(std::sin((r - half) * down));
    }
    for (int c = 0; c < shape.columns; c++) {
      across_[2 * c] = static_cast<float>(std::cos(c * across));
      across_[2 * c + 1] = static_cast<float>(std::sin(c * across));
    }
  }
  void apply(const SeriesShape& shape, const float* from, float* to) const {
    const int stored = shape.stored;
    for (int r = 0; r < shape.size; r++) {
      for (int c = 0; c < shape.columns; c++) {
        const float re = down_[2 * r] * across_[2 * c] - down_[2 * r + 1] * across_[2 * c + 1];
        const float im = down_[2 * r] * across_[2 * c + 1] + down_[2 * r + 1] * across_[2 * c];
        const float* p = from + shape.at(r, c);
        float* o = to + shape.at(r, c);
        for (int l = 0; l < stored; l += kLanes) {
          const V x = load(p + l), y = load(p + stored + l);
          store(o + l, x * re - y * im);
          store(o + stored + l, x * im + y * re);
        }
      }
    }
  }

 private:
  Floats down_, across_;
};

// Re <a, b> over the whole spectrum: every column counts twice but the zero one.
inline double inner_product(const SeriesShape& shape, const float* a, const float* b) {
  double total = 0;
  const int floats = 2 * shape.stored;
  for (int r = 0; r < shape.size; r++) {
    V zero = V{}, rest = V{};
    const float *p = a + shape.at(r, 0), *q = b + shape.at(r, 0);
    for (int l = 0; l < floats; l += kLanes) zero += load(p + l) * load(q + l);
    const int end = floats * shape.columns;
    V rest2 = V{};
    int l = floats;
    for (; l + kLanes < end; l += 2 * kLanes) {
      rest += load(p + l) * load(q + l);
      rest2 += load(p + l + kLanes) * load(q + l + kLanes);
    }
    if (l < end) rest += load(p + l) * load(q + l);
    total += static_cast<double>(sum(zero)) + 2 * static_cast<double>(sum(rest + rest2));
  }
  return total;
}

// x(-ky, 0) = conj(x(ky, 0)) in the zero column: rounding drifts away from it.
inline void symmetrise(const SeriesShape& shape, float* x) {
  const int half = shape.size / 2;
  for (int k = 1; k <= half; k++) {
    const float* from = x + shape.at(half - k, 0);
    float* to = x + shape.at(half + k, 0);
    for (int l = 0; l < shape.stored; l++) {
      to[l] = from[l];
      to[shape.stored + l] = -from[shape.stored + l];
    }
  }
}

// W^H W f: the convolution with a small symmetric real kernel, (rows, columns) odd; zero outside the stored
// frequencies, left of column zero the conjugate of the opposite frequency.
class Regularisation {
 public:
  Regularisation(const float* kernel, int rows, int columns) : down_(rows / 2), across_(columns / 2) {
    for (int r = 0; r < rows; r++) {
      for (int c = 0; c < columns; c++) {
        const float weight = kernel[r * columns + c];
        if (weight != 0) taps_.push_back({r - rows / 2, c - columns / 2, weight});
      }
    }
    offsets_.resize(taps_.size());
  }

  // Room for series of this shape; before add().
  void reserve(const SeriesShape& s) {
    if (find(s)) return;
    const std::size_t floats =
        static_cast<std::size_t>(s.size + 2 * down_) * (s.columns + 2 * across_) * 2 * s.stored;
    rooms_.push_back({s.size, s.stored, Floats(floats)});
  }

  // out += W^H W f.
  void add(const SeriesShape& s, const float* f, float* out) {
    const std::ptrdiff_t place = 2 * s.stored, row = (s.columns + 2 * across_) * place;
    float* around = find(s);
    surround(s, f, row, around);
    for (std::size_t t = 0; t < taps_.size(); t++) {
      offsets_[t] = (taps_[t].down + down_) * row + (taps_[t].across + across_) * place;
    }
    for (int r = 0; r < s.size; r++, out += s.columns * place) {
      const float* from = around + r * row;
      std::ptrdiff_t l = 0;
      for (; l + 8 * kLanes <= s.columns * place; l += 8 * kLanes) add_some<8>(from + l, out + l);
      for (; l < s.columns * place; l += 2 * kLanes) add_some<2>(from + l, out + l);
    }
  }

 private:
  struct Tap {
    int down, across;
    float weight;
  };

  template <int kVectors>
  void add_some(const float* from, float* out) const {
    V total[kVectors];
    for (int i = 0; i < kVectors; i++) total[i] = load(out + i * kLanes);
    for (std::size_t t = 0; t < taps_.size(); t++) {
      const float* p = from + offsets_[t];
      for (int i = 0; i < kVectors; i++) total[i] += taps_[t].weight * load(p + i * kLanes);
    }
    for (int i = 0; i < kVectors; i++) store(out + i * kLanes, total[i]);
  }

  float* find(const SeriesShape& s) {
    for (Room& room : rooms_) {
      if (room.size == s.size && room.stored == s.stored) return room.around.data();
    }
    return nullptr;
  }

  // f with what the kernel sees around it: zeros (once and for all), and the opposite frequencies' conjugates
  // on the left.
  void surround(const SeriesShape& s, const float* f, std::ptrdiff_t row, float* around) const {
    const std::ptrdiff_t place = 2 * s.stored;
    const int mirrored = across_ < s.columns ? across_ : s.columns - 1;
    for (int r = 0; r < s.size; r++) {
      float* to = around + (r + down_) * row + across_ * place;
      std::memcpy(to, f + s.at(r, 0), s.columns * place * sizeof(float));
      for (int c = 1; c <= mirrored; c++) {
        const float* p = f + s.at(s.size - 1 - r, c);
        for (int l = 0; l < s.stored; l += kLanes) {
          store(to - c * place + l, load(p + l));
          store(to - c * place + s.stored + l, -load(p + s.stored + l));
        }
      }
    }
  }

  struct Room {
    int size, stored;
    Floats around;
  };

  int down_, across_;
  std::vector<Tap> taps_;
  std::vector<std::ptrdiff_t> offsets_;
  std::vector<Room> rooms_;
};

}  // namespace cfvgg
