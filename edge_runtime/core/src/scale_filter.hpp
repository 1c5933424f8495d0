// fDSST's one-dimensional scale filter (Danelljan 2017, section 4.2).
//
// The authors project template t and sample x on an orthonormal basis B that spans the template's columns,
// one a size. Then (B^T t)^T (B^T x) = t^T x: of both only inner products over all features are needed, and
// neither a basis nor a decomposition is ever computed. In the Fourier domain over the sizes, once windowed,
// products only depend on how many sizes lie between two columns.
#pragma once

#include <complex>
#include <vector>

#include "hog.hpp"
#include "sampling.hpp"

namespace cfvgg {

struct ScaleFilterSettings {
  int scales, interpolated_scales;
  double step, label_sigma, learning_rate, regularisation, model_area_px;
};

struct Size {
  double rows, columns;
};

class ScaleFilter {
 public:
  static constexpr int kCellPx = 4, kLeastModelPx = 8;

  // target_px: in the first frame; base_px: what the tracker's scale of 1 stands for.
  ScaleFilter(const ScaleFilterSettings& settings, Size target_px, Size base_px)
      : settings_(settings), base_px_(base_px), scales_(settings.scales) {
    require(odd(scales_) && odd(settings.interpolated_scales) && settings.interpolated_scales >= scales_,
            "both numbers of sizes are odd, from 3 to 999, and the interpolated ones are no fewer");
    require(settings.step > 1 && settings.label_sigma > 0 && settings.regularisation >= 0 &&
                settings.learning_rate >= 0 && settings.learning_rate <= 1 && settings.model_area_px > 0 &&
                settings.model_area_px <= 1e6,
            "the scale filter's settings are positive numbers");
    require(usual(target_px) && usual(base_px), "a target has 0 to 2^24 px a side");
    const double shrink =
        std::min(1.0, std::sqrt(settings.model_area_px / (target_px.rows * target_px.columns)));
    model_rows_ = std::max(static_cast<int>(target_px.rows * shrink), kLeastModelPx);
    model_columns_ = std::max(static_cast<int>(target_px.columns * shrink), kLeastModelPx);
    features_ = model_rows_ / kCellPx * (model_columns_ / kCellPx) * kHogChannels;
    stored_ = padded(features_);
    sample_ = Floats(static_cast<std::size_t>(scales_) * stored_);
    template_ = Floats(static_cast<std::size_t>(scales_) * stored_);
    lags_.resize(scales_ * 2 - 1);
    energy_.resize(scales_);
    response_.resize(scales_);
    values_.resize(settings.interpolated_scales);
    make_tables();
  }

  int scales() const { return scales_; }
  int features() const { return features_; }

  // Blends in the target at (row, column) and `scale`.
  void learn(const Picture& frame, double row, double column, double scale) {
    sample(frame, row, column, scale, sample_.data(), stored_);
    learn_sample();
  }

  // Factor between the target's size there and that at `scale`.
  double locate(const Picture& frame, double row, double column, double scale) {
    require(learned_, "nothing has been learned");
    sample(frame, row, column, scale, sample_.data(), stored_);
    return locate_sample();
  }

  // The same from features (scales, features()).
  void learn(const float* features) {
    take(features);
    learn_sample();
  }

  double locate(const float* features) {
    require(learned_, "nothing has been learned");
    take(features);
    return locate_sample();
  }

  // HOG of the target at every size, features() floats every `stride` ones.
  void sample(const Picture& whole, double row, double column, double scale, float* out,
              std::ptrdiff_t stride) {
    require(std::isfinite(row) && std::isfinite(column), "a position is finite");
    require(scale > 0 && scale * factors_.back() * std::max(base_px_.rows, base_px_.columns) <= kMostPx,
            "a target has 0 to 2^24 px a side");
    Picture frame = whole;
    const double least = scale * factors_.front();
    const int step = static_cast<int>(std::min<double>(least, kMostPx));
    if (step > 1) {
      frame = whole.every(step);
      row /= step;
      column /= step;
    }
    constexpr double kFar = 1e12;
    const auto at_row = static_cast<std::int64_t>(std::clamp(std::floor(row), -kFar, kFar));
    const auto at_column = static_cast<std::int64_t>(std::clamp(std::floor(column), -kFar, kFar));
    const std::ptrdiff_t model_row = static_cast<std::ptrdiff_t>(model_columns_) * frame.channels;
    std::uint8_t* patch = patch_.at_least(model_rows_ * model_row);
    const Picture model{patch, model_rows_, model_columns_, frame.channels, model_row, frame.channels, 1};
    for (int s = 0; s < scales_; s++) {
      double factor = scale * factors_[s];
      if (step > 1) factor /= step;
      const auto rows = std::max<std::int64_t>(static_cast<std::int64_t>(base_px_.rows * factor), 1);
      const auto columns = std::max<std::int64_t>(static_cast<std::int64_t>(base_px_.columns * factor), 1);
      const Rectangle part{at_row - rows / 2 + 1, at_column - columns / 2 + 1, rows, columns};
      // New columns against old rows, as in the authors' program.
      sampler_.cut(frame, part, model_columns_ > rows, model_rows_, model_columns_, patch);
      hog_.run(model, kCellPx, out + s * stride, kHogChannels);
    }
  }

 private:
  using Complex = std::complex<double>;

  static bool odd(int count) { return count >= 3 && count <= 999 && count % 2 == 1; }

  static bool usual(Size px) {
    return px.rows > 0 && px.rows <= static_cast<double>(kMostPx) && px.columns > 0 &&
           px.columns <= static_cast<double>(kMostPx);
  }

  // 0, 1, … half, -half, … -1.
  static int circular(int i, int count) { return i <= count / 2 ? i : i - count; }

  void make_tables() {
    const int count = settings_.interpolated_scales;
    const double sigma = count * settings_.label_sigma;
    std::vector<double> label(scales_);
    for (int s = 0; s < scales_; s++) {
      const double exponent = static_cast<double>(s - scales_ / 2) * count / scales_;
      factors_.push_back(std::pow(settings_.step, exponent));
      const double at = static_cast<double>(circular(s, scales_)) * count / scales_ / sigma;
      label[s] = std::exp(-0.5 * at * at);
      window_.push_back(0.5 - 0.5 * std::cos(2 * M_PI * s / (scales_ - 1)));
      waves_.push_back(std::polar(1.0, 2 * M_PI * s / scales_));
    }
    for (int k = 0; k < scales_; k++) {
      Complex total = 0;
      for (int s = 0; s < scales_; s++) total += label[s] * std::conj(waves_[s * k % scales_]);
      label_.push_back(total);
    }
    for (int j = 0; j < count; j++) {
      interpolated_.push_back(std::pow(settings_.step, circular(j, count)));
      fine_waves_.push_back(std::polar(1.0, 2 * M_PI * j / count));
    }
  }

  void take(const float* features) {
    for (int s = 0; s < scales_; s++) {
      std::memcpy(sample_.data() + s * static_cast<std::ptrdiff_t>(stored_),
                  features + s * static_cast<std::ptrdiff_t>(features_), features_ * sizeof(float));
    }
  }

  // Numerator label * conj(F(t w)) F(x w), denominator sum |F(x w)|^2 over the samples that were learned.
  void learn_sample() {
    const float rate = static_cast<float>(settings_.learning_rate);
    add_lags(sample_.data(), sample_.data());
    for (int k = 0; k < scales_; k++) {
      const double now = std::max(at_frequency(k).real(), 0.0);
      energy_[k] = learned_ ? energy_[k] + rate * (now - energy_[k]) : now;
    }
    float* t = template_.data();
    const float* x = sample_.data();
    const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(scales_) * stored_;
    if (!learned_) {
      std::memcpy(t, x, size * sizeof(float));
    } else {
      for (std::ptrdiff_t i = 0; i < size; i += kLanes) {
        const V before = load(t + i);
        store(t + i, before + rate * (load(x + i) - before));
      }
    }
    learned_ = true;
  }

  double locate_sample() {
    add_lags(template_.data(), sample_.data());
    for (int k = 0; k < scales_; k++) {
      response_[k] = label_[k] * at_frequency(k) / (energy_[k] + settings_.regularisation);
    }
    // At the interpolated sizes: the spectrum padded with zeros.
    const int count = settings_.interpolated_scales;
    int best = 0;
    for (int j = 0; j < count; j++) {
      double total = 0;
      for (int k = 0; k < scales_; k++) {
        const int turns = (circular(k, scales_) * j % count + count) % count;
        total += response_[k].real() * fine_waves_[turns].real();
        total -= response_[k].imag() * fine_waves_[turns].imag();
      }
      values_[j] = total / scales_;
      if (values_[j] > values_[best]) best = j;
    }
    const int before = (best + count - 1) % count, after = (best + 1) % count;
    return vertex(Point{interpolated_[before], values_[before]}, Point{interpolated_[best], values_[best]},
                  Point{interpolated_[after], values_[after]});
  }

  struct Point {
    double x, y;
  };

  // Place of the maximum of the parabola through three points, between them; the middle if it has none.
  static double vertex(Point a, Point b, Point c) {
    const double left = (b.y - a.y) / (b.x - a.x), right = (c.y - b.y) / (c.x - b.x);
    const double curvature = (right - left) / (c.x - a.x);
    if (!(curvature < 0)) return b.x;
    const double least = std::min({a.x, b.x, c.x}), most = std::max({a.x, b.x, c.x});
    const double top = (a.x + b.x) / 2 - left / (2 * curvature);
    return top >= least ? std::min(top, most) : least;
  }

  // lags_[d + scales - 1] = sum over s of w_s w_(s - d) a_s^T b_(s - d).
  void add_lags(const float* a, const float* b) {
    std::fill(lags_.begin(), lags_.end(), 0.0);
    const bool symmetric = a == b;
    for (int s = 1; s < scales_ - 1; s++) {  // the window is zero at both ends
      const float* row = a + s * static_cast<std::ptrdiff_t>(stored_);
      for (int t = symmetric ? s : 1; t < scales_ - 1; t += 4) {
        double products[4];
        const int some = std::min(4, scales_ - 1 - t);
        inner(row, b + t * static_cast<std::ptrdiff_t>(stored_), some, products);
        for (int i = 0; i < some; i++) {
          const double product = window_[s] * window_[t + i] * products[i];
          lags_[s - (t + i) + scales_ - 1] += product;
          if (symmetric && t + i != s) lags_[t + i - s + scales_ - 1] += product;
        }
      }
    }
  }

  // Inner products with up to four samples in a row.
  void inner(const float* a, const float* b, int some, double* products) const {
    const std::ptrdiff_t next = stored_;
    // What is asked for less than four times is computed again, and left.
    const float *b1 = b + (some > 1 ? next : 0), *b2 = b + (some > 2 ? 2 * next : 0),
                *b3 = b + (some > 3 ? 3 * next : 0);
    V p0{}, p1{}, p2{}, p3{};
    for (int i = 0; i < stored_; i += kLanes) {
      const V x = load(a + i);
      p0 += x * load(b + i);
      p1 += x * load(b1 + i);
      p2 += x * load(b2 + i);
      p3 += x * load(b3 + i);
    }
    products[0] = sum(p0), products[1] = sum(p1), products[2] = sum(p2), products[3] = sum(p3);
  }

  Complex at_frequency(int k) const {
    Complex total = 0;
    for (int d = 1 - scales_; d < scales_; d++) {
      total += lags_[d + scales_ - 1] * waves_[(d + scales_) * k % scales_];
    }
    return total;
  }

  ScaleFilterSettings settings_;
  Size base_px_;
  int scales_, model_rows_ = 0, model_columns_ = 0, features_ = 0, stored_ = 0;
  bool learned_ = false;
  std::vector<double> factors_, interpolated_, window_, lags_, energy_, values_;
  std::vector<Complex> waves_, fine_waves_, label_, response_;
  Floats sample_, template_;
  Sampler sampler_;
  Hog hog_;
  Scratch<std::uint8_t> patch_;
};

}  // namespace cfvgg
