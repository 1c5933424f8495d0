// Patches of a frame, resized: OpenCV's INTER_AREA and INTER_LINEAR of a rectangle whose border repeats
// outside the frame, and an affine cut at fractions of a pixel. No border is ever copied.
#pragma once

#include "sampling_rows.hpp"
#include "sampling_taps.hpp"

namespace cfvgg {

struct Rectangle {
  std::int64_t top, left, rows, columns;
};

class Sampler {
 public:
  // The rectangle as (out_rows, out_columns, channels). `linear`: interpolate; otherwise average where both
  // axes shrink, and interpolate as OpenCV's INTER_AREA does where one grows.
  void cut(const Picture& frame, const Rectangle& part, bool linear, int out_rows, int out_columns,
           std::uint8_t* out) {
    const Span down{part.top, part.rows, frame.rows}, across{part.left, part.columns, frame.columns};
    if (part.rows == out_rows && part.columns == out_columns) return copy(frame, down, across, out);
    const bool whole = part.rows % out_rows == 0 && part.columns % out_columns == 0;
    const bool half = whole && part.rows == 2 * static_cast<std::int64_t>(out_rows) &&
                      part.columns == 2 * static_cast<std::int64_t>(out_columns);
    if ((!linear || half) && part.rows >= out_rows && part.columns >= out_columns) {
      area_taps(down, out_rows, whole, row_taps_);
      area_taps(across, out_columns, whole, taps_);
      const float pixels = static_cast<float>(part.rows / out_rows * (part.columns / out_columns));
      // OpenCV rounds halves up in blocks of 2x2, to the even neighbour elsewhere.
      average(frame, whole ? 1 / pixels : 1.0f, half ? 0.125f : 0.0f, out, [&](int y, int x, int channel) {
        return area_value(frame, down, out_rows, y, across, out_columns, x, channel);
      });
      return;
    }
    linear_taps(across, out_columns, !linear, taps_);
    linear_rows(down, out_rows, !linear, pairs_.at_least(out_rows));
    interpolate<false>(frame, out_rows, out);
  }

  // The square of side_px around (row, column), both exact, as (side_out, side_out, channels). What shrinks
  // to half or less is averaged over blocks first.
  void affine(const Picture& frame, double row, double column, double side_px, int side_out,
              std::uint8_t* out) {
    const double ratio = side_px / side_out;
    if (ratio < 2) return affine_once(frame, row, column, side_px, side_out, out);
    const int block = static_cast<int>(std::min<double>(ratio, kMostPx));
    const double reach = side_px / 2 + 2.0 * block;
    // As far as the patch sees, the frame in blocks.
    const Seen down = seen(row, reach, frame.rows, block), across = seen(column, reach, frame.columns, block);
    const std::size_t size = static_cast<std::size_t>(down.blocks) * across.blocks * frame.channels;
    Picture small{blocks_.at_least(size), down.blocks, across.blocks, frame.channels,
                  static_cast<std::ptrdiff_t>(across.blocks) * frame.channels, frame.channels, 1};
    cut(frame, {down.start, across.start, down.size, across.size}, false, down.blocks, across.blocks,
        blocks_.data());
    const double step_down = static_cast<double>(down.size) / down.blocks;
    const double step_across = static_cast<double>(across.size) / across.blocks;
    affine_once(small, (row - down.start + 0.5) / step_down - 0.5,
                (column - across.start + 0.5) / step_across - 0.5, side_px / step_down, side_out, out);
  }

 private:
  static constexpr int kMostExact = 4096;  // pixels of a mean; beyond, a tie may fall either way

  static constexpr int kChunk = 128;

  struct Seen {
    int start, size, blocks;
  };

  static Seen seen(double centre, double reach, int limit, int block) {
    const auto whole = [limit](double x) { return static_cast<int>(std::clamp<double>(x, -1, limit)); };
    const int start = std::clamp(whole(centre - reach), 0, limit - 1);
    const int end = std::max(start + 1, whole(centre + reach));
    const int blocks = std::max(1, (end - start) / block);
    return {start, std::min(end - start, blocks * std::min(block, limit)), blocks};
  }

  void affine_once(const Picture& frame, double row, double column, double side_px, int side_out,
                   std::uint8_t* out) {
    const double ratio = side_px / side_out, half = (side_out - 1) / 2.0 * ratio;
    affine_taps(column - half, ratio, {0, frame.columns, frame.columns}, side_out, taps_);
    affine_rows(row - half, ratio, {0, frame.rows, frame.rows}, side_out, pairs_.at_least(side_out));
    interpolate<true>(frame, side_out, out);
  }

  void copy(const Picture& frame, const Span& down, const Span& across, std::uint8_t* out) {
    const int channels = frame.channels;
    const int before = static_cast<int>(std::clamp<std::int64_t>(-across.start, 0, across.size));
    const int end = static_cast<int>(
        std::clamp<std::int64_t>(across.limit - across.start, before, across.size));
    const int from = across.clamped(0), inside = end - before;
    std::uint8_t* scratch = bytes_.at_least(static_cast<std::size_t>(std::max(inside, 1)) * channels);
    for (std::int64_t y = 0; y < down.size; y++) {
      const int row = down.clamped(y);
      const std::uint8_t* pixels = frame.pixels(row, from, std::max(inside, 1), scratch);
      std::uint8_t* to = out + static_cast<std::ptrdiff_t>(before) * channels;
      if (inside > 0) std::memcpy(to, pixels, static_cast<std::size_t>(inside) * channels);
      for (int x = 0; x < before; x++) std::memcpy(out + x * channels, pixels, channels);
      const std::uint8_t* last = pixels + (std::max(inside, 1) - 1) * channels;
      for (std::int64_t x = end; x < across.size; x++) std::memcpy(out + x * channels, last, channels);
      out += across.size * channels;
    }
  }

  // Rows are added up first, whole vectors at a time, then columns, once per row of the output. Values next
  // to a half are then computed again by exact(y, x, channel).
  template <typename Exact>
  void average(const Picture& frame, float scale, float bias, std::uint8_t* out, const Exact& exact) {
    const int channels = frame.channels, from = taps_.from, columns = taps_.to - from;
    const int floats = columns * channels, outputs = taps_.size * channels;
    std::uint8_t* scratch = bytes_.at_least(static_cast<std::size_t>(kTogether) * floats);
    float* line = prepare(frame.channels);
    const std::int64_t pixels_each = static_cast<std::int64_t>(row_taps_.count) * taps_.count;
    const bool again = scale == 1 && pixels_each <= kMostExact;
    for (int y = 0; y < row_taps_.size; y++) {
      const float* weights = row_taps_.weights.data() + static_cast<std::ptrdiff_t>(y) * row_taps_.count;
      bool first = true;
      for (int k = 0; k < row_taps_.count;) {
        int some = 1;  // rows of equal weights are added up as bytes
        while (some < kTogether && k + some < row_taps_.count && weights[k + some] == weights[k]) some++;
        if (weights[k] != 0) {
          const std::uint8_t* rows[kTogether];
          for (int j = 0; j < some; j++) {
            rows[j] = frame.pixels(row_taps_.first.data()[y] + k + j, from, columns, scratch + j * floats);
          }
          weigh_rows(rows, some, floats, weights[k], first, line);
          first = false;
        }
        k += some;
      }
      float* row = wide_.data();
      combine_columns(line, channels, row);
      if (scale != 1) {  // apart from the rounding: a fused multiply-add would turn ties
        for (int i = 0; i < outputs; i++) row[i] *= scale;
      }
      const float clear = 0.5f - 1.5e-5f * static_cast<float>(4 + row_taps_.count + taps_.count);
      for (int start = 0; start < outputs; start += kChunk) {  // few chunks have such values
        const int end = std::min(start + kChunk, outputs);
        if (!round_row(row + start, end - start, bias, clear, out + start) || !again) continue;
        for (int i = start; i < end; i++) {
          if (std::fabs(row[i] - std::nearbyint(row[i])) <= clear) continue;
          out[i] = static_cast<std::uint8_t>(std::nearbyint(exact(y, i / channels, i % channels)));
        }
      }
      out += outputs;
    }
  }

  // Columns first, in integers: OpenCV's arithmetic. kAffine: weights of 1/32, otherwise of 1/2048.
  template <bool kAffine>
  void interpolate(const Picture& frame, int out_rows, std::uint8_t* out) {
    const int channels = frame.channels, outputs = taps_.size * channels;
    const int columns = taps_.to - taps_.from;
    std::uint8_t* scratch = bytes_.at_least(static_cast<std::size_t>(columns) * channels);
    float* line = prepare(channels);
    std::int16_t* lines[2];
    lines[0] = lines_.at_least(2 * static_cast<std::size_t>(outputs));
    lines[1] = lines[0] + outputs;
    int held[2] = {-1, -1};  // which row of the frame each line is of
    for (int y = 0; y < out_rows; y++) {
      const RowPair& pair = pairs_.data()[y];
      if (held[1] == pair.rows[0]) {  // rows come in order: the second of before is the first now
        std::swap(held[0], held[1]);
        std::swap(lines[0], lines[1]);
      }
      for (int k = 0; k < 2; k++) {
        if (held[k] == pair.rows[k]) continue;
        if (k == 1 && held[0] == pair.rows[1]) continue;
        const std::uint8_t* pixels = frame.pixels(pair.rows[k], taps_.from, columns, scratch);
        weigh_rows<1, true>(&pixels, columns * channels, 1, line);
        combine_columns(line, channels, wide_.data());
        narrow_row<kAffine ? 0 : 4>(wide_.data(), outputs, lines[k]);
        held[k] = pair.rows[k];
      }
      const std::int16_t* second = held[0] == pair.rows[1] ? lines[0] : lines[1];
      blend_rows<kAffine>(lines[0], second, outputs, pair, out);
      out += outputs;
    }
  }

  // The line of floats for the columns that are needed; where taps reach past them it stays zero.
  float* prepare(int channels) {
    const std::size_t columns = taps_.to - taps_.from, beyond = taps_.count + 2;
    float* line = line_.at_least((columns + beyond) * channels + 4);
    std::fill_n(line + columns * channels, beyond * channels + 4, 0.0f);
    wide_.at_least(static_cast<std::size_t>(taps_.size) * channels + 4);
    offsets_.at_least(taps_.size);
    for (int i = 0; i < taps_.size; i++) {
      offsets_.data()[i] = (taps_.first.data()[i] - taps_.from) * channels;
    }
    return line;
  }

  void combine_columns(const float* line, int channels, float* out) const {
    if (channels == 3) {
      switch (taps_.count) {
        case 2: return combine_pixels<2>(line, out);
        case 3: return combine_pixels<3>(line, out);
        case 4: return combine_pixels<4>(line, out);
        default: return combine_pixels<0>(line, out);
      }
    }
    switch (taps_.count) {
      case 2: return combine_single<2>(line, out);
      case 3: return combine_single<3>(line, out);
      default: return combine_single<0>(line, out);
    }
  }

  // Three channels: a vector of four floats holds a pixel and a channel of the next, which is overwritten.
  template <int kCount>
  void combine_pixels(const float* line, float* out) const {
    const int count = kCount ? kCount : taps_.count;
    const float* weights = taps_.weights.data();
    const int* offsets = offsets_.data();
    for (int i = 0; i < taps_.size; i++, weights += count) {
      const float* from = line + offsets[i];
      F4 total = load4(from) * weights[0];
      for (int k = 1; k < count; k++) total += load4(from + 3 * k) * weights[k];
      store4(out + 3 * i, total);
    }
  }

  template <int kCount>
  void combine_single(const float* line, float* out) const {
    const int count = kCount ? kCount : taps_.count;
    const float* weights = taps_.weights.data();
    const int* offsets = offsets_.data();
    for (int i = 0; i < taps_.size; i++, weights += count) {
      const float* from = line + offsets[i];
      float total = from[0] * weights[0];
      for (int k = 1; k < count; k++) total += from[k] * weights[k];
      out[i] = total;
    }
  }

  Taps taps_, row_taps_;
  Scratch<RowPair> pairs_;
  Scratch<std::uint8_t> bytes_, blocks_;
  Scratch<float> line_, wide_;
  Scratch<int> offsets_;
  Scratch<std::int16_t> lines_;
};

}  // namespace cfvgg
