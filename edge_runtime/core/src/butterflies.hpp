// Transforms of 2, 3, 4, 5 and 7 complex numbers, a vector of channels at once.
#pragma once

#include "common.hpp"

namespace cfvgg::butterflies {

struct Complex {
  V re, im;
};

inline Complex add(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
inline Complex sub(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
inline Complex times(Complex a, float re, float im) {
  return {a.re * re - a.im * im, a.re * im + a.im * re};
}
inline Complex minus_i(Complex a) { return {a.im, -a.re}; }

inline Complex weighted(Complex a, float p, Complex b, float q, Complex c, float r) {
  return {p * a.re + q * b.re + r * c.re, p * a.im + q * b.im + r * c.im};
}

// x[0..R) replaced by its transform.
template <int R>
void butterfly(Complex* x);

template <>
inline void butterfly<2>(Complex* x) {
  const Complex a = x[0];
  x[0] = add(a, x[1]);
  x[1] = sub(a, x[1]);
}

template <>
inline void butterfly<3>(Complex* x) {
  const Complex s = add(x[1], x[2]), d = minus_i(sub(x[1], x[2]));
  const Complex m = {x[0].re - 0.5f * s.re, x[0].im - 0.5f * s.im};
  const Complex t = {0.8660254037844386f * d.re, 0.8660254037844386f * d.im};
  x[0] = add(x[0], s);
  x[1] = add(m, t);
  x[2] = sub(m, t);
}

template <>
inline void butterfly<4>(Complex* x) {
  const Complex a = add(x[0], x[2]), b = sub(x[0], x[2]), c = add(x[1], x[3]);
  const Complex d = minus_i(sub(x[1], x[3]));
  x[0] = add(a, c);
  x[1] = add(b, d);
  x[2] = sub(a, c);
  x[3] = sub(b, d);
}

template <>
inline void butterfly<5>(Complex* x) {
  constexpr float c1 = 0.30901699437494745f, c2 = -0.8090169943749475f;
  constexpr float s1 = 0.9510565162951535f, s2 = 0.5877852522924731f;
  const Complex a = add(x[1], x[4]), b = add(x[2], x[3]);
  const Complex c = minus_i(sub(x[1], x[4])), d = minus_i(sub(x[2], x[3]));
  const Complex m1 = {x[0].re + c1 * a.re + c2 * b.re, x[0].im + c1 * a.im + c2 * b.im};
  const Complex m2 = {x[0].re + c2 * a.re + c1 * b.re, x[0].im + c2 * a.im + c1 * b.im};
  const Complex t1 = {s1 * c.re + s2 * d.re, s1 * c.im + s2 * d.im};
  const Complex t2 = {s2 * c.re - s1 * d.re, s2 * c.im - s1 * d.im};
  x[0] = add(x[0], add(a, b));
  x[1] = add(m1, t1);
  x[2] = add(m2, t2);
  x[3] = sub(m2, t2);
  x[4] = sub(m1, t1);
}

template <>
inline void butterfly<7>(Complex* x) {
  constexpr float c1 = 0.6234898018587336f, c2 = -0.2225209339563144f, c3 = -0.9009688679024191f;
  constexpr float s1 = 0.7818314824680298f, s2 = 0.9749279121818236f, s3 = 0.4338837391175581f;
  const Complex a1 = add(x[1], x[6]), a2 = add(x[2], x[5]), a3 = add(x[3], x[4]);
  const Complex b1 = minus_i(sub(x[1], x[6])), b2 = minus_i(sub(x[2], x[5]));
  const Complex b3 = minus_i(sub(x[3], x[4]));
  const Complex m1 = add(x[0], weighted(a1, c1, a2, c2, a3, c3)), t1 = weighted(b1, s1, b2, s2, b3, s3);
  const Complex m2 = add(x[0], weighted(a1, c2, a2, c3, a3, c1)), t2 = weighted(b1, s2, b2, -s3, b3, -s1);
  const Complex m3 = add(x[0], weighted(a1, c3, a2, c1, a3, c2)), t3 = weighted(b1, s3, b2, -s1, b3, s2);
  x[0] = add(add(x[0], a1), add(a2, a3));
  x[1] = add(m1, t1);
  x[2] = add(m2, t2);
  x[3] = add(m3, t3);
  x[4] = sub(m3, t3);
  x[5] = sub(m2, t2);
  x[6] = sub(m1, t1);
}

}  // namespace cfvgg::butterflies
