// What a reader still has to apply to the raw output of a convolution (Activation in
// umlite/cpu/activation.py):
//
//   value[v][c] = act(scale[c] * data[v][c] + shift[c] + second[v][c])
//   second[v][c] = residual_scale[c] * residual[v][c] + residual_shift[c], or nothing
//   act(t) = t where t > 0, slope * t elsewhere, 0 <= slope <= 1
#pragma once
#include "vector.h"

typedef struct {
  const float *data, *scale, *shift; // [voxels][channels]; [channels], a multiple of LINE
  const float *residual, *residual_scale, *residual_shift; // NULL: no second term
  long residual_channels; // of `residual` as stored; 1: one number for all channels
  long channels;
  float slope;
} pending_t;

// Channels c .. c + LANES - 1 of voxel v.
INLINE vec pending_value(const pending_t *p, long v, long c) {
  vec t = fma_(load(p->data + v * p->channels + c), load(p->scale + c), load(p->shift + c));
  if (p->residual) {
    const vec r = p->residual_channels == 1 ? splat(p->residual[v])
                                            : load(p->residual + v * p->residual_channels + c);
    t += fma_(r, load(p->residual_scale + c), load(p->residual_shift + c));
  }
  return max_(t, splat(p->slope) * t);
}
