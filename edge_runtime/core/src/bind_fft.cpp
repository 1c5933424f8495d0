#include "bind.hpp"
#include "fft.hpp"

namespace cfvgg {

namespace {

// maps (n, n, channels) and a half spectrum (n, n / 2 + 1, 2, channels), for tests.
void forward(FloatIn<3> maps, FloatOut<4> spectrum) {
  const int n = static_cast<int>(maps.shape(0)), channels = static_cast<int>(maps.shape(2));
  RealFft2 fft(n);
  require(maps.shape(1) == maps.shape(0) && spectrum.shape(0) == maps.shape(0) &&
              static_cast<int>(spectrum.shape(1)) == fft.columns() && spectrum.shape(2) == 2 &&
              spectrum.shape(3) == maps.shape(2),
          "maps are (n, n, channels), a spectrum (n, n / 2 + 1, 2, channels)");
  const int stored = padded(channels);
  Floats in(static_cast<std::size_t>(n) * n * stored), out(fft.floats(stored));
  for (int i = 0; i < n * n; i++) {
    std::memcpy(&in[static_cast<std::size_t>(i) * stored],
                maps.data() + static_cast<std::size_t>(i) * channels, channels * sizeof(float));
  }
  fft.forward(in.data(), stored, nullptr, out.data());
  for (int i = 0; i < 2 * n * fft.columns(); i++) {
    std::memcpy(spectrum.data() + static_cast<std::size_t>(i) * channels,
                &out[static_cast<std::size_t>(i) * stored], channels * sizeof(float));
  }
}

void inverse(FloatIn<4> spectrum, FloatOut<3> maps) {
  const int n = static_cast<int>(maps.shape(0)), channels = static_cast<int>(maps.shape(2));
  RealFft2 fft(n);
  require(maps.shape(1) == maps.shape(0) && spectrum.shape(0) == maps.shape(0) &&
              static_cast<int>(spectrum.shape(1)) == fft.columns() && spectrum.shape(2) == 2 &&
              spectrum.shape(3) == maps.shape(2),
          "maps are (n, n, channels), a spectrum (n, n / 2 + 1, 2, channels)");
  const int stored = padded(channels);
  Floats in(fft.floats(stored)), out(static_cast<std::size_t>(n) * n * stored);
  for (int i = 0; i < 2 * n * fft.columns(); i++) {
    std::memcpy(&in[static_cast<std::size_t>(i) * stored],
                spectrum.data() + static_cast<std::size_t>(i) * channels, channels * sizeof(float));
  }
  fft.inverse(in.data(), stored, out.data());
  for (int i = 0; i < n * n; i++) {
    std::memcpy(maps.data() + static_cast<std::size_t>(i) * channels,
                &out[static_cast<std::size_t>(i) * stored], channels * sizeof(float));
  }
}

}  // namespace

void bind_fft(nb::module_& m) {
  m.def("rfft2", &forward, nb::arg("maps"), nb::arg("spectrum").noconvert());
  m.def("irfft2", &inverse, nb::arg("spectrum"), nb::arg("maps").noconvert());
}

}  // namespace cfvgg
