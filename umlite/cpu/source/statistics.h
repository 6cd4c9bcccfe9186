// Mean and variance per channel, and the normalisation that follows from them.
//
// A few voxels at a time are summed twice while they are in L1: their mean first, then the squares of what differs from it.
// S1 += sum, S2 += centred squares + sum^2 / n, both kept in double: a large mean costs no accuracy.
// Every block of work has its own S1 and S2. They are added up in the order of the blocks, so results do not depend on the
// number of threads or on which of them was faster.
#pragma once
#include <math.h>
#include "vector.h"

// n vectors (one per voxel), `stride` vectors apart; S1, S2: LANES channels.
INLINE void add_statistics(const vec *x, int n, int stride, double *S1, double *S2) {
  vec s[4] = {zero(), zero(), zero(), zero()};
  int i = 0;
  for (; i + 4 <= n; i += 4) UNROLL for (int k = 0; k < 4; k++) s[k] += x[(i + k) * stride];
  for (; i < n; i++) s[0] += x[i * stride];
  const vec total = (s[0] + s[1]) + (s[2] + s[3]), mean = total * splat(1.f / n);
  for (int k = 0; k < 4; k++) s[k] = zero();
  for (i = 0; i + 4 <= n; i += 4) UNROLL for (int k = 0; k < 4; k++) {
    const vec d = x[(i + k) * stride] - mean;
    s[k] += d * d;
  }
  for (; i < n; i++) {
    const vec d = x[i * stride] - mean;
    s[0] += d * d;
  }
  add_double(S1, total);
  add_double(S2, total * mean + ((s[0] + s[1]) + (s[2] + s[3])));
}
// blocks x [2][channels] sums over n voxels -> scale and shift of (x - mean) / sqrt(variance + eps) * gamma + beta.
static void finish_statistics(const double *sums, long blocks, long channels, double n, const float *gamma, const float *beta,
                              double eps, float *scale, float *shift) {
  for (long c = 0; c < channels; c++) {
    double S1 = 0, S2 = 0;
    for (long b = 0; b < blocks; b++) S1 += sums[2 * b * channels + c], S2 += sums[(2 * b + 1) * channels + c];
    const double mean = S1 / n, variance = S2 / n - mean * mean;
    const double s = gamma[c] / sqrt((variance > 0 ? variance : 0) + eps);
    scale[c] = (float)s, shift[c] = (float)(beta[c] - mean * s);
  }
}
