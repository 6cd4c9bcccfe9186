// Logits that are there already, weighted and added to the sums of a scan:
//
//   sums[c][z][y][x] += importance[z][y][x] * logits[c][z][y][x]
//
// rounded as heads.c rounds it (one fused operation where the machine has it), so that a reused
// window changes no bit.
#include "threads.h"
#include "vector.h"

typedef struct {
  const float *logits;     // [classes][depth][height][width]
  const float *importance; // [depth][height][width]
  float *sums;             // rows contiguous, distances of the other axes below, in floats
  long class_stride, depth_stride, height_stride;
  long depth, height, width, classes, threads;
} blend_t;

static void blend_row(const float *logits, const float *importance, float *sums, long n) {
  long x = 0;
  for (; x + LANES <= n; x += LANES)
    store(sums + x, fma_(load(importance + x), load(logits + x), load(sums + x)));
  for (; x < n; x++) sums[x] = importance[x] * logits[x] + sums[x];
}

typedef struct {
  const blend_t *L;
  long next;
} job_t;
static void blend_share(void *given, const member_t *me) {
  job_t *j = given;
  const blend_t *L = j->L;
  const long rows = L->depth * L->height;
  (void)me;
  for (long i; (i = take(&j->next, 1)) < L->classes * L->depth;) {
    const long c = i / L->depth, z = i % L->depth;
    for (long y = 0; y < L->height; y++) {
      const long row = z * L->height + y;
      blend_row(L->logits + (c * rows + row) * L->width, L->importance + row * L->width,
                L->sums + c * L->class_stride + z * L->depth_stride + y * L->height_stride,
                L->width);
    }
  }
}
void blend(const blend_t *L) {
  job_t j = {L, 0};
  parallel(L->threads, blend_share, &j);
}
