// What every kernel uses: vectors of floats, aligned buffers, arrays that come from Python.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

namespace cfvgg {

namespace nb = nanobind;

// Channels lie innermost, so one vector is the same thing of several channels. The compiler's own vector
// types keep that free of intrinsics: 4 floats on SSE and NEON, 8 with AVX, 16 with AVX-512.
#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
typedef float V __attribute__((vector_size(kLanes * sizeof(float))));

inline V load(const float* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline void store(float* p, V v) {
  std::memcpy(p, &v, sizeof v);
}

inline V splat(float x) {
  return V{} + x;
}

inline float sum(V v) {
  typedef float Quarter __attribute__((vector_size(16)));
  Quarter parts[kLanes / 4], total;
  std::memcpy(parts, &v, sizeof v);
  total = parts[0];
  for (int i = 1; i < kLanes / 4; i++) total += parts[i];
  return (total[0] + total[2]) + (total[1] + total[3]);
}

// Sum of squares of any number of floats, a vector at a time.
inline float square_sum(const float* p, std::ptrdiff_t count) {
  V s[2] = {V{}, V{}};
  std::ptrdiff_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    const V a = load(p + i), b = load(p + i + kLanes);
    s[0] += a * a;
    s[1] += b * b;
  }
  float total = sum(s[0] + s[1]);
  for (; i < count; i++) total += p[i] * p[i];
  return total;
}

// Channels as they are stored: a multiple of a vector's.
constexpr int padded(int channels) {
  return (channels + kLanes - 1) / kLanes * kLanes;
}

// Zeroed floats on a cache line's boundary. Allocated when a target starts, never within a frame.
class Floats {
 public:
  Floats() = default;
  explicit Floats(std::size_t size) : size_(size) {
    if (size == 0) return;
    const std::size_t bytes = (size * sizeof(float) + 63) / 64 * 64;
    data_ = static_cast<float*>(std::aligned_alloc(64, bytes));
    if (!data_) throw std::bad_alloc();
    std::memset(data_, 0, bytes);
  }
  Floats(Floats&& other) noexcept { *this = static_cast<Floats&&>(other); }
  Floats& operator=(Floats&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Floats() { std::free(data_); }

  float* data() { return data_; }
  const float* data() const { return data_; }
  std::size_t size() const { return size_; }
  float& operator[](std::size_t i) { return data_[i]; }
  const float& operator[](std::size_t i) const { return data_[i]; }
  void zero() {
    if (size_) std::memset(data_, 0, size_ * sizeof(float));
  }

 private:
  float* data_ = nullptr;
  std::size_t size_ = 0;
};

// Arrays from Python: read-only unless they say "out". nanobind refuses other dtypes and layouts.
template <int kAxes>
using FloatIn = nb::ndarray<const float, nb::ndim<kAxes>, nb::c_contig, nb::device::cpu>;
template <int kAxes>
using FloatOut = nb::ndarray<float, nb::ndim<kAxes>, nb::c_contig, nb::device::cpu>;
template <int kAxes>
using BytesIn = nb::ndarray<const std::uint8_t, nb::ndim<kAxes>, nb::device::cpu>;  // any strides
template <int kAxes>
using BytesOut = nb::ndarray<std::uint8_t, nb::ndim<kAxes>, nb::c_contig, nb::device::cpu>;

inline void require(bool good, const char* what) {
  if (!good) throw std::invalid_argument(what);
}

}  // namespace cfvgg
