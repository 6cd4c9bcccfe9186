// One convolution layer, as Python describes it (umlite/cpu/convolution.py mirrors this struct
// field by field).
//
//   y = conv(value) [+ y] [+ border]
//   value = act(scale * x + shift [+ more_scale * more + more_shift])
//
// x, y and more are raw, [D][H][W][channels]; channels are multiples of LINE. Statistics of y,
// gathered while it is written, become the scale and shift that the readers of y apply: a
// normalisation never costs a pass of its own.
#pragma once
#include "statistics.h"
#include "threads.h"

typedef struct {
  long kernel; // which algorithm (winograd.c), or taps per axis (direct.c)
  long threads;
  long D, H, W, inputs, outputs; // grid and stored channels of x, stored channels of y
  const float *x, *scale, *shift;
  const float *more, *more_scale, *more_shift; // second term of the value, or NULL
  long more_shared;                            // 1: `more` has one channel, [D][H][W]
  double slope;
  const float *weights; // packed; up: eight sets
  float *y;
  long up;             // 1: eight parities, y's grid is twice x's
  long accumulate;     // y += instead of y =
  long streamed;       // write y past the caches
  const float *border; // [27][outputs] added at the border, or NULL
  float *pool; // [D/2][H/2][W/2][outputs] raw 2^3 maximum (minimum where gamma < 0), or NULL
  const float *gamma, *beta; // of y's normalisation; NULL: no statistics
  double eps;
  float *y_scale, *y_shift; // out
  long block, shared;       // tiles (voxels) per block; 1: threads share a block
  float *scratch;
  double seconds[4]; // out: loading, products, storing (all threads together), wall
} layer;

// How a value is made of what lies in memory: decided per layer, compiled into its loops.
enum { RELU, SLOPE, SUM, SUM_SHARED };
static inline int mode_of(const layer *L) {
  return L->more ? (L->more_shared ? SUM_SHARED : SUM) : L->slope == 0 ? RELU : SLOPE;
}
typedef struct {
  vec a[VECS], b[VECS], m[VECS], slope;
} pending;
// What the channels c ... c + LINE - 1 still need.
INLINE pending pending_of(const int mode, const layer *L, long c) {
  pending p;
  UNROLL(h, VECS) {
    p.a[h] = load(L->scale + c + h * LANES), p.b[h] = load(L->shift + c + h * LANES);
    if (mode >= SUM)
      p.m[h] = load(L->more_scale + c + h * LANES), p.b[h] += load(L->more_shift + c + h * LANES);
  }
  p.slope = splat((float)L->slope);
  return p;
}
// The value of vector h of a line: x and more point at the line's first channel (more: at the voxel
// where shared).
INLINE vec value(const int mode, const pending *p, int h, const float *x, const float *more) {
  vec v = load(x + h * LANES) * p->a[h] + p->b[h];
  if (mode == SUM) v += load(more + h * LANES) * p->m[h];
  if (mode == SUM_SHARED) v += splat(*more) * p->m[h];
  return max_(v, mode == RELU ? zero() : v * p->slope);
}
// Position of the voxel in `more`, o voxels and c channels on.
INLINE const float *more_at(const int mode, const layer *L, long o, long c) {
  return mode == SUM ? L->more + o * L->inputs + c : mode == SUM_SHARED ? L->more + o : NULL;
}
// Which of the 27 kinds of position (low border, inside, high border per axis) a voxel of y is.
static inline long border_kind(long z, long y, long x, long D, long H, long W) {
  return ((z == 0       ? 0
           : z == D - 1 ? 2
                        : 1) *
              3 +
          (y == 0       ? 0
           : y == H - 1 ? 2
                        : 1)) *
             3 +
         (x == 0       ? 0
          : x == W - 1 ? 2
                       : 1);
}
