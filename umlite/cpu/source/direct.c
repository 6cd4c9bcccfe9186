// A 3^3 convolution, or eight 2^3 ones (one per parity of a finer grid), on a grid of few voxels
// with many channels. There the weights are what has to be moved: a thread takes LINE output
// channels, and reads their weights once for all voxels.
//
//   y[v][16] = sum over taps t, channels c:  value[v + t][c] * U[t][c][16]
//
// Rows outside the grid are one row of zeros.
#include "gemm.h"
#include "layer.h"

typedef void fill_fn(const layer_t *, long, float *);
#define FILL(mode)                                                                             \
  static void fill_##mode(const layer_t *L, long i, float *V) {                                \
    for (long c = 0; c < L->x.channels; c += LINE) {                                           \
      const line_t line = line_of(mode, &L->x, c);                                             \
      UNROLL(h, VECS)                                                                          \
        store(V + c + h * LANES, line_value(mode, &line, h, L->x.data + i * L->x.channels + c, \
                                            residual_at(mode, &L->x, i, c)));                  \
    }                                                                                          \
  }
FILL(RELU)
FILL(SLOPE)
FILL(SUM)
FILL(SUM_SHARED)
static fill_fn *const FILLS[] = {fill_RELU, fill_SLOPE, fill_SUM, fill_SUM_SHARED};

// c[i] += a[i] * panel for R rows that lie anywhere.
INLINE void gather_kernel(const int R, long K, const float *const *a, const float *b, float *c) {
  vec sums[ROWS][VECS];
  UNROLL(i, R)
    UNROLL(j, VECS) sums[i][j] = load(c + i * LINE + j * LANES);
  for (long k = 0; k < K; k++) {
    vec u[VECS];
    UNROLL(j, VECS) u[j] = load(b + k * LINE + j * LANES);
    __builtin_prefetch(b + (k + 32) * LINE);
    UNROLL(i, R) {
      const vec x = splat(a[i][k]);
      UNROLL(j, VECS) sums[i][j] += x * u[j];
    }
  }
  UNROLL(i, R)
    UNROLL(j, VECS) store(c + i * LINE + j * LANES, sums[i][j]);
}
NOINLINE void gather_rows(long R, long K, const float *const *a, const float *b, float *c) {
  if (R == ROWS) gather_kernel(ROWS, K, a, b, c);
  else
    for (long i = 0; i < R; i++) gather_kernel(1, K, a + i, b, c + i * LINE);
}
// One panel of one parity: P[voxels][LINE] from the values A.
static void products(const layer_t *L, long parity, long panel, const float *A, float *P) {
  const long r = L->kernel, K = L->x.channels, N = L->outputs, H = L->H, W = L->W;
  const long voxels = L->D * H * W;
  const float *nothing = A + voxels * K;
  // The first tap, relative to the voxel.
  const long low[3] = {(parity >> 2) - 1, (parity >> 1 & 1) - 1, (parity & 1) - 1};
  memset(P, 0, (size_t)(voxels * LINE) * sizeof *P);
  for (long t = 0; t < r * r * r; t++) {
    const float *b = L->weights + ((parity * r * r * r + t) * (N / LINE) + panel) * K * LINE;
    for (long first = 0; first < voxels; first += ROWS) {
      const long n = voxels - first < ROWS ? voxels - first : ROWS;
      const float *rows[ROWS];
      int some = 0;
      for (long i = 0; i < n; i++) {
        const long v = first + i, z = v / (H * W) + t / (r * r) + low[0];
        const long y = v / W % H + t / r % r + low[1], x = v % W + t % r + low[2];
        const int in = z >= 0 && z < L->D && y >= 0 && y < H && x >= 0 && x < W;
        rows[i] = in ? A + ((z * H + y) * W + x) * K : nothing;
        some |= in;
      }
      if (some) gather_rows(n, K, rows, b, P + first * LINE);
    }
  }
}
// P -> y, with everything that is done to a finished voxel.
static void finish(const layer_t *L, long parity, long panel, float *P, double *sums) {
  const long s = L->up ? 2 : 1, N = L->outputs, H = L->H, W = L->W;
  const long voxels = L->D * H * W, c = panel * LINE;
  for (long v = 0; v < voxels; v++) {
    const long z = v / (H * W) * s + (parity >> 2), y = v / W % H * s + (parity >> 1 & 1);
    const long x = v % W * s + (parity & 1);
    float *out = L->y + ((z * H * s + y) * W * s + x) * N + c, *p = P + v * LINE;
    const float *border =
        L->border ? L->border + border_kind(z, y, x, L->D * s, H * s, W * s) * N + c : NULL;
    for (int h = 0; h < LINE; h += LANES) {
      vec o = load(p + h);
      if (L->accumulate) o += load(out + h);
      if (border) o += load(border + h);
      store(p + h, o);
      store(out + h, o);
    }
  }
  if (sums)
    for (int h = 0; h < VECS; h++)
      add_statistics((const vec *)P + h, (int)voxels, VECS, sums + c + h * LANES,
                     sums + N + c + h * LANES);
}
static long sums_floats(const layer_t *L) {
  return L->gamma ? 4 * (L->up ? 8 : 1) * L->outputs : 0;
}
// Floats of scratch memory that a layer needs.
long direct_scratch(const layer_t *L) {
  const long voxels = L->D * L->H * L->W;
  return sums_floats(L) + (voxels + 1) * L->x.channels + L->threads * voxels * LINE;
}
typedef struct {
  const layer_t *L;
  float *A; // [voxels + 1][channels of x]
  long filled, next;
} job_t;
static void panels_share(void *given, const member_t *me) {
  job_t *j = given;
  const layer_t *L = j->L;
  const long voxels = L->D * L->H * L->W, K = L->x.channels, N = L->outputs;
  const long panels = N / LINE, parities = L->up ? 8 : 1;
  double *all = (double *)L->scratch;
  float *A = j->A, *P = A + (voxels + 1) * K + me->number * voxels * LINE;
  for (long i; (i = take(&j->filled, 1)) < voxels;) FILLS[mode_of(&L->x)](L, i, A + i * K);
  barrier(me);
  for (long i; (i = take(&j->next, 1)) < panels * parities;) {
    products(L, i / panels, i % panels, A, P);
    finish(L, i / panels, i % panels, P, L->gamma ? all + 2 * (i / panels) * N : NULL);
  }
}
int direct(layer_t *L) {
  const long voxels = L->D * L->H * L->W, K = L->x.channels, N = L->outputs;
  const long parities = L->up ? 8 : 1;
  double *all = (double *)L->scratch;
  job_t j = {L, L->scratch + sums_floats(L), 0, 0};
  if (L->gamma) memset(all, 0, (size_t)(2 * parities * N) * sizeof *all);
  memset(j.A + voxels * K, 0, (size_t)K * sizeof *j.A);
  parallel(L->threads, panels_share, &j);
  if (L->gamma)
    finish_statistics(all, parities, N, (double)voxels * parities, L->group, L->gamma, L->beta,
                      L->eps, L->y_scale, L->y_shift);
  return 0;
}
