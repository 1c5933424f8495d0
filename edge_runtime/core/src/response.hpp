// A correlation filter's response, given as a spectrum: where it is highest between the cells, how clearly.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "common.hpp"
#include "fft.hpp"

namespace cfvgg {

// Displacement in cells (down, across) within half of the grid, value there, peak-to-sidelobe ratio, and
// index of the scale.
struct Found {
  double down = 0, across = 0, height = 0, psr = 0;
  int scale = 0;
};

// Index of the highest of `count` values; what is not a number is passed over, 0 if all are.
inline int highest(const float* values, int count) {
  V best = splat(-std::numeric_limits<float>::infinity());
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const V v = load(values + i);
    best = v > best ? v : best;
  }
  float top = best[0];
  for (int l = 1; l < kLanes; l++) top = std::max(top, best[l]);
  for (; i < count; i++) top = values[i] > top ? values[i] : top;
  for (i = 0; i < count; i++) {
    if (values[i] == top) return i;
  }
  return 0;
}

// (peak - mean) / deviation of a circular map (rows, columns) without a square around the peak, of
// 2 exclude_cells + 1 a side; 0 if nothing deviates. `at` is the peak's index.
inline double peak_to_sidelobe_ratio(const float* map, int rows, int columns, int at, int exclude_cells) {
  const int count = rows * columns, whole = count / kLanes * kLanes;
  V totals{}, totals_of_squares{};
  for (int i = 0; i < whole; i += kLanes) totals += load(map + i);
  double total = sum(totals), squares = 0;
  for (int i = whole; i < count; i++) total += map[i];
  const float middle = static_cast<float>(total / count);  // deviations from about the mean: no digits cancel
  totals = V{};
  for (int i = 0; i < whole; i += kLanes) {
    const V d = load(map + i) - middle;
    totals += d;
    totals_of_squares += d * d;
  }
  total = sum(totals), squares = sum(totals_of_squares);
  for (int i = whole; i < count; i++) {
    const double d = map[i] - middle;
    total += d;
    squares += d * d;
  }
  const int down = std::min(exclude_cells, rows / 2 - 1), across = std::min(exclude_cells, columns / 2 - 1);
  for (int dy = -down; dy <= down; dy++) {
    const float* row = map + (at / columns + dy + rows) % rows * columns;
    for (int dx = -across; dx <= across; dx++) {
      const double d = row[(at % columns + dx + columns) % columns] - middle;
      total -= d;
      squares -= d * d;
    }
  }
  const int excluded = down < 0 || across < 0 ? 0 : (2 * down + 1) * (2 * across + 1);
  const double side = total / (count - excluded), variance = squares / (count - excluded) - side * side;
  const double ratio = (map[at] - middle - side) / std::sqrt(variance);
  const double rounding = 1e-7 * middle;  // what that leaves of a flat map is no deviation
  return variance > rounding * rounding && std::isfinite(ratio) ? ratio : 0;
}

// Spectra (scales, n rows, n / 2 + 1 columns) of real maps, filled in by who computes them, and their peak.
//
// A row's real and imaginary parts are two arrays of `columns()` floats; what lies behind them up to a whole
// vector stays zero. Rows are ky = 0, 1, ... -2, -1 (kNatural) or -K..K (kCentred, for odd n), columns are
// kx = 0..n / 2. Sums over the whole spectrum are multiplied by `unit`: 1 for a Fourier series, 1 / n^2 for
// an unnormalised DFT.
//
// Between the cells of a grid of even size the frequency at half of it is ambiguous. Both axes take it as
// positive, in all columns of the whole spectrum, as STRCF's authors do.
class Response {
 public:
  enum class Rows { kNatural, kCentred };

  Response(int n, int scales, Rows rows, float unit)
      : n_(n), scales_(scales), columns_(n / 2 + 1), stride_(padded(columns_)), unit_(unit),
        centred_(rows == Rows::kCentred), pairs_((n + 1) / 2), pair_stride_(padded(pairs_)),
        map_floats_(static_cast<std::size_t>(n) * n + 2 * kLanes), fft_(n),
        spectrum_(static_cast<std::size_t>(scales) * n * 2 * stride_), maps_(scales * map_floats_),
        by_column_(static_cast<std::size_t>(columns_) * 4 * pair_stride_),
        a_(static_cast<std::size_t>(n) * 2 * std::max(pair_stride_, kLanes)), b_(a_.size()),
        down_(2 * static_cast<std::size_t>(n)), ky_(n), across_(2 * static_cast<std::size_t>(stride_)),
        kx_(stride_), weights_(stride_) {
    require(scales >= 1 && (!centred_ || n % 2 == 1), "centred rows are those of an odd grid");
    for (int y = 0; y < n; y++) ky_[stored(y)] = static_cast<float>(y <= n / 2 ? y : y - n);
    for (int k = 0; k < columns_; k++) {
      kx_[k] = static_cast<float>(k);
      weights_[k] = k == 0 || 2 * k == n ? 1.0f : 2.0f;
    }
  }

  int size() const { return n_; }
  int scales() const { return scales_; }
  int columns() const { return columns_; }
  float* re(int scale, int row) {
    return spectrum_.data() + (static_cast<std::size_t>(scale) * n_ + row) * 2 * stride_;
  }
  float* im(int scale, int row) { return re(scale, row) + stride_; }
  void zero() { spectrum_.zero(); }

  // The value at (row, column) is map(scale)[column * n + row]: the last transform runs over columns.
  const float* map(int scale) const { return maps_.data() + scale * map_floats_; }

  // Grid maxima refined by Newton's method; the highest scale's. `exclude_cells`: see above.
  Found locate(int newton_iterations, int exclude_cells) {
    Found best;
    int best_at = 0;
    for (int s = 0; s < scales_; s++) {
      sample(s);
      const int at = highest(map(s), n_ * n_);
      const Place place = refine(s, {turn(at % n_), turn(at / n_)}, newton_iterations);
      if (s > 0 && !(place.height > best.height)) continue;
      best = {cells(place.y), cells(place.x), place.height, 0, s};
      best_at = at;
    }
    best.psr = peak_to_sidelobe_ratio(map(best.scale), n_, n_, best_at, exclude_cells);
    return best;
  }

 private:
  struct Place {
    double y, x, height = 0;
  };
  // The value and its derivatives along y (down) and x (across).
  struct Derivatives {
    double value, y, x, yy, xx, xy;
  };

  int stored(int y) const { return centred_ ? (y + n_ / 2) % n_ : y; }
  double turn(int cell) const { return 2 * M_PI * ((cell + (n_ - 1) / 2) % n_ - (n_ - 1) / 2) / n_; }
  double cells(double radians) const {
    return n_ * (radians / (2 * M_PI) - std::floor(radians / (2 * M_PI) + 0.5));
  }

  // The map of one scale. Columns of the spectrum are transformed in vectors of neighbours, then rows, two of
  // them (y and y + pairs) as one complex row, in vectors of neighbours too.
  void sample(int scale) {
    for (int c = 0; c < stride_; c += kLanes) {
      for (int y = 0; y < n_; y++) {
        store(&a_[2 * kLanes * y], load(re(scale, stored(y)) + c));
        store(&a_[2 * kLanes * y + kLanes], load(im(scale, stored(y)) + c));
      }
      const float* z = fft_.run<true>(a_.data(), b_.data());
      const int count = std::min(kLanes, columns_ - c);
      for (int y = 0; y < n_; y++, z += 2 * kLanes) {
        float* to = &by_column_[c * 4 * pair_stride_ + (y < pairs_ ? y : y - pairs_ + pair_stride_)];
        for (int l = 0; l < count; l++, to += 4 * pair_stride_) {
          to[0] = z[l];
          to[2 * pair_stride_] = z[kLanes + l];
        }
      }
    }
    const float* z = nullptr;
    const std::ptrdiff_t part = 2 * kLanes * n_;
    for (int r = pair_stride_ - kLanes; r >= 0; r -= kLanes) z = sample_rows(r, part * (r / kLanes));
    // Whole vectors: what one writes too much, the next overwrites.
    float* map = &maps_[scale * map_floats_];
    for (int x = 0; x < n_; x++) {
      for (int half = 0; half < 2; half++) {
        const float* from = z + 2 * kLanes * x + half * kLanes;
        for (int r = 0; r < pair_stride_; r += kLanes, from += part) {
          store(map + x * n_ + half * pairs_ + r, load(from) * unit_);
        }
      }
    }
  }

  // Pairs of rows from r on, a vector of them, into a_ or b_ from `at` on.
  const float* sample_rows(int r, std::ptrdiff_t at) {
    float* a = &a_[at];
    const float* first = &by_column_[r];
    join_pair(first, first + pair_stride_, n_, 4 * pair_stride_, 2 * pair_stride_, a);
    return fft_.run<true>(a, &b_[at]);
  }

  // p <- p - H^-1 grad f. Where that leads no higher (or to what is not a number), the start stands.
  Place refine(int scale, Place start, int iterations) {
    Derivatives d = evaluate(scale, start.y, start.x);
    start.height = d.value;
    Place place = start;
    for (int i = 0; i < iterations; i++) {
      const double determinant = d.yy * d.xx - d.xy * d.xy;
      if (std::abs(determinant) < 1e-30) break;  // flat: stay
      place.y -= (d.xx * d.y - d.xy * d.x) / determinant;
      place.x -= (d.yy * d.x - d.xy * d.y) / determinant;
      d = evaluate(scale, place.y, place.x);
    }
    place.height = d.value;
    return place.height >= start.height ? place : start;
  }

  // f(y, x) = unit Re sum x(k) e^(i (ky y + kx x)) over the whole spectrum.
  Derivatives evaluate(int scale, double y, double x) {
    set_powers(y, x);
    V value{}, of_y{}, of_x{}, of_yy{}, of_xx{}, of_xy{};
    for (int c = 0; c < stride_; c += kLanes) {
      V ar{}, ai{}, br{}, bi{}, cr{}, ci{};  // sums over ky times ky^0, ky^1, ky^2
      const float* from = re(scale, 0) + c;
      for (int row = 0; row < n_; row++, from += 2 * stride_) {
        const V hr = load(from), hi = load(from + stride_);
        const float dr = down_[2 * row], di = down_[2 * row + 1], k = ky_[row];
        const V pr = dr * hr - di * hi, pi = dr * hi + di * hr, qr = k * pr, qi = k * pi;
        ar += pr, ai += pi;
        br += qr, bi += qi;
        cr += k * qr, ci += k * qi;
      }
      const V er = load(&across_[c]), ei = load(&across_[stride_ + c]), k = load(&kx_[c]);
      const V v = er * ar - ei * ai;
      value += v;
      of_x -= k * (er * ai + ei * ar);
      of_xx -= k * k * v;
      of_y -= er * bi + ei * br;
      of_xy -= k * (er * br - ei * bi);
      of_yy -= er * cr - ei * ci;
    }
    Derivatives d{sum(value), sum(of_y), sum(of_x), sum(of_yy), sum(of_xx), sum(of_xy)};
    if (n_ % 2 == 0) add_half_row(scale, y, d);
    for (double* part : {&d.value, &d.y, &d.x, &d.yy, &d.xx, &d.xy}) *part *= unit_;
    return d;
  }

  // The row of frequency n / 2. Columns that stand for two (kx and -kx) meet there the same +n / 2 twice,
  // which leaves the real part of e^(i n y / 2); the others meet it as it is.
  void add_half_row(int scale, double y, Derivatives& d) {
    const double k = n_ / 2, cosine = std::cos(k * y), sine = std::sin(k * y);
    const float *hr = re(scale, n_ / 2), *hi = im(scale, n_ / 2);
    for (int c = 0; c < columns_; c++) {
      const double er = across_[c], ei = across_[stride_ + c], kx = kx_[c];
      const double vr = er * hr[c] - ei * hi[c], vi = er * hi[c] + ei * hr[c];
      const bool once = weights_[c] == 1.0f;
      const double own = once ? sine : 0.0;
      // v (cosine + i own) = p + i q. Its derivative along y is i k times that, or that of the real part.
      const double p = cosine * vr - own * vi, q = cosine * vi + own * vr;
      const double turned = once ? q : sine * vr, turned_i = once ? p : -sine * vi;
      d.value += p;
      d.x -= kx * q;
      d.xx -= kx * kx * p;
      d.y -= k * turned;
      d.yy -= k * k * p;
      d.xy -= k * kx * turned_i;
    }
  }

  // e^(i ky y), and e^(i kx x) times how often a column counts, by recurrence in double precision.
  void set_powers(double y, double x) {
    double re = 1, im = 0;
    double step_re = std::cos(y), step_im = std::sin(y);
    for (int k = 0; k <= n_ / 2; k++) {
      const bool half = 2 * k == n_;  // see add_half_row
      put(&down_[2 * stored(k)], half ? 0 : re, half ? 0 : im);
      if (k > 0 && !half) put(&down_[2 * stored(n_ - k)], re, -im);
      advance(re, im, step_re, step_im);
    }
    re = 1, im = 0;
    step_re = std::cos(x), step_im = std::sin(x);
    for (int k = 0; k < columns_; k++) {
      across_[k] = static_cast<float>(weights_[k] * re);
      across_[stride_ + k] = static_cast<float>(weights_[k] * im);
      advance(re, im, step_re, step_im);
    }
  }

  static void put(float* to, double re, double im) {
    to[0] = static_cast<float>(re);
    to[1] = static_cast<float>(im);
  }
  static void advance(double& re, double& im, double step_re, double step_im) {
    const double next = re * step_re - im * step_im;
    im = re * step_im + im * step_re;
    re = next;
  }

  int n_, scales_, columns_, stride_;
  float unit_;
  bool centred_;
  int pairs_, pair_stride_;
  std::size_t map_floats_;
  Fft fft_;
  Floats spectrum_, maps_, by_column_, a_, b_, down_, ky_, across_, kx_, weights_;
};

}  // namespace cfvgg
