// Rows of numbers, one per token: layer norm, and what an affine map of them adds at its end.
//
//   norm(x) = (x - mean) / sqrt(variance + eps)      over a token's channels
//
// Scale and shift live in the weights that follow. A row is stored with zeros up to a multiple of
// LINE. They do not count; what the norm makes of them meets weights of zero.
#pragma once
#include "vector.h"

#define NORM_EPS 1e-5f

// Sum of n numbers.
INLINE float sum_row(const float *x, long n) {
  vec s = zero();
  long c = 0;
  for (; c + LANES <= n; c += LANES) s += load(x + c);
  float total = sum(s);
  for (; c < n; c++) total += x[c];
  return total;
}
// Sum of (x - mean)^2.
INLINE float squares_row(const float *x, float mean, long n) {
  vec s = zero();
  long c = 0;
  for (; c + LANES <= n; c += LANES)
    s = fma_(load(x + c) - splat(mean), load(x + c) - splat(mean), s);
  float total = sum(s);
  for (; c < n; c++) total += (x[c] - mean) * (x[c] - mean);
  return total;
}
// out = (x - mean) * factor for `stored` numbers, a multiple of LINE. In place where out is x.
INLINE void centre_row(const float *x, float mean, float factor, long stored, float *out) {
  for (long c = 0; c < stored; c += LANES)
    store(out + c, (load(x + c) - splat(mean)) * splat(factor));
}
// Layer norm of a token.
INLINE void norm_row(const float *x, long channels, long stored, float *out) {
  const float mean = sum_row(x, channels) / (float)channels;
  const float variance = squares_row(x, mean, channels) / (float)channels;
  centre_row(x, mean, 1 / sqrtf(variance + NORM_EPS), stored, out);
}
// y = product + bias, or y += product + bias.
INLINE void finish_rows(const float *product, const float *bias, long rows, long outputs, long add,
                        float *y) {
  for (long i = 0; i < rows; i++, product += outputs, y += outputs)
    for (long c = 0; c < outputs; c += LANES) {
      const vec t = load(product + c) + load(bias + c);
      store(y + c, add ? load(y + c) + t : t);
    }
}
