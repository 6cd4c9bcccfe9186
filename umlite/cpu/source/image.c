// The first layer: a 3^3 convolution of one channel. Reading is little, writing is all: a row of y
// is made in L1, its statistics are taken there, and it goes out past the caches.
//
//   x [D][H][W],  weights [27][outputs],  y [D][H][W][outputs]
#include "gemm.h"
#include "layer.h"

// ROWS voxels of one row, LINE channels. x: the voxels' first tap in the padded image, whose rows
// are Wp and planes HWp apart.
INLINE void voxels(const float *x, long Wp, long HWp, const float *w, long N, float *out) {
  vec sums[ROWS][VECS];
  UNROLL(v, ROWS)
    UNROLL(h, VECS) sums[v][h] = zero();
  for (int q = 0; q < 9; q++) {
    const float *p = x + q / 3 * HWp + q % 3 * Wp;
    UNROLL(k, 3) {
      vec u[VECS];
      UNROLL(h, VECS) u[h] = load(w + (q * 3 + k) * N + h * LANES);
      UNROLL(v, ROWS) {
        const vec a = splat(p[v + k]);
        UNROLL(h, VECS) sums[v][h] += a * u[h];
      }
    }
  }
  UNROLL(v, ROWS)
    UNROLL(h, VECS) store(out + v * LINE + h * LANES, sums[v][h]);
}
// Rows are read ROWS voxels at a time, so the padded image has room behind its last row.
static long padded_floats(const layer_t *L) {
  return ((L->D + 2) * (L->H + 2) * (L->W + 2) + ROWS + LINE - 1) / LINE * LINE;
}
static long row_floats(const layer_t *L) { return (L->W + ROWS) * LINE; }
static long sums_floats(const layer_t *L) { return L->gamma ? 4 * L->D * L->outputs : 0; }
// Floats of scratch memory that a layer needs.
long image_scratch(const layer_t *L) {
  return sums_floats(L) + padded_floats(L) + L->threads * row_floats(L);
}

static void row_of(const layer_t *L, const float *padded, long z, long y, float *row,
                   double *sums) {
  const long W = L->W, N = L->outputs, Wp = W + 2, HWp = (L->H + 2) * Wp;
  for (long c = 0; c < N; c += LINE) {
    for (long x = 0; x < W; x += ROWS)
      voxels(padded + z * HWp + y * Wp + x, Wp, HWp, L->weights + c, N, row + x * LINE);
    if (sums)
      for (int h = 0; h < VECS; h++)
        add_statistics((const vec *)row + h, (int)W, VECS, sums + c + h * LANES,
                       sums + N + c + h * LANES);
    float *out = L->y + (z * L->H + y) * W * N + c;
    for (long x = 0; x < W; x++)
      UNROLL(h, VECS) {
        if (L->streamed) stream(out + x * N + h * LANES, load(row + x * LINE + h * LANES));
        else store(out + x * N + h * LANES, load(row + x * LINE + h * LANES));
      }
  }
}
typedef struct {
  const layer_t *L;
  const float *padded;
  float *rows; // [threads][row_floats]
  long next;
} job_t;
static void planes_share(void *given, const member_t *me) {
  job_t *j = given;
  const layer_t *L = j->L;
  double *all = (double *)L->scratch;
  float *row = j->rows + me->number * row_floats(L);
  for (long z; (z = take(&j->next, 1)) < L->D;) {
    double *sums = L->gamma ? all + 2 * z * L->outputs : NULL;
    if (sums) memset(sums, 0, (size_t)(2 * L->outputs) * sizeof *sums);
    for (long y = 0; y < L->H; y++) row_of(L, j->padded, z, y, row, sums);
  }
  stream_end();
}
int image(layer_t *L) {
  const long D = L->D, H = L->H, W = L->W;
  float *padded = L->scratch + sums_floats(L);
  memset(padded, 0, (size_t)padded_floats(L) * sizeof *padded);
  for (long z = 0; z < D; z++)
    for (long y = 0; y < H; y++)
      memcpy(padded + ((z + 1) * (H + 2) + y + 1) * (W + 2) + 1, L->x.data + (z * H + y) * W,
             (size_t)W * sizeof *padded);
  job_t j = {L, padded, padded + padded_floats(L), 0};
  parallel(L->threads, planes_share, &j);
  if (L->gamma)
    finish_statistics((double *)L->scratch, D, L->outputs, (double)D * H * W, L->group, L->gamma,
                      L->beta, L->eps, L->y_scale, L->y_shift);
  return 0;
}
