// GELU with the exact normal distribution Phi:
//
//   gelu(x) = x * Phi(x) = max(x, 0) - a * (1 - Phi(a)),  a = |x|
//
// 1 - Phi(a) = exp(-a^2 / 2) * R(a); R as a polynomial in s = 1 / (1 + 0.338 a), fitted by
// iteratively reweighted least squares to the product's absolute error, 4.3e-8. What is subtracted
// never exceeds 0.17: the result's own rounding decides.
#pragma once
#include "exp2.h"

INLINE vec gelu(vec x) {
  const vec a = max_(x, -x), s = splat(1) / fma_(a, splat(0.338f), splat(1));
  vec y = splat(-0.10729146748781204f);
  y = fma_(y, s, splat(0.34027451276779175f));
  y = fma_(y, s, splat(-0.05060553550720215f));
  y = fma_(y, s, splat(0.18978159129619598f));
  y = fma_(y, s, splat(0.12783955037593842f));
  return max_(x, zero()) - y * (a * s) * exp2_(a * a * splat(-0.72134752f));
}
