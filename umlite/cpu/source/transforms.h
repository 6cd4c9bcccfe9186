// One-dimensional Winograd (Toom-Cook) transforms F(m, r): m outputs of an r-tap convolution from A
// = m + r - 1 products.
//
//   y = AT [ (G w) * (BT d) ]     element by element in the middle; in 3-D along each axis
//
// The points decide the rounding error. Found by search: 0, +-5/8, +-3/2, infinity for F(4,3) and
// 0, +-3/4, 2, infinity for F(4,2) err a third (half) as much as the usual 0, +-1, +-2 at the same
// cost; their products are exact in float32. (Lavin and Gray, arXiv 1509.09308; on points: Barabasz
// et al., arXiv 1803.10986.)
//
// s and os: distance of the inputs and of the outputs, in vectors.
#pragma once
#include "vector.h"

typedef void transform_fn(const vec *d, int s, vec *o, int os);

#define A43 0.625f
#define B43 1.5f
INLINE void input_43(const vec *d, int s, vec *o, int os) {
  const vec d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s], d5 = d[5 * s];
  const vec a = splat(A43), b = splat(B43), a2 = splat(A43 * A43), b2 = splat(B43 * B43);
  const vec e = minus(d4, b2, d2), f = minus(d3, b2, d1);
  const vec g = minus(d4, a2, d2), h = minus(d3, a2, d1);
  o[0] = minus(e, a2, minus(d2, b2, d0));
  o[os] = plus(e, a, f);
  o[2 * os] = minus(e, a, f);
  o[3 * os] = plus(g, b, h);
  o[4 * os] = minus(g, b, h);
  o[5 * os] = minus(minus(d5, b2, d3), a2, f);
}
INLINE void output_43(const vec *d, int s, vec *o, int os) {
  const vec d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s], d5 = d[5 * s];
  const vec p = d1 + d2, q = d1 - d2, r = d3 + d4, t = d3 - d4;
  const float A = A43, B = B43;
  o[0] = d0 + p + r;
  o[os] = splat(A) * q + splat(B) * t;
  o[2 * os] = splat(A * A) * p + splat(B * B) * r;
  o[3 * os] = splat(A * A * A) * q + (splat(B * B * B) * t + d5);
}
#define A42 0.75f
#define B42 2.f
INLINE void input_42(const vec *d, int s, vec *o, int os) {
  const vec d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s];
  const vec a = splat(A42), a2 = splat(A42 * A42), b = splat(B42);
  const vec g = minus(d3, a2, d1), h = minus(d2, a2, d0), k = minus(d4, a2, d2);
  const vec e = minus(d3, b, d2), f = minus(d2, b, d1);
  o[0] = minus(g, b, h);
  o[os] = plus(e, a, f);
  o[2 * os] = minus(e, a, f);
  o[3 * os] = g;
  o[4 * os] = minus(k, b, g);
}
INLINE void output_42(const vec *d, int s, vec *o, int os) {
  const vec d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s];
  const vec p = d1 + d2, q = d1 - d2;
  const float A = A42, B = B42;
  o[0] = d0 + p + d3;
  o[os] = splat(A) * q + splat(B) * d3;
  o[2 * os] = splat(A * A) * p + splat(B * B) * d3;
  o[3 * os] = splat(A * A * A) * q + (splat(B * B * B) * d3 + d4);
}
// Points 0, +-1, infinity.
INLINE void input_23(const vec *d, int s, vec *o, int os) {
  const vec d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s];
  o[0] = d0 - d2;
  o[os] = d2 + d1;
  o[2 * os] = d2 - d1;
  o[3 * os] = d3 - d1;
}
INLINE void output_23(const vec *d, int s, vec *o, int os) {
  const vec d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s];
  o[0] = d0 + (d1 + d2);
  o[os] = (d1 - d2) + d3;
}
// Points 0, 1, infinity.
INLINE void input_22(const vec *d, int s, vec *o, int os) {
  const vec d0 = d[0], d1 = d[s], d2 = d[2 * s];
  o[0] = d0 - d1;
  o[os] = d1;
  o[2 * os] = d2 - d1;
}
INLINE void output_22(const vec *d, int s, vec *o, int os) {
  const vec d0 = d[0], d1 = d[s], d2 = d[2 * s];
  o[0] = d0 + d1;
  o[os] = d1 + d2;
}
