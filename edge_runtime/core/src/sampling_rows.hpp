// What resizing does to whole rows of values: loops that the compiler turns into vectors.
#pragma once

#include <cmath>

#include "sampling_taps.hpp"

namespace cfvgg {

constexpr int kTogether = 4;  // rows that are added up as integers

template <int kRows, bool kFirst>
inline void weigh_rows(const std::uint8_t* const* rows, int count, float weight, float* __restrict line) {
  const std::uint8_t *__restrict a = rows[0], *__restrict b = rows[kRows > 1 ? 1 : 0],
                     *__restrict c = rows[kRows > 2 ? 2 : 0], *__restrict d = rows[kRows > 3 ? 3 : 0];
  for (int i = 0; i < count; i++) {
    int total = a[i];
    if constexpr (kRows > 1) total += b[i];
    if constexpr (kRows > 2) total += c[i];
    if constexpr (kRows > 3) total += d[i];
    const float weighed = weight * static_cast<float>(total);
    line[i] = kFirst ? weighed : line[i] + weighed;
  }
}

template <int kRows>
inline void weigh_rows(const std::uint8_t* const* rows, int count, float weight, bool first, float* line) {
  if (first) weigh_rows<kRows, true>(rows, count, weight, line);
  else weigh_rows<kRows, false>(rows, count, weight, line);
}

// Adds (or `first`: stores) a weight times the sum of 1 to kTogether rows.
inline void weigh_rows(const std::uint8_t* const* rows, int some, int count, float weight, bool first,
                       float* line) {
  switch (some) {
    case 1: return weigh_rows<1>(rows, count, weight, first, line);
    case 2: return weigh_rows<2>(rows, count, weight, first, line);
    case 3: return weigh_rows<3>(rows, count, weight, first, line);
    default: return weigh_rows<4>(rows, count, weight, first, line);
  }
}

// To the nearest, halves to the even one: what is left in the last bits of a float of 2^23 and more.
// Returns whether any is further than `clear` from the nearest.
inline bool round_row(const float* __restrict row, int count, float bias, float clear,
                      std::uint8_t* __restrict out) {
  int unclear = 0;
  for (int i = 0; i < count; i++) {
    const float shifted = row[i] + bias + 12582912.0f;
    unclear |= std::fabs(row[i] - (shifted - 12582912.0f)) > clear;
    std::int32_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    out[i] = static_cast<std::uint8_t>(bits);
  }
  return unclear != 0;
}

template <int kShift>
inline void narrow_row(const float* __restrict row, int count, std::int16_t* __restrict out) {
  for (int i = 0; i < count; i++) {
    out[i] = static_cast<std::int16_t>(static_cast<std::int32_t>(row[i]) >> kShift);
  }
}

template <bool kAffine>
inline void blend_rows(const std::int16_t* __restrict a, const std::int16_t* __restrict b, int count,
                       const RowPair& pair, std::uint8_t* __restrict out) {
  const auto u = static_cast<std::int16_t>(pair.weights[0]), v = static_cast<std::int16_t>(pair.weights[1]);
  for (int i = 0; i < count; i++) {
    if constexpr (kAffine) {
      out[i] = static_cast<std::uint8_t>((u * a[i] + v * b[i] + 512) >> 10);
    } else {
      const auto high = static_cast<std::int16_t>((u * a[i]) >> 16);
      const auto low = static_cast<std::int16_t>((v * b[i]) >> 16);
      out[i] = static_cast<std::uint8_t>(static_cast<std::int16_t>(high + low + 2) >> 2);
    }
  }
}

}  // namespace cfvgg
