// Trilinear interpolation onto a grid of twice the size, added to what is there:
//
//   y[2i] += 1/4 x[i - 1] + 3/4 x[i],   y[2i + 1] += 3/4 x[i] + 1/4 x[i + 1]   along each axis
//
// where x repeats its border. x is read as it is stored. Four rows of x become one in L1, from
// which a row of y is made.
#include "layer.h"

// The nearest other place along an axis of `size`, for place `at` of the finer grid.
static long other_of(long at, long size) {
  const long i = at / 2 + (at & 1 ? 1 : -1);
  return i < 0 ? 0 : i < size ? i : size - 1;
}
// row [W][channels]: what plane z and row y of the finer grid are made from.
static void mix_rows(const layer_t *L, long z, long y, float *row) {
  const long H = L->H, floats = L->W * L->outputs;
  const long z_other = other_of(z, L->D), y_other = other_of(y, H);
  const float *here = L->x.data + (z / 2 * H + y / 2) * floats;
  const float *beside = L->x.data + (z / 2 * H + y_other) * floats;
  const float *above = L->x.data + (z_other * H + y / 2) * floats;
  const float *across = L->x.data + (z_other * H + y_other) * floats;
  for (long i = 0; i < floats; i += LANES) {
    const vec sides = load(beside + i) + load(above + i);
    store(row + i, plus(plus(splat(9 / 16.f) * load(here + i), splat(3 / 16.f), sides),
                        splat(1 / 16.f), load(across + i)));
  }
}
// A row of y += what lies between the numbers of `row`.
static void add_row(const layer_t *L, const float *row, float *y) {
  const long C = L->outputs, W = L->W;
  for (long x = 0; x < 2 * W; x++) {
    const float *here = row + x / 2 * C, *other = row + other_of(x, W) * C;
    for (long c = 0; c < C; c += LANES) {
      const vec between = plus(splat(3 / 4.f) * load(here + c), splat(1 / 4.f), load(other + c));
      store(y + x * C + c, load(y + x * C + c) + between);
    }
  }
}
static long sums_floats(const layer_t *L) { return L->gamma ? 8 * L->D * L->outputs : 0; }
// Floats of scratch memory that a layer needs.
long upsample_scratch(const layer_t *L) { return sums_floats(L) + L->threads * L->W * L->outputs; }

typedef struct {
  const layer_t *L;
  long next;
} job_t;
static void planes_share(void *given, const member_t *me) {
  job_t *j = given;
  const layer_t *L = j->L;
  const long C = L->outputs, rows = 2 * L->H, width = 2 * L->W;
  float *row = L->scratch + sums_floats(L) + me->number * L->W * C;
  for (long z; (z = take(&j->next, 1)) < 2 * L->D;) {
    double *sums = L->gamma ? (double *)L->scratch + 2 * z * C : NULL;
    if (sums) memset(sums, 0, (size_t)(2 * C) * sizeof *sums);
    for (long r = 0; r < rows; r++) {
      float *y = L->y + (z * rows + r) * width * C;
      mix_rows(L, z, r, row);
      add_row(L, row, y);
      if (sums)
        for (long c = 0; c < C; c += LANES)
          add_statistics((const vec *)(y + c), (int)width, (int)(C / LANES), sums + c,
                         sums + C + c);
    }
  }
}
int upsample(layer_t *L) {
  job_t j = {L, 0};
  parallel(L->threads, planes_share, &j);
  if (L->gamma)
    finish_statistics((double *)L->scratch, 2 * L->D, L->outputs, 8. * L->D * L->H * L->W, L->group,
                      L->gamma, L->beta, L->eps, L->y_scale, L->y_shift);
  return 0;
}
