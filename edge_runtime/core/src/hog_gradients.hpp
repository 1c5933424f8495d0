// Gradients of a patch's rows of pixels, one row after the other.
#pragma once

#include "hog_axis.hpp"

namespace cfvgg {

class Gradients {
 public:
  // Gradients are wanted of the first `pixels` of every row.
  void start(const Picture& patch, int pixels) {
    rows_ = patch.rows;
    columns_ = patch.columns;
    channels_ = patch.channels;
    pixels_ = pixels;
    line_ = (columns_ + 2 * kPad + kLanes - 1) / kLanes * kLanes;
    lines_.at_least(static_cast<std::size_t>(kHeld + 2) * channels_ * line_);
    std::fill_n(held_, kHeld, -1);
    bytes_.at_least(static_cast<std::size_t>(columns_) * channels_);
    x_.at_least(line_);
    y_.at_least(line_);
    square_.at_least(line_);
    length_.at_least(line_);
    index_.at_least(line_);
  }

  // Twice the gradient of the channel where it is longest, among equals the first of R, G, B: its length and
  // its place in the table of orientations.
  void find(const Picture& patch, int y) {
    const float *here = row(patch, y), *above = here, *below = here;
    if (rows_ > 1) {
      above = y > 0 ? row(patch, y - 1) : nullptr;
      below = y + 1 < rows_ ? row(patch, y + 1) : nullptr;
      if (!above) above = beyond(here, below);
      if (!below) below = beyond(here, above);
    }
    if (channels_ == 3) strongest<3>(here, above, below);
    else strongest<1>(here, above, below);
    orient(x_.data(), y_.data(), square_.data(), pixels_, length_.data(), index_.data());
  }

  // Of the row that was last asked for.
  const float* length() const { return length_.data(); }
  const std::uint16_t* index() const { return index_.data(); }

 private:
  static constexpr int kPad = 16;  // floats before and after a line
  static constexpr int kHeld = 3;  // lines that are held, as long as differences need them

  // Lines of pixels, as floats, channel after channel; at both ends a pixel that makes the central difference
  // there twice the one-sided one.
  float* line(int slot) {
    return lines_.data() + static_cast<std::ptrdiff_t>(slot) * channels_ * line_ + kPad;
  }

  const float* row(const Picture& patch, int y) {
    const int slot = y % kHeld;
    float* to = line(slot);
    if (held_[slot] == y) return to;
    held_[slot] = y;
    const std::uint8_t* from = patch.pixels(y, 0, columns_, bytes_.data());
    if (channels_ == 3) planes3(from, columns_, to, to + line_, to + 2 * line_);
    else plane(from, columns_, to);
    for (int c = 0; c < channels_; c++, to += line_) {
      const int n = columns_;
      to[-1] = n > 1 ? 2 * to[0] - to[1] : to[0];
      to[n] = n > 1 ? 2 * to[n - 1] - to[n - 2] : to[0];
    }
    return line(slot);
  }

  static void plane(const std::uint8_t* __restrict from, int count, float* __restrict to) {
    for (int i = 0; i < count; i++) to[i] = static_cast<float>(from[i]);
  }

  static void planes3(const std::uint8_t* __restrict from, int count, float* __restrict blue,
                      float* __restrict green, float* __restrict red) {
    for (int i = 0; i < count; i++) {
      blue[i] = static_cast<float>(from[3 * i]);
      green[i] = static_cast<float>(from[3 * i + 1]);
      red[i] = static_cast<float>(from[3 * i + 2]);
    }
  }

  // The line beyond the border, which makes a difference twice the one-sided one.
  const float* beyond(const float* here, const float* other) {
    float* to = line(3);
    for (int c = 0; c < channels_; c++) {
      for (int i = 0; i < columns_; i++) to[c * line_ + i] = 2 * here[c * line_ + i] - other[c * line_ + i];
    }
    return to;
  }

  template <int kChannels>
  void strongest(const float* here, const float* above, const float* below) {
    float *to_x = x_.data(), *to_y = y_.data(), *to_square = square_.data();
    for (int i = 0; i < pixels_; i += kLanes) {
      V x{}, y{}, square{};
      for (int c = kChannels - 1; c >= 0; c--) {
        const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(c) * line_ + i;
        const V gx = load(here + at + 1) - load(here + at - 1), gy = load(below + at) - load(above + at);
        const V both = gx * gx + gy * gy;
        if (c == kChannels - 1) {
          x = gx, y = gy, square = both;
        } else {
          const auto longer = both > square;
          x = longer ? gx : x;
          y = longer ? gy : y;
          square = longer ? both : square;
        }
      }
      store(to_x + i, x);
      store(to_y + i, y);
      store(to_square + i, square);
    }
  }

  static void orient(const float* __restrict x, const float* __restrict y, const float* __restrict square,
                     int count, float* __restrict length, std::uint16_t* __restrict index) {
    for (int i = 0; i < count; i++) {
      const float root = std::sqrt(square[i]);
      const float along = y[i] < 0 ? -x[i] : x[i];
      const float cosine = along / (root > 1 ? root : 1.0f) * 10000.0f;
      length[i] = root;
      index[i] = static_cast<std::uint16_t>(static_cast<int>(cosine) +
                                            (y[i] < 0 ? 10000 + Orientations::kSteps : 10000));
    }
  }

  int rows_ = 0, columns_ = 0, channels_ = 0, pixels_ = 0, line_ = 0;
  int held_[kHeld] = {-1, -1, -1};  // which row of the patch each line is of
  Scratch<std::uint8_t> bytes_;
  Scratch<std::uint16_t> index_;
  Scratch<float> lines_, x_, y_, square_, length_;
};

}  // namespace cfvgg
