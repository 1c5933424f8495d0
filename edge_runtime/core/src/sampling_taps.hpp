// Which source pixels, with which weights, make a pixel of a resized picture: one axis at a time.
#pragma once

#include <cmath>

#include "picture.hpp"

namespace cfvgg {

// One axis of the rectangle that is cut: `size` pixels from `start` on, of a frame that has `limit` of them.
// Outside the frame its first or last pixel repeats.
struct Span {
  std::int64_t start, size;
  int limit;

  int clamped(std::int64_t at) const {
    return static_cast<int>(std::clamp<std::int64_t>(start + at, 0, limit - 1));
  }
};

// Output i is the sum over k < count of weights[i * count + k] times pixel first[i] + k. Weights of pixels
// that are the same one outside the frame are added up; unused ones are zero, and may point past the frame.
struct Taps {
  int size = 0, count = 0, from = 0, to = 0;  // pixels [from, to) are all that is needed
  Scratch<int> first;
  Scratch<float> weights;

  void start(int outputs, int most) {
    size = outputs;
    count = most;
    const std::size_t all = static_cast<std::size_t>(outputs) * most;
    std::fill_n(weights.at_least(all), all, 0.0f);
    first.at_least(outputs);
  }

  void add(int output, int pixel, float weight) {
    const int k = pixel - first.data()[output];
    if (k < count) weights.data()[static_cast<std::ptrdiff_t>(output) * count + k] += weight;
  }

  void finish(int limit) {
    const auto [least, most] = std::minmax_element(first.data(), first.data() + size);
    from = *least;
    to = std::min(*most + count, limit);
  }
};

// What output i is the mean of: calls run(first, end, weight) for pixels of the rectangle of equal weights,
// in order. `sums`: all weights are 1, for whole blocks.
template <typename Run>
inline void area_runs(std::int64_t size, int outputs, int i, bool sums, const Run& run) {
  const double ratio = static_cast<double>(size) / outputs;
  const double begin = i * ratio, end = begin + ratio, width = std::min(ratio, size - begin);
  const auto last = std::min(static_cast<std::int64_t>(std::floor(end)), size - 1);
  const auto whole = std::min(static_cast<std::int64_t>(std::ceil(begin)), last);
  constexpr double kNothing = 1e-3;  // parts of a pixel that do not count, as in OpenCV
  if (whole - begin > kNothing) run(whole - 1, whole, static_cast<float>((whole - begin) / width));
  if (last > whole) run(whole, last, sums ? 1.0f : static_cast<float>(1 / width));
  if (end - last > kNothing) {
    const double share = std::min(std::min(end - last, 1.0), width) / width;
    run(last, last + 1, sums ? 1.0f : static_cast<float>(share));
  }
}

// Means over `span.size / outputs` pixels each, which is 1 or more.
inline void area_taps(const Span& span, int outputs, bool sums, Taps& taps) {
  const double ratio = static_cast<double>(span.size) / outputs;
  taps.start(outputs, static_cast<int>(std::min<double>(std::ceil(ratio) + 1, span.limit)));
  for (int i = 0; i < outputs; i++) {
    bool started = false;
    area_runs(span.size, outputs, i, sums, [&](std::int64_t first, std::int64_t end, float weight) {
      if (!started) taps.first.data()[i] = span.clamped(first);
      started = true;
      // Those before the frame, in it, and after it.
      const std::int64_t inside = std::clamp<std::int64_t>(-span.start, first, end);
      const std::int64_t after = std::clamp<std::int64_t>(span.limit - span.start, inside, end);
      if (inside > first) taps.add(i, 0, weight * static_cast<float>(inside - first));
      for (std::int64_t at = inside; at < after; at++) taps.add(i, static_cast<int>(span.start + at), weight);
      if (end > after) taps.add(i, span.limit - 1, weight * static_cast<float>(end - after));
    });
  }
  taps.finish(span.limit);
}

// Keeps a product and the sum that it goes into from becoming a fused multiply-add.
inline float apart(float x) {
  volatile const float stored = x;
  return stored;
}

// One value of a mean in OpenCV's order: along the rows first, one pixel after the other. Sums in another
// order end up on the other side of a half now and then.
inline float area_value(const Picture& frame, const Span& down, int out_rows, int y, const Span& across,
                        int out_columns, int x, int channel) {
  float total = 0;
  area_runs(down.size, out_rows, y, false, [&](std::int64_t first_row, std::int64_t end_row, float of_row) {
    for (std::int64_t r = first_row; r < end_row; r++) {
      const std::uint8_t* row = frame.data + down.clamped(r) * frame.row_step + channel * frame.channel_step;
      float along = 0;
      area_runs(across.size, out_columns, x, false, [&](std::int64_t first, std::int64_t end, float weight) {
        for (std::int64_t c = first; c < end; c++) {
          along += apart(static_cast<float>(row[across.clamped(c) * frame.pixel_step]) * weight);
        }
      });
      total += apart(of_row * along);
    }
  });
  return total;
}

// Where output i lies between pixels `at` and `at + 1` of the rectangle, in its own coordinates.
struct Between {
  std::int64_t at;
  float share;  // of the second pixel
};

// Pixel centres fall on pixel centres; or, where OpenCV is asked for means but the picture grows
// (`area_like`), on what a mean would cover.
inline Between between(std::int64_t size, int outputs, int i, bool area_like) {
  const double inverse = outputs / static_cast<double>(size), ratio = 1 / inverse;
  if (area_like) {
    const auto at = static_cast<std::int64_t>(std::floor(i * ratio));
    const float share = static_cast<float>((i + 1) - (at + 1) * inverse);
    return {at, share <= 0 ? 0.0f : share - std::floor(share)};
  }
  const float place = static_cast<float>((i + 0.5) * ratio - 0.5);
  const float before = std::floor(place);
  return {static_cast<std::int64_t>(before), place - before};
}

constexpr float kResizeUnit = 2048;  // OpenCV's weights are integers; so are these, stored as floats

// Rounded to the nearest, halves to the even one: OpenCV's way.
inline float whole_weight(float share) { return std::nearbyint(share * kResizeUnit); }

inline void add_pair(Taps& taps, int i, int first, int second, float share_first, float share_second) {
  taps.first.data()[i] = first;
  taps.add(i, first, share_first);
  taps.add(i, second, share_second);
}

inline void linear_taps(const Span& span, int outputs, bool area_like, Taps& taps) {
  taps.start(outputs, 2);
  for (int i = 0; i < outputs; i++) {
    Between b = between(span.size, outputs, i, area_like);
    if (b.at < 0) b = {0, 0.0f};
    if (b.at >= span.size - 1) b = {span.size - 1, 0.0f};
    add_pair(taps, i, span.clamped(b.at), span.clamped(b.at + 1), whole_weight(1 - b.share),
             whole_weight(b.share));
  }
  taps.finish(span.limit);
}

// Two rows and their weights; those of the same row are not added up, for each product is rounded.
struct RowPair {
  int rows[2];
  int weights[2];
};

inline void linear_rows(const Span& span, int outputs, bool area_like, RowPair* pairs) {
  for (int i = 0; i < outputs; i++) {
    const Between b = between(span.size, outputs, i, area_like);
    const std::int64_t last = span.size - 1;
    pairs[i] = {{span.clamped(std::clamp<std::int64_t>(b.at, 0, last)),
                 span.clamped(std::clamp<std::int64_t>(b.at + 1, 0, last))},
                {static_cast<int>(whole_weight(1 - b.share)), static_cast<int>(whole_weight(b.share))}};
  }
}

constexpr int kAffineUnit = 32;  // places of an affine cut are multiples of 1/32 px

inline std::int64_t fine_place(double px) {  // in 1/1024 px, far places brought nearer
  constexpr double kMost = 1e15;
  return static_cast<std::int64_t>(std::nearbyint(std::clamp(px * 1024, -kMost, kMost)));
}

// Rounded from 1/1024 px to a whole pixel and 1/32 px.
inline Between affine_between(std::int64_t fine) {
  const std::int64_t place = (fine + 16) >> 5;
  return {place >> 5, static_cast<float>(place & 31)};
}

// Output i lies at place + i * ratio of the frame. As in OpenCV, both are rounded apart along a row, but
// together along a column.
inline void affine_taps(double place, double ratio, const Span& frame, int outputs, Taps& taps) {
  taps.start(outputs, 2);
  for (int i = 0; i < outputs; i++) {
    const Between b = affine_between(fine_place(place) + fine_place(ratio * i));
    add_pair(taps, i, frame.clamped(b.at), frame.clamped(b.at + 1), kAffineUnit - b.share, b.share);
  }
  taps.finish(frame.limit);
}

inline void affine_rows(double place, double ratio, const Span& frame, int outputs, RowPair* pairs) {
  for (int i = 0; i < outputs; i++) {
    const Between b = affine_between(fine_place(ratio * i + place));
    const int share = static_cast<int>(b.share);
    pairs[i] = {{frame.clamped(b.at), frame.clamped(b.at + 1)}, {kAffineUnit - share, share}};
  }
}

}  // namespace cfvgg
