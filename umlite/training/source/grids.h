// Between two grids of which one is twice as fine: maximum, and the joint of a transposed
// convolution with the skip.
#pragma once
#include "vector.h"

// For each coarse voxel and each of its eight fine ones, e = 0 ... 7: `coarse`, `fine` are their
// numbers.
#define EACH_FINE(D, H, W)                                        \
  for (long coarse = 0, fine; coarse < (D) * (H) * (W); coarse++) \
    for (long e = 0; e < 8 && (fine = fine_of(coarse, e, H, W), 1); e++)
static inline long fine_of(long coarse, long e, long H, long W) {
  const long z = coarse / (H * W), y = coarse / W % H, x = coarse % W;
  return ((2 * z + (e >> 2)) * 2 * H + 2 * y + (e >> 1 & 1)) * 2 * W + 2 * x + (e & 1);
}
INLINE void copy(float *to, const float *from, long n) {
  long c = 0;
  for (; c + LANES <= n; c += LANES) store(to + c, load(from + c));
  for (; c < n; c++) to[c] = from[c];
}

// y [2D][2H][2W][channels] = rows [D][H][W][8][ours], skip [2D][2H][2W][theirs of `stored`], zeros.
void join(const float *rows, const float *skip, long D, long H, long W, long ours, long theirs,
          long stored, long channels, float *y) {
  EACH_FINE(D, H, W) {
    float *to = y + fine * channels;
    copy(to, rows + (coarse * 8 + e) * ours, ours);
    copy(to + ours, skip + fine * stored, theirs);
    for (long c = ours + theirs; c < channels; c++) to[c] = 0;
  }
}
// From dy the gradients of rows and of skip, zero beyond `theirs`.
void split(const float *dy, long D, long H, long W, long ours, long theirs, long stored,
           long channels, float *rows, float *skip) {
  EACH_FINE(D, H, W) {
    const float *from = dy + fine * channels;
    copy(rows + (coarse * 8 + e) * ours, from, ours);
    copy(skip + fine * stored, from + ours, theirs);
    for (long c = theirs; c < stored; c++) skip[fine * stored + c] = 0;
  }
}

// y [D][H][W][channels]: the largest of eight; x [2D][2H][2W][channels].
void pool(const float *x, long D, long H, long W, long channels, float *y) {
  for (long coarse = 0; coarse < D * H * W; coarse++) {
    const float *from[8];
    for (int e = 0; e < 8; e++) from[e] = x + fine_of(coarse, e, H, W) * channels;
    for (long c = 0; c < channels; c += LANES) {
      vec most = load(from[0] + c);
      UNROLL(e, 7) most = max_(most, load(from[e + 1] + c));
      store(y + coarse * channels + c, most);
    }
  }
}
// dx = other + dy where x is the first of the largest.
void pool_backward(const float *x, const float *y, const float *dy, const float *other, long D,
                   long H, long W, long channels, float *dx) {
  for (long coarse = 0; coarse < D * H * W; coarse++) {
    long from[8];
    for (int e = 0; e < 8; e++) from[e] = fine_of(coarse, e, H, W) * channels;
    for (long c = 0; c < channels; c += LANES) {
      const vec most = load(y + coarse * channels + c);
      vec left = load(dy + coarse * channels + c);
      UNROLL(e, 8) {
        const ivec here = load(x + from[e] + c) == most;
        store(dx + from[e] + c, load(other + from[e] + c) + choose(here, left, zero()));
        left = choose(here, zero(), left);
      }
    }
  }
}
