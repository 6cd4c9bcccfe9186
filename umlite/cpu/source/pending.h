// What a reader still has to apply to the raw output of a layer (Activation in
// umlite/cpu/activation.py):
//
//   value[v][c] = act(scale[c] * data[v][c] + shift[c] + second[v][c])
//   second[v][c] = residual_scale[c] * residual[v][c] + residual_shift[c], or nothing
//   act(t) = t where t > 0, slope * t elsewhere, 0 <= slope <= 1
#pragma once
#include "vector.h"

typedef struct {
  const float *data;          // [voxels][channels]
  const float *scale, *shift; // [channels]
  const float *residual; // [voxels][channels], [voxels] where it is shared; NULL: no second term
  const float *residual_scale, *residual_shift;
  long residual_shared; // 1: one number for all channels of a voxel
  long channels;        // as stored, a multiple of LINE
  float slope;
} pending_t;

// Channels c .. c + LANES - 1 of voxel v.
INLINE vec pending_value(const pending_t *p, long v, long c) {
  vec t = fma_(load(p->data + v * p->channels + c), load(p->scale + c), load(p->shift + c));
  if (p->residual) {
    const vec r =
        p->residual_shared ? splat(p->residual[v]) : load(p->residual + v * p->channels + c);
    t += fma_(r, load(p->residual_scale + c), load(p->residual_shift + c));
  }
  return max_(t, splat(p->slope) * t);
}

// The same where many voxels are read: how a value is made is decided per layer and compiled into
// its loops, and what a line of channels needs is loaded once. Both shifts are added up first.
enum { RELU, SLOPE, SUM, SUM_SHARED };
static inline int mode_of(const pending_t *p) {
  if (p->residual) return p->residual_shared ? SUM_SHARED : SUM;
  return p->slope == 0 ? RELU : SLOPE;
}
typedef struct {
  vec scale[VECS], shift[VECS], residual_scale[VECS], slope;
} line_t;
// What the channels c ... c + LINE - 1 still need.
INLINE line_t line_of(const int mode, const pending_t *p, long c) {
  line_t line;
  UNROLL(h, VECS) {
    line.scale[h] = load(p->scale + c + h * LANES);
    line.shift[h] = load(p->shift + c + h * LANES);
    if (mode >= SUM) {
      line.residual_scale[h] = load(p->residual_scale + c + h * LANES);
      line.shift[h] += load(p->residual_shift + c + h * LANES);
    }
  }
  line.slope = splat(p->slope);
  return line;
}
// The value of vector h of a line. x and residual point at the line's first channel, residual at
// the voxel where it is shared.
INLINE vec line_value(const int mode, const line_t *line, int h, const float *x,
                      const float *residual) {
  vec v = load(x + h * LANES) * line->scale[h] + line->shift[h];
  if (mode == SUM) v += load(residual + h * LANES) * line->residual_scale[h];
  if (mode == SUM_SHARED) v += splat(*residual) * line->residual_scale[h];
  return max_(v, mode == RELU ? zero() : v * line->slope);
}
// Where a line's part of `residual` begins for voxel v and channels from c on.
INLINE const float *residual_at(const int mode, const pending_t *p, long v, long c) {
  if (mode == SUM) return p->residual + v * p->channels + c;
  return mode == SUM_SHARED ? p->residual + v : NULL;
}
