// STRCF's training by ADMM (Li 2018, CVPR, eqs. 6 to 13).
//
// min_f |sum_d x_d * f_d - y|^2 / (2 T) + |w f|^2 / 2 + mu |f - f'|^2 / 2, f' being the last frame's filter,
// is split into f and g = f with multiplier h. Everything but the step for g is done frequency by frequency,
// so spectra are walked through by column: one is transformed, used, and transformed back while it is in the
// cache, and what is kept of a frame is x, f and f'.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "common.hpp"
#include "fft.hpp"
#include "strcf_samples.hpp"

namespace cfvgg {

// ADMM's iterations and its step gamma, which grows by a factor up to a limit.
struct AdmmSteps {
  int iterations;
  float penalty, growth, most;
};

// The filter of one group of features.
class Admm {
 public:
  // label: half spectrum y (n, n / 2 + 1, 2). weight: w (n, n). cells: T. temporal: mu.
  Admm(SpectrumShape shape, const float* label, const float* weight, int cells, float temporal,
       AdmmSteps steps)
      : shape_(shape), fft_(shape.n), cells_(static_cast<float>(cells)), temporal_(temporal),
        filter_(shape.floats()), next_(shape.floats()),
        multiplier_(steps.iterations > 2 ? shape.floats() : 0), column_(shape.column_floats),
        scratch_(shape.column_floats), label_(2 * static_cast<std::size_t>(shape.columns) * shape.n),
        energy_(static_cast<std::size_t>(shape.columns) * shape.n) {
    for (int y = 0; y < shape_.n; y++) {
      for (int k = 0; k < shape_.columns; k++) {
        const float* from = label + 2 * (y * shape_.columns + k);
        label_[2 * (k * shape_.n + y)] = from[0] / cells_;
        label_[2 * (k * shape_.n + y) + 1] = from[1] / cells_;
      }
    }
    for (float penalty = steps.penalty; static_cast<int>(penalties_.size()) < steps.iterations;
         penalty = std::min(steps.growth * penalty, steps.most)) {
      penalties_.push_back(penalty);
    }
    set_weights(weight);
  }

  const float* filter() const { return filter_.data(); }

  // All vectors of a spectrum's column; the result is there, or in memory of this object.
  template <bool kInverse>
  float* transform(float* column) {
    float* z = column;
    for (int q = shape_.vectors - 1; q >= 0; q--) {
      const std::ptrdiff_t at = q * shape_.vector_floats;
      z = fft_.run<kInverse>(column + at, scratch_.data() + at);
    }
    return z;
  }

  // Learns a sample; `spectrum` comes with its rows transformed and leaves as x.
  void learn(float* spectrum) {
    x_ = spectrum;
    const int iterations = static_cast<int>(penalties_.size());
    const float temporal = learned_ ? temporal_ : 0;
    for (int k = 0; k < shape_.columns; k++) {
      float* x = x_ + k * shape_.column_floats;
      const float* z = transform<false>(x);
      if (z != x) std::memcpy(x, z, shape_.column_floats * sizeof(float));
      first_step(k, temporal);
      if (iterations > 1) to_rows(k, 0);
    }
    for (int i = 1; i < iterations; i++) {
      weigh(i - 1);
      const bool last = i + 1 == iterations;
      for (int k = 0; k < shape_.columns; k++) {
        const float* g = from_rows(k);
        if (last) {
          i == 1 ? next_step<false, false>(k, i, temporal, g) : next_step<true, false>(k, i, temporal, g);
        } else {
          i == 1 ? next_step<false, true>(k, i, temporal, g) : next_step<true, true>(k, i, temporal, g);
          to_rows(k, i);
        }
      }
    }
    std::swap(filter_, next_);
    learned_ = true;
  }

 private:
  // The rows that g is not all but zero on, and what the inverse transform of f + h / gamma is multiplied by
  // there, gamma / (w^2 + gamma) / n^2. Elsewhere, outside of the target, it is 1e-10 of that.
  void set_weights(const float* weight) {
    const int n = shape_.n;
    Floats most(n);
    float overall = 0;
    const std::size_t steps = penalties_.size() - 1;
    Floats all(steps * n * n);
    for (std::size_t i = 0; i < steps; i++) {
      for (int p = 0; p < n * n; p++) {
        const float w = penalties_[i] / (weight[p] * weight[p] + penalties_[i]);
        all[i * n * n + p] = w / (static_cast<float>(n) * static_cast<float>(n));
        most[p / n] = std::max(most[p / n], w);
        overall = std::max(overall, w);
      }
    }
    while (first_row_ < n - 1 && most[first_row_] < 1e-9f * overall) first_row_++;
    int end = n;
    while (end > first_row_ + 1 && most[end - 1] < 1e-9f * overall) end--;
    kept_ = end - first_row_;
    weights_ = Floats(steps * kept_ * n);
    for (std::size_t i = 0; i < steps; i++) {
      std::memcpy(&weights_[i * kept_ * n], &all[(i * n + first_row_) * n], sizeof(float) * kept_ * n);
    }
    row_shape_.vector_floats = 2 * kLanes * kept_;
    row_shape_.column_floats = shape_.vectors * row_shape_.vector_floats;
    if (steps) rows_of_g_ = Floats(shape_.columns * row_shape_.column_floats);
  }

  // f of (x x^H / T + w I) f = r, w = gamma + mu, where r = x y / T + mu f' (Sherman and Morrison):
  // f = [r - x (x^H r) / (|x|^2 + T w)] / w = x (T w y / T - mu x^H f') / (|x|^2 + T w) / w + mu f' / w.
  void first_step(int k, float temporal) {
    const float w = penalties_[0] + temporal, tw = cells_ * w;
    for (int y = 0; y < shape_.n; y++) {
      const std::ptrdiff_t at = shape_.place(k, 0, y);
      const float *x = x_ + at, *before = filter_.data() + at;
      V energy{}, re{}, im{};
      for (int q = 0; q < shape_.vectors; q++, x += shape_.vector_floats, before += shape_.vector_floats) {
        const V xr = load(x), xi = load(x + kLanes), br = load(before), bi = load(before + kLanes);
        energy += xr * xr + xi * xi;
        re += xr * br + xi * bi;
        im += xr * bi - xi * br;
      }
      const float* label = &label_[2 * (k * shape_.n + y)];
      const float e = sum(energy), scale = 1 / ((e + tw) * w);
      energy_[k * shape_.n + y] = e;
      const float ar = tw * label[0] - temporal * sum(re), ai = tw * label[1] - temporal * sum(im);
      combine(at, ar * scale, ai * scale, filter_.data(), temporal / w);
    }
  }

  // next = (ar + i ai) x + b r, one frequency, all channels.
  void combine(std::ptrdiff_t at, float ar, float ai, const float* r, float b) {
    for (int q = 0; q < shape_.vectors; q++, at += shape_.vector_floats) {
      const V xr = load(x_ + at), xi = load(x_ + at + kLanes);
      store(next_.data() + at, ar * xr - ai * xi + b * load(r + at));
      store(next_.data() + at + kLanes, ar * xi + ai * xr + b * load(r + at + kLanes));
    }
  }

  // The same with r = x y / T + mu f' + gamma g - h; g is a column's. h is zero before the second iteration
  // (kOld: it is not) and not needed after the last (kKept: it is).
  template <bool kOld, bool kKept>
  void next_step(int k, int i, float temporal, const float* g) {
    const float step = penalties_[i - 1], gamma = penalties_[i], w = gamma + temporal, tw = cells_ * w;
    for (int y = 0; y < shape_.n; y++) {
      V re{}, im{};
      const float* p = g + 2 * kLanes * y;
      for (int q = 0; q < shape_.vectors; q++, p += shape_.vector_floats) {
        const std::ptrdiff_t at = shape_.place(k, q, y);
        V r[2];
        for (int part = 0; part < 2; part++) {
          const std::ptrdiff_t here = at + part * kLanes;
          const V g_ = load(p + part * kLanes);
          V h = step * (load(next_.data() + here) - g_);
          if (kOld) h += load(multiplier_.data() + here);
          if (kKept) store(multiplier_.data() + here, h);
          r[part] = temporal * load(filter_.data() + here) + gamma * g_ - h;
          store(next_.data() + here, r[part]);
        }
        const V xr = load(x_ + at), xi = load(x_ + at + kLanes);
        re += xr * r[0] + xi * r[1];
        im += xr * r[1] - xi * r[0];
      }
      const float* label = &label_[2 * (k * shape_.n + y)];
      const float scale = 1 / ((energy_[k * shape_.n + y] + tw) * w);
      const float ar = tw * label[0] - sum(re), ai = tw * label[1] - sum(im);
      combine(shape_.place(k, 0, y), ar * scale, ai * scale, next_.data(), 1 / w);
    }
  }

  // Columns of f + h / gamma transformed back; the rows that count are kept.
  void to_rows(int k, int i) {
    const float *f = next_.data() + k * shape_.column_floats, inverse = 1 / penalties_[i];
    const float* h = multiplier_.data() + k * shape_.column_floats;
    for (std::ptrdiff_t at = 0; at < shape_.vectors * shape_.vector_floats; at += kLanes) {
      store(&column_[at], i == 0 ? load(f + at) : load(f + at) + inverse * load(h + at));
    }
    const float* z = transform<true>(column_.data()) + 2 * kLanes * first_row_;
    float* to = rows_of_g_.data() + k * row_shape_.column_floats;
    for (int q = 0; q < shape_.vectors; q++) {
      std::memcpy(to + q * row_shape_.vector_floats, z + q * shape_.vector_floats,
                  row_shape_.vector_floats * sizeof(float));
    }
  }

  // g = F(gamma F^-1(f + h / gamma) / (w^2 + gamma)) along the rows.
  void weigh(int i) {
    const int n = shape_.n;
    for (int q = 0; q < shape_.vectors; q++) {
      for (int r = 0; r < kept_; r += 2) {
        float* first = rows_of_g_.data() + q * row_shape_.vector_floats + 2 * kLanes * r;
        float* second = r + 1 < kept_ ? first + 2 * kLanes : nullptr;
        join_pair(first, second, n, row_shape_.column_floats, kLanes, column_.data());
        float* z = fft_.run<true>(column_.data(), scratch_.data());
        const float* w0 = &weights_[(static_cast<std::size_t>(i) * kept_ + r) * n];
        const float* w1 = second ? w0 + n : w0;
        for (int x = 0; x < n; x++) {
          store(z + 2 * kLanes * x, load(z + 2 * kLanes * x) * w0[x]);
          store(z + 2 * kLanes * x + kLanes, load(z + 2 * kLanes * x + kLanes) * w1[x]);
        }
        z = fft_.run<false>(z, z == column_.data() ? scratch_.data() : column_.data());
        split_pair(z, n, first, second, row_shape_.column_floats, kLanes);
      }
    }
  }

  const float* from_rows(int k) {
    const float* from = rows_of_g_.data() + k * row_shape_.column_floats;
    for (int q = 0; q < shape_.vectors; q++) {
      float* to = &column_[q * shape_.vector_floats];
      std::memset(to, 0, 2 * kLanes * first_row_ * sizeof(float));
      to += 2 * kLanes * first_row_;
      std::memcpy(to, from + q * row_shape_.vector_floats, row_shape_.vector_floats * sizeof(float));
      to += row_shape_.vector_floats;
      std::memset(to, 0, 2 * kLanes * (shape_.n - first_row_ - kept_) * sizeof(float));
    }
    return transform<false>(column_.data());
  }

  SpectrumShape shape_;
  Fft fft_;
  float cells_, temporal_;
  Floats filter_, next_, multiplier_, column_, scratch_;
  Floats label_, energy_;  // by column: y / T, |x|^2
  float* x_ = nullptr;     // the sample being learned
  std::vector<float> penalties_;
  int first_row_ = 0, kept_ = 0;
  struct {
    std::ptrdiff_t vector_floats, column_floats;
  } row_shape_;
  Floats weights_, rows_of_g_;  // rows_of_g_: as a spectrum, with the rows kept
  bool learned_ = false;
};

}  // namespace cfvgg
