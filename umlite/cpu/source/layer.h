// One convolution layer, as Python describes it (Layer in umlite/cpu/convolution.py).
//
//   y = conv(value of x) [+ y] [+ border]
//
// x and y are raw, [D][H][W][channels]; channels are multiples of LINE. Statistics of y, gathered
// while it is written, become the scale and shift that the readers of y apply: a normalisation
// never costs a pass of its own.
#pragma once
#include "pending.h"
#include "statistics.h"
#include "threads.h"

typedef struct {
  long kernel; // which algorithm (winograd.c), or taps per axis (direct.c)
  long threads;
  long D, H, W; // grid of x
  pending_t x;
  const float *weights; // packed; up: eight sets
  float *y;
  long outputs;        // stored channels of y
  long up;             // 1: eight parities, y's grid is twice x's
  long accumulate;     // y += instead of y =
  long streamed;       // write y past the caches
  const float *border; // [27][outputs] added at the border, or NULL
  float *pool; // [D/2][H/2][W/2][outputs] raw 2^3 maximum (minimum where gamma < 0), or NULL
  const float *gamma, *beta; // of y's normalisation; NULL: no statistics
  double eps;
  long group;               // channels that share mean and variance
  float *y_scale, *y_shift; // out
  long block, shared;       // tiles (voxels) per block; 1: threads share a block
  float *scratch;
  double seconds[4]; // out: loading, products, storing (all threads together), wall
} layer_t;

// Low border, inside, high border.
static inline long border_of(long at, long size) { return at == 0 ? 0 : at == size - 1 ? 2 : 1; }
// Which of the 27 kinds of position a voxel of y is.
static inline long border_kind(long z, long y, long x, long D, long H, long W) {
  return (border_of(z, D) * 3 + border_of(y, H)) * 3 + border_of(x, W);
}
