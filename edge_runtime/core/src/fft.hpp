// Discrete Fourier transforms of small maps, all channels at once.
//
// Complex numbers of one place are stored as [2][channels]: the real parts of all channels, then the imaginary
// ones. Every butterfly runs over a vector of channels, and what an index or a twiddle factor costs is shared
// by all of them. Lengths are products of 2, 3, 4, 5, 7 and whatever else is needed (13 and 61 are: golden tracks
// fix the grids).
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "common.hpp"

namespace cfvgg {

// One complex transform of length n over kLanes channels. Stockham's autosort, decimation in frequency.
class Fft {
 public:
  explicit Fft(int n) : n_(n) {
    require(n >= 1, "a transform needs a length");
    for (int rest = n; rest > 1;) {
      int factor = rest;
      for (int candidate : {4, 2, 3, 5}) {
        if (rest % candidate == 0) {
          factor = candidate;
          break;
        }
      }
      if (factor == rest && factor > 5) {  // no small factor left: the least prime one
        for (int p = 7; p * p <= rest; p += 2) {
          if (rest % p == 0) {
            factor = p;
            break;
          }
        }
      }
      factors_.push_back(factor);
      rest /= factor;
      if (factor > 7 && factor <= kMostOdd) add_table(factor);
    }
    for (int k = 0; k < n; k++) {
      const double angle = -2 * M_PI * k / n;
      cos_.push_back(static_cast<float>(std::cos(angle)));
      sin_.push_back(static_cast<float>(std::sin(angle)));
    }
  }

  int size() const { return n_; }

  // Transforms a (n complex vectors: 2 n kLanes floats); `scratch` is as large. Returns where the result is,
  // a or scratch. Unnormalised both ways; the inverse is the forward transform with parts exchanged.
  template <bool kInverse>
  float* run(float* a, float* scratch) const {
    int length = n_, stride = 1;
    for (int factor : factors_) {
      length /= factor;
      switch (factor) {
        case 2: stage<kInverse, 2>(a, scratch, length, stride); break;
        case 3: stage<kInverse, 3>(a, scratch, length, stride); break;
        case 4: stage<kInverse, 4>(a, scratch, length, stride); break;
        case 5: stage<kInverse, 5>(a, scratch, length, stride); break;
        case 7: stage<kInverse, 7>(a, scratch, length, stride); break;
        default: odd_stage<kInverse>(a, scratch, length, stride, factor);
      }
      stride *= factor;
      std::swap(a, scratch);
    }
    return a;
  }

 private:
  struct Complex {
    V re, im;
  };

  template <bool kInverse>
  static Complex get(const float* a, int i) {
    const float* p = a + 2 * kLanes * static_cast<std::ptrdiff_t>(i);
    return kInverse ? Complex{load(p + kLanes), load(p)} : Complex{load(p), load(p + kLanes)};
  }

  template <bool kInverse>
  static void put(float* a, int i, Complex z) {
    float* p = a + 2 * kLanes * static_cast<std::ptrdiff_t>(i);
    store(p, kInverse ? z.im : z.re);
    store(p + kLanes, kInverse ? z.re : z.im);
  }

  static Complex add(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
  static Complex sub(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
  static Complex times(Complex a, float re, float im) {
    return {a.re * re - a.im * im, a.re * im + a.im * re};
  }
  static Complex minus_i(Complex a) { return {a.im, -a.re}; }

  static Complex weighted(Complex a, float p, Complex b, float q, Complex c, float r) {
    return {p * a.re + q * b.re + r * c.re, p * a.im + q * b.im + r * c.im};
  }

  // x[0..R) replaced by its transform.
  template <int R>
  static void butterfly(Complex* x) {
    if constexpr (R == 2) {
      const Complex a = x[0];
      x[0] = add(a, x[1]);
      x[1] = sub(a, x[1]);
    } else if constexpr (R == 3) {
      const Complex s = add(x[1], x[2]), d = minus_i(sub(x[1], x[2]));
      const Complex m = {x[0].re - 0.5f * s.re, x[0].im - 0.5f * s.im};
      const Complex t = {0.8660254037844386f * d.re, 0.8660254037844386f * d.im};
      x[0] = add(x[0], s);
      x[1] = add(m, t);
      x[2] = sub(m, t);
    } else if constexpr (R == 4) {
      const Complex a = add(x[0], x[2]), b = sub(x[0], x[2]), c = add(x[1], x[3]);
      const Complex d = minus_i(sub(x[1], x[3]));
      x[0] = add(a, c);
      x[1] = add(b, d);
      x[2] = sub(a, c);
      x[3] = sub(b, d);
    } else if constexpr (R == 7) {
      constexpr float c1 = 0.6234898018587336f, c2 = -0.2225209339563144f, c3 = -0.9009688679024191f;
      constexpr float s1 = 0.7818314824680298f, s2 = 0.9749279121818236f, s3 = 0.4338837391175581f;
      const Complex a1 = add(x[1], x[6]), a2 = add(x[2], x[5]), a3 = add(x[3], x[4]);
      const Complex b1 = minus_i(sub(x[1], x[6])), b2 = minus_i(sub(x[2], x[5]));
      const Complex b3 = minus_i(sub(x[3], x[4]));
      const Complex m1 = add(x[0], weighted(a1, c1, a2, c2, a3, c3)), t1 = weighted(b1, s1, b2, s2, b3, s3);
      const Complex m2 = add(x[0], weighted(a1, c2, a2, c3, a3, c1)), t2 = weighted(b1, s2, b2, -s3, b3, -s1);
      const Complex m3 = add(x[0], weighted(a1, c3, a2, c1, a3, c2)), t3 = weighted(b1, s3, b2, -s1, b3, s2);
      x[0] = add(add(x[0], a1), add(a2, a3));
      x[1] = add(m1, t1);
      x[2] = add(m2, t2);
      x[3] = add(m3, t3);
      x[4] = sub(m3, t3);
      x[5] = sub(m2, t2);
      x[6] = sub(m1, t1);
    } else {
      static_assert(R == 5);
      constexpr float c1 = 0.30901699437494745f, c2 = -0.8090169943749475f;
      constexpr float s1 = 0.9510565162951535f, s2 = 0.5877852522924731f;
      const Complex a = add(x[1], x[4]), b = add(x[2], x[3]);
      const Complex c = minus_i(sub(x[1], x[4])), d = minus_i(sub(x[2], x[3]));
      const Complex m1 = {x[0].re + c1 * a.re + c2 * b.re, x[0].im + c1 * a.im + c2 * b.im};
      const Complex m2 = {x[0].re + c2 * a.re + c1 * b.re, x[0].im + c2 * a.im + c1 * b.im};
      const Complex t1 = {s1 * c.re + s2 * d.re, s1 * c.im + s2 * d.im};
      const Complex t2 = {s2 * c.re - s1 * d.re, s2 * c.im - s1 * d.im};
      x[0] = add(x[0], add(a, b));
      x[1] = add(m1, t1);
      x[2] = add(m2, t2);
      x[3] = sub(m2, t2);
      x[4] = sub(m1, t1);
    }
  }

  template <bool kInverse, int R>
  void stage(const float* from, float* to, int length, int stride) const {
    for (int p = 0; p < length; p++) {
      float re[R], im[R];
      for (int k = 1; k < R; k++) {
        const int turn = p * k * stride;  // less than n
        re[k] = cos_[turn];
        im[k] = sin_[turn];
      }
      for (int q = 0; q < stride; q++) {
        Complex x[R];
        for (int k = 0; k < R; k++) x[k] = get<kInverse>(from, q + stride * (p + length * k));
        butterfly<R>(x);
        put<kInverse>(to, q + stride * R * p, x[0]);
        for (int k = 1; k < R; k++) {
          put<kInverse>(to, q + stride * (R * p + k), p ? times(x[k], re[k], im[k]) : x[k]);
        }
      }
    }
  }

  // Any odd prime factor, with sums s_j and differences d_j of x_j and x_(R-j), which halve the products of the
  // definition: X_k and X_(R-k) are x_0 + sum_j cos(2 pi j k / R) s_j -+ i sum_j sin(2 pi j k / R) d_j.
  template <bool kInverse>
  void odd_stage(const float* from, float* to, int length, int stride, int factor) const {
    const int half = (factor - 1) / 2;
    if (factor > kMostOdd) return slow_stage<kInverse>(from, to, length, stride, factor);
    Complex x[kMostOdd / 2 * 2 + 1];  // x_0, then pairs s_j, d_j
    const float* table = nullptr;
    for (const OddTable& odd : odd_tables_) {
      if (odd.factor == factor) table = odd.values.data();
    }
    for (int p = 0; p < length; p++) {
      for (int q = 0; q < stride; q++) {
        Complex total = x[0] = get<kInverse>(from, q + stride * p);
        for (int j = 1; j <= half; j++) {
          const Complex a = get<kInverse>(from, q + stride * (p + length * j));
          const Complex b = get<kInverse>(from, q + stride * (p + length * (factor - j)));
          x[2 * j - 1] = add(a, b);
          x[2 * j] = minus_i(sub(a, b));
          total = add(total, x[2 * j - 1]);
        }
        const int at = q + stride * factor * p;
        put<kInverse>(to, at, total);
        int k = 1;
        for (; k + kTogether - 1 <= half; k += kTogether) {
          odd_outputs<kInverse, kTogether>(x, table, to, at, p, stride, factor, k);
        }
        for (; k <= half; k++) odd_outputs<kInverse, 1>(x, table, to, at, p, stride, factor, k);
      }
    }
  }

  // X_k and X_(R-k) for kCount values of k, which share what is loaded of x.
  template <bool kInverse, int kCount>
  void odd_outputs(const Complex* x, const float* table, float* to, int at, int p, int stride, int factor,
                   int first) const {
    const int half = (factor - 1) / 2;
    Complex m[kCount], t[kCount];
    for (int i = 0; i < kCount; i++) m[i] = x[0], t[i] = {V{}, V{}};
    const float* row = table + static_cast<std::ptrdiff_t>(first - 1) * 2 * half;
    for (int j = 0; j < half; j++) {
      const Complex s = x[2 * j + 1], d = x[2 * j + 2];
      for (int i = 0; i < kCount; i++) {
        const float cosine = row[2 * (i * half + j)], sine = row[2 * (i * half + j) + 1];
        m[i] = {m[i].re + cosine * s.re, m[i].im + cosine * s.im};
        t[i] = {t[i].re + sine * d.re, t[i].im + sine * d.im};
      }
    }
    for (int i = 0; i < kCount; i++) {
      const int k = first + i;
      Complex one = add(m[i], t[i]), other = sub(m[i], t[i]);
      if (p) {
        one = times(one, cos_[p * k * stride], sin_[p * k * stride]);
        other = times(other, cos_[p * (factor - k) * stride], sin_[p * (factor - k) * stride]);
      }
      put<kInverse>(to, at + stride * k, one);
      put<kInverse>(to, at + stride * (factor - k), other);
    }
  }

  // cos and sin of 2 pi j k / R, [k][j][2], both from 1 to (R - 1) / 2.
  void add_table(int factor) {
    for (const OddTable& odd : odd_tables_) {
      if (odd.factor == factor) return;
    }
    odd_tables_.push_back({factor, {}});
    for (int k = 1; k <= factor / 2; k++) {
      for (int j = 1; j <= factor / 2; j++) {
        const double angle = 2 * M_PI * (static_cast<long>(j) * k % factor) / factor;
        odd_tables_.back().values.push_back(static_cast<float>(std::cos(angle)));
        odd_tables_.back().values.push_back(static_cast<float>(std::sin(angle)));
      }
    }
  }

  // The definition, for prime factors that no preset has.
  template <bool kInverse>
  void slow_stage(const float* from, float* to, int length, int stride, int factor) const {
    const int step = n_ / factor;
    for (int p = 0; p < length; p++) {
      for (int q = 0; q < stride; q++) {
        for (int k = 0; k < factor; k++) {
          Complex total = {V{}, V{}};
          for (int j = 0; j < factor; j++) {
            const int turn = static_cast<int>(static_cast<long>(j) * k % factor) * step;
            const Complex x = get<kInverse>(from, q + stride * (p + length * j));
            total = add(total, times(x, cos_[turn], sin_[turn]));
          }
          const int turn = p * k * stride;
          put<kInverse>(to, q + stride * (factor * p + k), times(total, cos_[turn], sin_[turn]));
        }
      }
    }
  }

  struct OddTable {
    int factor;
    std::vector<float> values;
  };
  static constexpr int kMostOdd = 127;
#if defined(__AVX512F__) || defined(__aarch64__)
  static constexpr int kTogether = 4;  // 16 sums: as many as 32 registers hold
#else
  static constexpr int kTogether = 2;
#endif

  int n_;
  std::vector<int> factors_;
  std::vector<OddTable> odd_tables_;
  std::vector<float> cos_, sin_;
};

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

  // `maps` has `channels` floats a place, a multiple of kLanes. `window` (n, n) multiplies them; null: as they
  // are.
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
