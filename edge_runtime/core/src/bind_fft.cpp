#include "bind.hpp"
#include "fft.hpp"

namespace cfvgg {

namespace {

// For tests: maps (n, n, channels) and a half spectrum (n, n / 2 + 1, 2, channels), without padding.
struct Unpadded {
  template <class Maps, class Spectrum>
  Unpadded(const Maps& maps, const Spectrum& spectrum)
      : fft(static_cast<int>(maps.shape(0))),
        channels(static_cast<int>(maps.shape(2))),
        stored(padded(channels)),
        places(fft.size() * fft.size()),
        coefficients(2 * fft.size() * fft.columns()),
        maps_padded(static_cast<std::size_t>(places) * stored),
        spectrum_padded(fft.floats(stored)) {
    require(maps.shape(1) == maps.shape(0) && spectrum.shape(0) == maps.shape(0) &&
                static_cast<int>(spectrum.shape(1)) == fft.columns() && spectrum.shape(2) == 2 &&
                spectrum.shape(3) == maps.shape(2),
            "maps are (n, n, channels), a spectrum (n, n / 2 + 1, 2, channels)");
  }

  void copy(const float* from, int from_step, float* to, int to_step, int count) const {
    for (std::ptrdiff_t i = 0; i < count; i++) {
      std::memcpy(to + i * to_step, from + i * from_step, channels * sizeof(float));
    }
  }

  RealFft2 fft;
  int channels, stored, places, coefficients;
  Floats maps_padded, spectrum_padded;
};

void forward(FloatIn<3> maps, FloatOut<4> spectrum) {
  Unpadded u(maps, spectrum);
  u.copy(maps.data(), u.channels, u.maps_padded.data(), u.stored, u.places);
  u.fft.forward(u.maps_padded.data(), u.stored, nullptr, u.spectrum_padded.data());
  u.copy(u.spectrum_padded.data(), u.stored, spectrum.data(), u.channels, u.coefficients);
}

void inverse(FloatIn<4> spectrum, FloatOut<3> maps) {
  Unpadded u(maps, spectrum);
  u.copy(spectrum.data(), u.channels, u.spectrum_padded.data(), u.stored, u.coefficients);
  u.fft.inverse(u.spectrum_padded.data(), u.stored, u.maps_padded.data());
  u.copy(u.maps_padded.data(), u.stored, maps.data(), u.channels, u.places);
}

}  // namespace

void bind_fft(nb::module_& m) {
  m.def("rfft2", &forward, nb::arg("maps"), nb::arg("spectrum").noconvert());
  m.def("irfft2", &inverse, nb::arg("spectrum"), nb::arg("maps").noconvert());
}

}  // namespace cfvgg
