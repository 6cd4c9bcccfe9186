// A 1^3 convolution: per voxel a matrix product. With `up`, eight of them, one per parity of the
// finer grid: a transposed convolution 2^3 with stride 2, whose eight taps never meet.
//
// A block of voxels is read once (value: normalisation, activation, residual), multiplied, and
// stored.
#include "gemm.h"
#include "layer.h"

typedef void fill_fn(const layer_t *, long, long, float *);
#define FILL(mode)                                                                      \
  static void fill_##mode(const layer_t *L, long first, long n, float *V) {             \
    for (long c = 0; c < L->x.channels; c += LINE) {                                    \
      const line_t line = line_of(mode, &L->x, c);                                      \
      for (long i = 0; i < n; i++)                                                      \
        UNROLL(h, VECS)                                                                 \
          store(V + i * L->x.channels + c + h * LANES,                                  \
                line_value(mode, &line, h, L->x.data + (first + i) * L->x.channels + c, \
                           residual_at(mode, &L->x, first + i, c)));                    \
    }                                                                                   \
  }
FILL(RELU)
FILL(SLOPE)
FILL(SUM)
FILL(SUM_SHARED)
static fill_fn *const FILLS[] = {fill_RELU, fill_SLOPE, fill_SUM, fill_SUM_SHARED};

// Where voxel i of x lies in y.
static float *target(const layer_t *L, long i, long parity) {
  if (!L->up) return L->y + i * L->outputs;
  const long z = i / (L->H * L->W), y = i / L->W % L->H, x = i % L->W;
  return L->y + (((2 * z + (parity >> 2)) * 2 * L->H + 2 * y + (parity >> 1 & 1)) * 2 * L->W +
                 2 * x + (parity & 1)) *
                    L->outputs;
}
// P: [n][outputs] products -> y.
static void finish_block(const layer_t *L, long first, long n, long parity, float *P,
                         double *sums) {
  const long N = L->outputs;
  if (L->accumulate)
    for (long i = 0; i < n; i++) {
      const float *y = target(L, first + i, parity);
      for (long c = 0; c < N; c += LANES) store(P + i * N + c, load(P + i * N + c) + load(y + c));
    }
  if (sums)
    for (long c = 0; c < N; c += LANES)
      add_statistics((const vec *)(P + c), (int)n, (int)(N / LANES), sums + c, sums + N + c);
  for (long i = 0; i < n; i++) {
    float *y = target(L, first + i, parity);
    if (L->streamed)
      for (long c = 0; c < N; c += LANES) stream(y + c, load(P + i * N + c));
    else memcpy(y, P + i * N, (size_t)N * sizeof *P);
  }
}
static long blocks_of(const layer_t *L) { return (L->D * L->H * L->W + L->block - 1) / L->block; }
static long sums_floats(const layer_t *L) { return L->gamma ? 4 * blocks_of(L) * L->outputs : 0; }
// Floats of scratch memory that a layer needs.
long pointwise_scratch(const layer_t *L) {
  return sums_floats(L) + L->threads * L->block * (L->x.channels + L->outputs);
}

// Into the second cache: y of a block before its products, x of the block that follows.
INLINE void fetch(const float *p, long floats, const int write) {
  for (long i = 0; i < floats; i += LINE)
    if (write) __builtin_prefetch(p + i, 1, 2);
    else __builtin_prefetch(p + i, 0, 2);
}
typedef struct {
  const layer_t *L;
  long next;
} job_t;
static void blocks_share(void *given, const member_t *me) {
  job_t *j = given;
  const layer_t *L = j->L;
  const long voxels = L->D * L->H * L->W, blocks = blocks_of(L), K = L->x.channels, N = L->outputs;
  double *all = (double *)L->scratch;
  float *V = L->scratch + sums_floats(L) + me->number * L->block * (K + N), *P = V + L->block * K;
  for (long b; (b = take(&j->next, 1)) < blocks;) {
    const long first = b * L->block, n = voxels - first < L->block ? voxels - first : L->block;
    double *sums = L->gamma ? all + 2 * b * N : NULL;
    if (sums) memset(sums, 0, (size_t)(2 * N) * sizeof *sums);
    if (L->accumulate && !L->up) fetch(target(L, first, 0), n * N, 1);
    FILLS[mode_of(&L->x)](L, first, n, V);
    if (b + 1 < blocks) fetch(L->x.data + (first + n) * K, n * K, 0);
    for (long parity = 0; parity < (L->up ? 8 : 1); parity++) {
      gemm(n, K, N, V, L->weights + parity * K * N, P, V);
      finish_block(L, first, n, parity, P, sums);
    }
  }
  stream_end();
}
int pointwise(layer_t *L) {
  job_t j = {L, 0};
  parallel(L->threads, blocks_share, &j);
  if (L->gamma)
    finish_statistics((double *)L->scratch, blocks_of(L), L->outputs,
                      (double)(L->D * L->H * L->W) * (L->up ? 8 : 1), L->group, L->gamma, L->beta,
                      L->eps, L->y_scale, L->y_shift);
  return 0;
}
