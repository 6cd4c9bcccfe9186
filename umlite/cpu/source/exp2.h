// 2^x for x <= 0 and a little above, relative error 8e-8. Below -125 it stays at 2^-125.
//
//   2^x = 2^n * 2^r,  n the nearest integer, |r| <= 1/2,  2^r by a minimax polynomial of degree 6
#pragma once
#include "vector.h"

INLINE vec exp2_(vec x) {
  x = max_(x, splat(-125));
  // 1.5 * 2^23: adding it leaves the nearest integer in the lowest bits.
  const vec round = splat(12582912);
  const vec shifted = x + round, r = x - (shifted - round);
  vec y = splat(0.000153534f);
  y = fma_(y, r, splat(0.00133989f));
  y = fma_(y, r, splat(0.00961844f));
  y = fma_(y, r, splat(0.05550332f));
  y = fma_(y, r, splat(0.24022648f));
  y = fma_(y, r, splat(0.69314718f));
  y = fma_(y, r, splat(1));
  return (vec)((ivec)y + ((ivec)shifted << 23));
}
