// What training needs beside the convolutions of inference: window norm with ReLU, its gradient, and the gradient of a 3^3
// convolution's weights. Tensors are [voxels][channels], channels a multiple of LINE; one thread; sums of blocks in double.
#include <math.h>
#include "vector.h"

enum { BLOCK = 64, PANEL = 6 };

// total[2][channels] += sums over all voxels of what `term` makes of one vector of channels.
#define SUM_BLOCKS(TERM)                                                                          \
  for (long first = 0; first < voxels; first += BLOCK) {                                          \
    const long last = first + BLOCK < voxels ? first + BLOCK : voxels;                            \
    for (long c = 0; c < channels; c += LANES) {                                                  \
      vec one = zero(), two = zero();                                                             \
      for (long i = first * channels + c; i < last * channels; i += channels) { TERM }            \
      add_double(total + c, one), add_double(total + channels + c, two);                          \
    }                                                                                             \
  }

// y = max(0, gamma (x - mean) / sqrt(variance + eps) + beta); moments [2][channels]: mean, 1 / sqrt(variance + eps).
// total: [2][channels] of scratch.
void norm_relu(const float *x, const float *gamma, const float *beta, double eps, long voxels, long channels, double *total,
               float *moments, float *y) {
  float *mean = moments, *inverse = moments + channels;
  memset(total, 0, (size_t)(2 * channels) * sizeof *total);
  SUM_BLOCKS(const vec v = load(x + i); one += v; two += v * v;)
  for (long c = 0; c < channels; c++) {
    const double m = total[c] / voxels, variance = total[channels + c] / voxels - m * m;
    mean[c] = (float)m, inverse[c] = (float)(1 / sqrt((variance > 0 ? variance : 0) + eps));
  }
  for (long i = 0; i < voxels * channels; i += channels)
    for (long c = 0; c < channels; c += LANES)
      store(y + i + c, max_(zero(), (load(x + i + c) - load(mean + c)) * (load(inverse + c) * load(gamma + c)) + load(beta + c)));
}
// From dy, the gradient of y: dx, and total = [gradient of beta, gradient of gamma][channels]. y tells where ReLU let through.
void norm_relu_backward(const float *x, const float *y, const float *dy, const float *gamma, const float *moments, long voxels,
                        long channels, double *total, float *means, float *dx) {
  const float *mean = moments, *inverse = moments + channels;
  memset(total, 0, (size_t)(2 * channels) * sizeof *total);
#define PASSED(i) choose(load(y + (i)) > zero(), load(dy + (i)), zero())
#define NORMAL(i) ((load(x + (i)) - load(mean + c)) * load(inverse + c))
  SUM_BLOCKS(const vec d = PASSED(i); one += d; two += d * NORMAL(i);)
  for (long c = 0; c < 2 * channels; c++) means[c] = (float)(total[c] / voxels);
  for (long i = 0; i < voxels * channels; i += channels)
    for (long c = 0; c < channels; c += LANES) {
      const vec d = PASSED(i + c) - load(means + c) - NORMAL(i + c) * load(means + channels + c);
      store(dx + i + c, d * (load(gamma + c) * load(inverse + c)));
    }
}

// m[k][LINE] += x[v][c .. c + LINE] * dy[v][k] over n voxels, for `outputs` <= PANEL of dy's channels.
INLINE void panel(const int outputs, const float *x, long inputs, const float *dy, long pitch, long n, float *m) {
  vec sums[PANEL][VECS];
  UNROLL for (int k = 0; k < outputs; k++) UNROLL for (int h = 0; h < VECS; h++) sums[k][h] = load(m + k * LINE + h * LANES);
  for (long v = 0; v < n; v++, x += inputs, dy += pitch) {
    vec part[VECS];
    UNROLL for (int h = 0; h < VECS; h++) part[h] = load(x + h * LANES);
    UNROLL for (int k = 0; k < outputs; k++) {
      const vec d = splat(dy[k]);
      UNROLL for (int h = 0; h < VECS; h++) sums[k][h] += part[h] * d;
    }
  }
  UNROLL for (int k = 0; k < outputs; k++) UNROLL for (int h = 0; h < VECS; h++) store(m + k * LINE + h * LANES, sums[k][h]);
}
NOINLINE void panel6(const float *x, long inputs, const float *dy, long pitch, long n, float *m) { panel(6, x, inputs, dy, pitch, n, m); }
NOINLINE void panel4(const float *x, long inputs, const float *dy, long pitch, long n, float *m) { panel(4, x, inputs, dy, pitch, n, m); }
NOINLINE void panel2(const float *x, long inputs, const float *dy, long pitch, long n, float *m) { panel(2, x, inputs, dy, pitch, n, m); }

// dw [inputs / LINE][27][outputs][LINE] += gradient of the weights; x [D][H][W][inputs], dy [D][H][W][outputs].
void weight_gradient(const float *x, const float *dy, long D, long H, long W, long inputs, long outputs, float *dw) {
  for (long z = 0; z < D; z++)
    for (long y = 0; y < H; y++)
      for (long c = 0; c < inputs; c += LINE)
        for (int t = 0; t < 27; t++) {
          const long dz = t / 9 - 1, up = t / 3 % 3 - 1, aside = t % 3 - 1, from = aside < 0, n = W - (aside != 0);
          if (z + dz < 0 || z + dz >= D || y + up < 0 || y + up >= H || n < 1) continue;
          const float *in = x + (((z + dz) * H + y + up) * W + from + aside) * inputs + c;
          const float *out = dy + ((z * H + y) * W + from) * outputs;
          float *m = dw + (c / LINE * 27 + t) * outputs * LINE;
          long k = 0;
          for (; k + 6 <= outputs; k += 6) panel6(in, inputs, out + k, outputs, n, m + k * LINE);
          for (; k + 4 <= outputs; k += 4) panel4(in, inputs, out + k, outputs, n, m + k * LINE);
          for (; k < outputs; k += 2) panel2(in, inputs, out + k, outputs, n, m + k * LINE);
        }
}
