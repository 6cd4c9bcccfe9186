// What training needs beside the convolutions of inference: window norm with ReLU and its gradient;
// in the headers, the gradient of a convolution's weights, changes of the grid and the heads.
// Tensors are [voxels][channels], channels a multiple of LINE; one thread; sums in double.
#include "grids.h"
#include "heads_gradient.h"
#include "weight_gradient.h"

enum { BLOCK = 64 };

// total[2][channels] += sums over all voxels of what `term` makes of one vector of channels.
#define SUM_BLOCKS(TERM)                                                               \
  for (long first = 0; first < voxels; first += BLOCK) {                               \
    const long last = first + BLOCK < voxels ? first + BLOCK : voxels;                 \
    for (long c = 0; c < channels; c += LANES) {                                       \
      vec one = zero(), two = zero();                                                  \
      for (long i = first * channels + c; i < last * channels; i += channels) { TERM } \
      add_double(total + c, one);                                                      \
      add_double(total + channels + c, two);                                           \
    }                                                                                  \
  }

// y = max(0, gamma (x - mean) / sqrt(variance + eps) + beta)
// moments: mean and 1 / sqrt(variance + eps), [2][channels]; total: [2][channels] of scratch.
void norm_relu(const float *x, const float *gamma, const float *beta, double eps, long voxels,
               long channels, double *total, float *moments, float *y) {
  float *mean = moments, *inverse = moments + channels;
  memset(total, 0, (size_t)(2 * channels) * sizeof *total);
  SUM_BLOCKS(const vec v = load(x + i); one += v; two += v * v;)
  for (long c = 0; c < channels; c++) {
    const double m = total[c] / voxels, variance = total[channels + c] / voxels - m * m;
    mean[c] = (float)m;
    inverse[c] = (float)(1 / sqrt((variance > 0 ? variance : 0) + eps));
  }
  for (long i = 0; i < voxels * channels; i += channels)
    for (long c = 0; c < channels; c += LANES) {
      const vec factor = load(inverse + c) * load(gamma + c);
      const vec v = (load(x + i + c) - load(mean + c)) * factor + load(beta + c);
      store(y + i + c, max_(zero(), v));
    }
}
// From dy, the gradient of y: dx, and total = [gradient of beta, gradient of gamma][channels]. y
// tells where ReLU let through.
void norm_relu_backward(const float *x, const float *y, const float *dy, const float *gamma,
                        const float *moments, long voxels, long channels, double *total,
                        float *means, float *dx) {
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
