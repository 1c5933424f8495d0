// Discrete Fourier transforms of complex numbers, a vector of channels at once.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "butterflies.hpp"
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
  using Complex = butterflies::Complex;

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
        butterflies::butterfly<R>(x);
        put<kInverse>(to, q + stride * R * p, x[0]);
        for (int k = 1; k < R; k++) {
          put<kInverse>(to, q + stride * (R * p + k), p ? times(x[k], re[k], im[k]) : x[k]);
        }
      }
    }
  }

  // Any odd prime factor, with sums s_j and differences d_j of x_j and x_(R-j), which halve the products of
  // the definition: X_k and X_(R-k) are x_0 + sum_j cos(2 pi j k / R) s_j -+ i sum_j sin(2 pi j k / R) d_j.
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

  // The definition, for prime factors that no sample of a preset has.
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

}  // namespace cfvgg
