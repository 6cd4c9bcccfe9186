// A 3^3 convolution with stride 2 and zero padding, on a grid of even sides.
//
//   y[z][y][x] = sum over taps t:  x[2z + t_z - 1][2y + t_y - 1][2x + t_x - 1] . U[t]
//
// x is read as it is stored, where it lies: the three taps of a row are neighbours in memory, so
// that they are one product of 3 K numbers, and the next voxel of y begins two voxels further on.
// Rows of y are summed up in L1.
//
//   U [9][N / LINE][3 K][LINE]
#include "gemm.h"
#include "layer.h"

enum { BLOCK = 256 }; // voxels of y whose sums are made together

NOINLINE void kernel_pair(long R, KERNEL_ARGS) { kernel_rows(PANELS, 1, R, K, a, lda, b, c, ldc); }
NOINLINE void kernel_one(long R, KERNEL_ARGS) { kernel_rows(1, 1, R, K, a, lda, b, c, ldc); }

// A row of y += three taps of a row of x, for `panels` lines of channels, 1 or PANELS.
static void add_row(const layer_t *L, const float *x, const float *U, long panels, float *y) {
  const long K = L->x.channels, N = L->outputs, n = L->W / 2;
  // Nothing lies left of the first voxel.
  for (long p = 0; p < panels; p++)
    kernel_one(1, 2 * K, x, 2 * K, U + (3 * p + 1) * K * LINE, y + p * LINE, N);
  for (long i = 1; i < n; i += ROWS)
    (panels == 1 ? kernel_one : kernel_pair)(n - i < ROWS ? n - i : ROWS, 3 * K,
                                             x + (2 * i - 1) * K, 2 * K, U, y + i * N, N);
}
// Rows first ... last - 1 of a plane of y.
static void add_rows(const layer_t *L, long z, long first, long last) {
  const long K = L->x.channels, N = L->outputs, H = L->H, W = L->W;
  for (long c = 0, panels; c < N; c += panels * LINE) {
    panels = N - c < PANELS * LINE ? 1 : PANELS;
    for (long t = 0; t < 9; t++)
      for (long r = first; r < last; r++) {
        const long z_in = 2 * z + t / 3 - 1, y_in = 2 * r + t % 3 - 1;
        if (z_in >= 0 && y_in >= 0)
          add_row(L, L->x.data + (z_in * H + y_in) * W * K, L->weights + (t * N + c) * 3 * K,
                  panels, L->y + (z * (H / 2) + r) * (W / 2) * N + c);
      }
  }
}
static long sums_floats(const layer_t *L) { return L->gamma ? 4 * (L->D / 2) * L->outputs : 0; }
// Floats of scratch memory that a layer needs.
long strided_scratch(const layer_t *L) { return sums_floats(L); }

typedef struct {
  const layer_t *L;
  long next;
} job_t;
static void planes_share(void *given, const member_t *me) {
  job_t *j = given;
  const layer_t *L = j->L;
  const long N = L->outputs, rows = L->H / 2, width = L->W / 2;
  const long block = BLOCK / width > 1 ? BLOCK / width : 1;
  (void)me;
  for (long z; (z = take(&j->next, 1)) < L->D / 2;) {
    float *y = L->y + z * rows * width * N;
    memset(y, 0, (size_t)(rows * width * N) * sizeof *y);
    for (long first = 0; first < rows; first += block)
      add_rows(L, z, first, first + block < rows ? first + block : rows);
    if (L->gamma) {
      double *sums = (double *)L->scratch + 2 * z * N;
      memset(sums, 0, (size_t)(2 * N) * sizeof *sums);
      for (long r = 0; r < rows; r++)
        for (long c = 0; c < N; c += LANES)
          add_statistics((const vec *)(y + r * width * N + c), (int)width, (int)(N / LANES),
                         sums + c, sums + N + c);
    }
  }
}
int strided(layer_t *L) {
  job_t j = {L, 0};
  parallel(L->threads, planes_share, &j);
  if (L->gamma)
    finish_statistics((double *)L->scratch, L->D / 2, L->outputs,
                      (double)(L->D / 2) * (L->H / 2) * (L->W / 2), L->group, L->gamma, L->beta,
                      L->eps, L->y_scale, L->y_shift);
  return 0;
}
