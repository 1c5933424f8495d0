// KCF's filter for one target: ridge regression from feature maps to a label, solved in the Fourier domain
// (Henriques 2015, eqs. 16, 22, 30, 31).
//
// Maps are (n, n, channels), channels innermost, as networks and HOG give them. A frame is one `detect` and,
// if it may be learned from, one `learn`: the detection's own sample, moved so that the target is in its
// middle.
#pragma once

#include <algorithm>
#include <cmath>

#include "common.hpp"
#include "fft.hpp"

namespace cfvgg {

class KcfCore {
 public:
  struct Found {
    float down, right;  // displacement in cells
    float psr;          // peak-to-sidelobe ratio
  };

  // `window` and `label` are (n, n). `sigma` is the Gaussian kernel's deviation for features of unit mean
  // square, 0 stands for the linear kernel. `exclude_cells` is the half side of the square around a peak that
  // is no sidelobe.
  KcfCore(int n, int channels, const float* window, const float* label, float ridge, float sigma,
          int exclude_cells)
      : n_(n),
        channels_(channels),
        stored_(padded(channels)),
        exclude_(std::min(exclude_cells, n / 2 - 1)),
        ridge_(ridge),
        sigma_(sigma),
        fft_(n),
        window_(cells()),
        weight_(cells()),
        maps_(cells() * stored_),
        rolled_(cells() * stored_),
        sample_(fft_.floats(stored_)),
        template_(fft_.floats(stored_)),
        label_(2 * frequencies()),
        dual_(2 * frequencies()),
        kernel_(fft_.floats(kLanes)),
        lanes_(cells() * kLanes),
        response_(cells()),
        map_(sigma > 0 ? cells() : 0),
        turn_down_(2 * n),
        turn_right_(2 * fft_.columns()) {
    std::copy(window, window + cells(), window_.data());
    spectrum_of(label, label_.data());
  }

  int size() const { return n_; }
  int channels() const { return channels_; }
  const float* response() const { return response_.data(); }

  // Learns a target's first maps, it in their middle. With the window they are scaled to a mean square of 1,
  // and so are all maps that follow.
  void start(const float* maps) {
    double squares = 0;
    for (std::size_t i = 0; i < cells(); i++) {
      double place = 0;
      for (int c = 0; c < channels_; c++) {
        const double value = maps[i * channels_ + c];
        place += value * value;
      }
      squares += place * window_[i] * window_[i];
    }
    const double root = std::sqrt(squares / (static_cast<double>(cells()) * channels_));
    const float scale = static_cast<float>(1 / std::max(root, 1e-12));
    for (std::size_t i = 0; i < cells(); i++) weight_[i] = window_[i] * scale;
    take(maps);
    learn(0, 0, 1);
  }

  // Answers maps from around where the target was.
  Found detect(const float* maps) {
    take(maps);
    if (sigma_ > 0) {
      correlate(template_.data());
      gaussian(energy(template_.data()) + energy(sample_.data()));
      times_dual(1);
    } else {
      correlate(template_.data());
      times_dual(inverse_count());
    }
    to_map(response_.data(), 1.0f / cells());
    return peak();
  }

  // Blends in the last maps, moved so that what lies (down, right) cells off their middle comes there: by
  // whole cells before the window, by the rest of a cell as a turn of the spectrum's phases. That does not
  // change a sample's kernel with itself. Template and dual coefficients are averaged separately.
  void learn(float down, float right, float rate) {
    const float rows = whole(down), columns = whole(right);
    if (rows != 0 || columns != 0) {
      roll(static_cast<int>(rows), static_cast<int>(columns));
      fft_.forward(rolled_.data(), stored_, weight_.data(), sample_.data());
    }
    if (sigma_ > 0) {
      correlate(sample_.data());
      gaussian(2 * energy(sample_.data()));
      for (std::size_t f = 0; f < frequencies(); f++) {
        blend_dual(f, kernel_[2 * kLanes * f], kernel_[2 * kLanes * f + kLanes], rate);
      }
    } else {
      for (std::size_t f = 0; f < frequencies(); f++) {
        blend_dual(f, power(&sample_[2 * stored_ * f]) * inverse_count(), 0, rate);
      }
    }
    turns(down - rows, n_, turn_down_.data());
    turns(right - columns, fft_.columns(), turn_right_.data());
    blend_template(rate);
  }

 private:
  std::size_t cells() const { return static_cast<std::size_t>(n_) * n_; }
  std::size_t frequencies() const { return static_cast<std::size_t>(n_) * fft_.columns(); }
  float inverse_count() const { return 1.0f / (static_cast<float>(cells()) * channels_); }

  // The whole cells of a displacement; a map holds no more than n - 1 of them.
  float whole(float cells) const {
    const float most = static_cast<float>(n_ - 1);
    return std::clamp(std::nearbyint(cells), -most, most);
  }

  void take(const float* maps) {
    if (stored_ == channels_) {
      std::memcpy(maps_.data(), maps, cells() * channels_ * sizeof(float));
    } else {  // the padding stays zero
      for (std::size_t i = 0; i < cells(); i++) {
        std::memcpy(&maps_[i * stored_], maps + i * channels_, channels_ * sizeof(float));
      }
    }
    fft_.forward(maps_.data(), stored_, weight_.data(), sample_.data());
  }

  // rolled_ becomes maps_ up and to the left; what leaves comes in on the other side, where the window is
  // low.
  void roll(int rows, int columns) {
    const std::size_t line = static_cast<std::size_t>(n_) * stored_;
    const std::size_t first = static_cast<std::size_t>((columns + n_) % n_) * stored_;
    for (int y = 0; y < n_; y++) {
      const float* from = &maps_[(y + rows + n_) % n_ * line];
      std::memcpy(&rolled_[y * line], from + first, (line - first) * sizeof(float));
      std::memcpy(&rolled_[y * line + line - first], from, first * sizeof(float));
    }
  }

  // kernel_ becomes conj(x) . sample_; each lane holds its channels' share.
  void correlate(const float* x) {
    const float* z = sample_.data();
    for (std::size_t f = 0; f < frequencies(); f++, x += 2 * stored_, z += 2 * stored_) {
      V re = V{}, im = V{};
      for (int c = 0; c < stored_; c += kLanes) {
        const V xr = load(x + c), xi = load(x + stored_ + c), zr = load(z + c), zi = load(z + stored_ + c);
        re += xr * zr + xi * zi;
        im += xr * zi - xi * zr;
      }
      store(&kernel_[2 * kLanes * f], re);
      store(&kernel_[2 * kLanes * f + kLanes], im);
    }
  }

  // kernel_, as `correlate` leaves it, becomes the Gaussian kernel's spectrum (first lane). The kernel is
  // nearly 1 everywhere: transformed is what it lacks, or rounding would be as large as the ridge.
  void gaussian(double energies) {
    to_map(map_.data(), 1.0f / cells());
    const float scale = inverse_count(), factor = -1 / (sigma_ * sigma_);
    for (std::size_t i = 0; i < cells(); i++) {
      const float distance = (static_cast<float>(energies) - 2 * map_[i]) * scale;
      map_[i] = std::expm1(factor * std::max(distance, 0.0f));
    }
    to_spectrum(map_.data());
    kernel_[0] += static_cast<float>(cells());
  }

  // kernel_ becomes dual_ times kernel_ times a factor.
  void times_dual(float factor) {
    for (std::size_t f = 0; f < frequencies(); f++) {
      const float ar = dual_[2 * f] * factor, ai = dual_[2 * f + 1] * factor;
      float* k = &kernel_[2 * kLanes * f];
      const V re = load(k), im = load(k + kLanes);
      store(k, re * ar - im * ai);
      store(k + kLanes, re * ai + im * ar);
    }
  }

  void blend_dual(std::size_t f, float re, float im, float rate) {
    re += ridge_;
    const float lr = label_[2 * f], li = label_[2 * f + 1], size = re * re + im * im;
    dual_[2 * f] += rate * ((lr * re + li * im) / size - dual_[2 * f]);
    dual_[2 * f + 1] += rate * ((li * re - lr * im) / size - dual_[2 * f + 1]);
  }

  void blend_template(float rate) {
    const float* z = sample_.data();
    float* x = template_.data();
    for (int y = 0; y < n_; y++) {
      const float yr = turn_down_[2 * y], yi = turn_down_[2 * y + 1];
      for (int k = 0; k < fft_.columns(); k++, x += 2 * stored_, z += 2 * stored_) {
        const float xr = turn_right_[2 * k], xi = turn_right_[2 * k + 1];
        const float tr = yr * xr - yi * xi, ti = yr * xi + yi * xr;
        for (int c = 0; c < stored_; c += kLanes) {
          const V zr = load(z + c), zi = load(z + stored_ + c);
          const V re = load(x + c), im = load(x + stored_ + c);
          store(x + c, re + rate * (zr * tr - zi * ti - re));
          store(x + stored_ + c, im + rate * (zr * ti + zi * tr - im));
        }
      }
    }
  }

  // exp(2 pi i shift f / n) for the first `count` frequencies of an axis. Half of n is its own negative, so
  // of that one the real part is left.
  void turns(float shift, int count, float* out) const {
    for (int k = 0; k < count; k++) {
      const int frequency = 2 * k > n_ ? k - n_ : k;
      const double angle = 2 * M_PI * shift * frequency / n_;
      out[2 * k] = static_cast<float>(std::cos(angle));
      out[2 * k + 1] = 2 * k == n_ ? 0.0f : static_cast<float>(std::sin(angle));
    }
  }

  float power(const float* z) const {  // of all channels at one frequency
    V total = V{};
    for (int c = 0; c < 2 * stored_; c += kLanes) total += load(z + c) * load(z + c);
    return sum(total);
  }

  // |x|^2 of the maps behind a half spectrum, by Parseval.
  double energy(const float* x) const {
    double total = 0;
    for (int y = 0; y < n_; y++) {
      for (int k = 0; k < fft_.columns(); k++, x += 2 * stored_) {
        total += (k == 0 || 2 * k == n_ ? 1.0 : 2.0) * power(x);
      }
    }
    return total / cells();
  }

  // The map behind kernel_, all lanes together; kernel_ is used up.
  void to_map(float* map, float factor) {
    fft_.inverse(kernel_.data(), kLanes, lanes_.data());
    for (std::size_t i = 0; i < cells(); i++) map[i] = sum(load(&lanes_[kLanes * i])) * factor;
  }

  void to_spectrum(const float* map) {  // in the first lane of kernel_
    lanes_.zero();
    for (std::size_t i = 0; i < cells(); i++) lanes_[kLanes * i] = map[i];
    fft_.forward(lanes_.data(), kLanes, nullptr, kernel_.data());
  }

  void spectrum_of(const float* map, float* out) {
    to_spectrum(map);
    for (std::size_t i = 0; i < 2 * frequencies(); i++) out[i] = kernel_[kLanes * i];
  }

  // The highest place, refined by a parabola along each axis, and how it stands out. All 0 if the response
  // is not finite.
  Found peak() const {
    const float* r = response_.data();
    const std::size_t best = std::max_element(r, r + cells()) - r;
    const int y = static_cast<int>(best) / n_, x = static_cast<int>(best) % n_;
    const auto at = [&](int row, int column) { return r[(row + n_) % n_ * n_ + (column + n_) % n_]; };
    const float down = y + vertex(at(y - 1, x), r[best], at(y + 1, x));
    const float right = x + vertex(at(y, x - 1), r[best], at(y, x + 1));
    const float psr = sidelobe_ratio(y, x, r[best]);
    if (!std::isfinite(down + right + psr)) return {0, 0, 0};
    return {down < 0.5f * n_ ? down : down - n_, right < 0.5f * n_ ? right : right - n_, psr};
  }

  // Where the parabola through three equidistant values has its maximum, -0.5 to 0.5.
  static float vertex(float before, float centre, float after) {
    const float curvature = before - 2 * centre + after;
    if (curvature >= 0) return 0;
    return std::clamp(0.5f * (before - after) / curvature, -0.5f, 0.5f);
  }

  float sidelobe_ratio(int row, int column, float top) const {
    double total = 0, squares = 0;
    int count = 0;
    for (int y = 0; y < n_; y++) {
      const bool near = std::min((y - row + n_) % n_, (row - y + n_) % n_) <= exclude_;
      for (int x = 0; x < n_; x++) {
        if (near && std::min((x - column + n_) % n_, (column - x + n_) % n_) <= exclude_) continue;
        const double value = response_[static_cast<std::size_t>(y) * n_ + x];
        total += value;
        squares += value * value;
        count++;
      }
    }
    const double mean = total / count, variance = squares / count - mean * mean;
    return variance > 0 ? static_cast<float>((top - mean) / std::sqrt(variance)) : 0.0f;
  }

  int n_, channels_, stored_, exclude_;
  float ridge_, sigma_;
  RealFft2 fft_;
  Floats window_, weight_, maps_, rolled_, sample_, template_, label_, dual_, kernel_, lanes_, response_;
  Floats map_, turn_down_, turn_right_;
};

}  // namespace cfvgg
