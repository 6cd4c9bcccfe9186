// Mean and variance per channel, and the normalisation that follows from them.
//
// A few voxels at a time are summed twice while they are in L1: their sum first, then the squares
// of what differs from their mean m, however it was rounded.
//
//   S1 += sum,  S2 += squares + m * (2 sum - n m)
//
// S2 is the sum of the plain squares, formed and kept in double, or rounding would grow with the
// mean. Every block of work has its own S1 and S2. They are added up in the order of the blocks, so
// results do not depend on the number of threads or on which of them was faster.
#pragma once
#include "vector.h"

// n numbers a lane: their sum, (about) their mean, and the squares around that mean. S1, S2: LANES
// channels.
INLINE void add_moments(vec total, vec mean, vec squares, int n, double *S1, double *S2) {
  const dvec t = __builtin_convertvector(total, dvec), m = __builtin_convertvector(mean, dvec);
  dvec sums;
  add_double(S1, total);
  memcpy(&sums, S2, sizeof sums);
  sums += __builtin_convertvector(squares, dvec) + m * (t + t - m * n);
  memcpy(S2, &sums, sizeof sums);
}
// n vectors (one per voxel), `stride` vectors apart; S1, S2: LANES channels.
INLINE void add_statistics(const vec *x, int n, int stride, double *S1, double *S2) {
  vec s[4] = {zero(), zero(), zero(), zero()};
  int i = 0;
  for (; i + 4 <= n; i += 4)
    UNROLL(k, 4) s[k] += x[(i + k) * stride];
  for (; i < n; i++) s[0] += x[i * stride];
  const vec total = (s[0] + s[1]) + (s[2] + s[3]), mean = total * splat(1.f / n);
  for (int k = 0; k < 4; k++) s[k] = zero();
  for (i = 0; i + 4 <= n; i += 4)
    UNROLL(k, 4) {
      const vec d = x[(i + k) * stride] - mean;
      s[k] = plus(s[k], d, d);
    }
  for (; i < n; i++) {
    const vec d = x[i * stride] - mean;
    s[0] = plus(s[0], d, d);
  }
  add_moments(total, mean, (s[0] + s[1]) + (s[2] + s[3]), n, S1, S2);
}
// Scale and shift of (x - mean) / sqrt(variance + eps) * gamma + beta, from sums over n voxels.
// sums: [blocks][2][channels]. group: channels that share mean and variance.
static void finish_statistics(const double *sums, long blocks, long channels, double n, long group,
                              const float *gamma, const float *beta, double eps, float *scale,
                              float *shift) {
  for (long first = 0; first < channels; first += group) {
    const long last = first + group < channels ? first + group : channels;
    double S1 = 0, S2 = 0;
    for (long c = first; c < last; c++)
      for (long b = 0; b < blocks; b++) {
        S1 += sums[2 * b * channels + c];
        S2 += sums[(2 * b + 1) * channels + c];
      }
    const double numbers = n * (double)(last - first);
    const double mean = S1 / numbers, variance = S2 / numbers - mean * mean;
    for (long c = first; c < last; c++) {
      const double s = gamma[c] / sqrt((variance > 0 ? variance : 0) + eps);
      scale[c] = (float)s;
      shift[c] = (float)(beta[c] - mean * s);
    }
  }
}
