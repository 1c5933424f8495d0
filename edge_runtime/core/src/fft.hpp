// Discrete Fourier transforms of small maps, all channels at once.
//
// Complex numbers of one place are stored as [2][channels]: the real parts of all channels, then the
// imaginary ones. Every butterfly runs over a vector of channels, and what an index or a twiddle factor costs
// is shared by all of them. Lengths are products of 2, 3, 4, 5, 7 and whatever else is needed (13, 17, 19 are:
// golden tracks fix the grids).
#pragma once

#include <cstddef>

#include "common.hpp"
#include "complex_fft.hpp"

namespace cfvgg {

// The transform z of a + i b, a and b two rows of real numbers, as their half spectra: that of frequency k is
// [2] vectors, the second one `im` floats after the first, and the next one follows after `step` floats.
inline void split_pair(const float* z, int n, float* first, float* second, std::ptrdiff_t step,
                       std::ptrdiff_t im) {
  for (int k = 0; k <= n / 2; k++, first += step) {
    const float *p = z + 2 * kLanes * k, *q = z + 2 * kLanes * (k ? n - k : 0);
    const V pr = load(p), pi = load(p + kLanes), qr = load(q), qi = load(q + kLanes);
    store(first, 0.5f * (pr + qr));
    store(first + im, 0.5f * (pi - qi));
    if (!second) continue;
    store(second, 0.5f * (pi + qi));
    store(second + im, 0.5f * (qr - pr));
    second += step;
  }
}

// The reverse: a + i b of two half spectra. Without a second one, b = 0.
inline void join_pair(const float* first, const float* second, int n, std::ptrdiff_t step, std::ptrdiff_t im,
                      float* z) {
  for (int k = 0; k <= n / 2; k++, first += step) {
    V ar = load(first), ai = load(first + im), br = V{}, bi = V{};
    if (second) {
      br = load(second), bi = load(second + im);
      second += step;
    }
    if (k == 0 || 2 * k == n) ai = bi = V{};  // real there, up to rounding
    store(z + 2 * kLanes * k, ar - bi);
    store(z + 2 * kLanes * k + kLanes, ai + br);
    if (k > 0 && 2 * k < n) {  // conj(a) + i conj(b)
      store(z + 2 * kLanes * (n - k), ar + bi);
      store(z + 2 * kLanes * (n - k) + kLanes, br - ai);
    }
  }
}

// Real maps (n, n, channels) to half spectra (n, n / 2 + 1, 2, channels) and back.
//
// Two rows of a map are the real and the imaginary part of one complex row. A spectrum's channels are padded
// to whole vectors, and what is in the padding is whatever the maps have there.
class RealFft2 {
 public:
  explicit RealFft2(int n) : fft_(n), columns_(n / 2 + 1), a_(2 * kLanes * n), b_(2 * kLanes * n) {}

  int size() const { return fft_.size(); }
  int columns() const { return columns_; }
  std::size_t floats(int channels) const {  // of a spectrum
    return static_cast<std::size_t>(size()) * columns_ * 2 * channels;
  }

  // `maps` has `channels` floats a place, a multiple of kLanes. `window` (n, n) multiplies them, unless null.
  void forward(const float* maps, int channels, const float* window, float* spectrum) {
    const int n = size();
    const std::ptrdiff_t row_floats = static_cast<std::ptrdiff_t>(columns_) * 2 * channels;
    for (int c = 0; c < channels; c += kLanes) {
      for (int y = 0; y < n; y += 2) {
        const bool two = y + 1 < n;
        const float* first = maps + static_cast<std::ptrdiff_t>(y) * n * channels + c;
        const float* second = first + static_cast<std::ptrdiff_t>(n) * channels;
        for (int x = 0; x < n; x++) {
          const float w0 = window ? window[y * n + x] : 1.0f;
          const float w1 = window && two ? window[(y + 1) * n + x] : 1.0f;
          store(&a_[2 * kLanes * x], load(first + x * channels) * w0);
          store(&a_[2 * kLanes * x + kLanes], two ? load(second + x * channels) * w1 : V{});
        }
        const float* z = fft_.run<false>(a_.data(), b_.data());
        float* out = spectrum + y * row_floats + c;
        split_pair(z, n, out, two ? out + row_floats : nullptr, 2 * channels, channels);
      }
      columns<false>(spectrum + c, channels, row_floats, spectrum + c);
    }
  }

  // Unnormalised: n * n times the maps. `spectrum` is overwritten.
  void inverse(float* spectrum, int channels, float* maps) {
    const int n = size();
    const std::ptrdiff_t row_floats = static_cast<std::ptrdiff_t>(columns_) * 2 * channels;
    for (int c = 0; c < channels; c += kLanes) {
      columns<true>(spectrum + c, channels, row_floats, spectrum + c);
      for (int y = 0; y < n; y += 2) {
        const bool two = y + 1 < n;
        const float* in = spectrum + y * row_floats + c;
        join_pair(in, two ? in + row_floats : nullptr, n, 2 * channels, channels, a_.data());
        const float* z = fft_.run<true>(a_.data(), b_.data());
        float* first = maps + static_cast<std::ptrdiff_t>(y) * n * channels + c;
        float* second = first + static_cast<std::ptrdiff_t>(n) * channels;
        for (int x = 0; x < n; x++) {
          store(first + x * channels, load(z + 2 * kLanes * x));
          if (two) store(second + x * channels, load(z + 2 * kLanes * x + kLanes));
        }
      }
    }
  }

 private:
  template <bool kInverse>
  void columns(const float* from, int channels, std::ptrdiff_t row_floats, float* to) {
    const int n = size();
    for (int k = 0; k < columns_; k++) {
      const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(k) * 2 * channels;
      for (int y = 0; y < n; y++) {
        store(&a_[2 * kLanes * y], load(from + y * row_floats + at));
        store(&a_[2 * kLanes * y + kLanes], load(from + y * row_floats + at + channels));
      }
      const float* z = fft_.run<kInverse>(a_.data(), b_.data());
      for (int y = 0; y < n; y++) {
        store(to + y * row_floats + at, load(z + 2 * kLanes * y));
        store(to + y * row_floats + at + channels, load(z + 2 * kLanes * y + kLanes));
      }
    }
  }

  Fft fft_;
  int columns_;
  Floats a_, b_;
};

}  // namespace cfvgg
