// A layer of 3^3 convolution, or of eight 2^3 convolutions (one per parity of a finer grid), by
// Winograd's algorithm.
//
// Work is cut into blocks of tiles. For each block:
//
//   V[p][tile][in] = input transform,  M[p] = V[p] * U[p],  y = output transform of M
//
// for each of the A^3 points p. Where blocks are many, each thread has its own and never waits: V
// must stay in its caches, and M overwrites V point by point (the rows are copied to L1 first), so
// that half the memory does. Where blocks are few and the weights are large, threads share one:
// each takes some of the points, and weights are read once.
#include "gemm.h"
#include "tile_input.h"
#include "tile_output.h"

typedef void input_fn(const layer_t *, long, long, long, long, long, float *, long);
typedef void output_fn(const layer_t *, place_t, int, long, long, const float *, long, double *,
                       double *);
#define INPUT(n, A, M, mode)                                                                 \
  static void input_##n##_##mode(const layer_t *L, long z, long y, long x, long c0, long c1, \
                                 float *V, long pitch) {                                     \
    tile_input(A, M, mode, input_##n, L, z, y, x, c0, c1, V, pitch);                         \
  }
#define KIND(n, A, M)                                                                  \
  INPUT(n, A, M, RELU)                                                                 \
  INPUT(n, A, M, SLOPE)                                                                \
  INPUT(n, A, M, SUM)                                                                  \
  INPUT(n, A, M, SUM_SHARED)                                                           \
  static void output_of_##n(const layer_t *L, place_t t, int parity, long c0, long c1, \
                            const float *P, long pitch, double *S1, double *S2) {      \
    tile_output(A, M, output_##n, L, t, parity, c0, c1, P, pitch, S1, S2);             \
  }
KIND(43, 6, 4)
KIND(42, 5, 4)
KIND(23, 4, 2)
KIND(22, 3, 2)

typedef struct {
  long id, A, M;
  input_fn *input[4];
  output_fn *output;
} kind_t;
#define ROW(n, A, M)                                                               \
  {n,                                                                              \
   A,                                                                              \
   M,                                                                              \
   {input_##n##_RELU, input_##n##_SLOPE, input_##n##_SUM, input_##n##_SUM_SHARED}, \
   output_of_##n}
static const kind_t KINDS[] = {ROW(43, 6, 4), ROW(42, 5, 4), ROW(23, 4, 2), ROW(22, 3, 2)};
static const kind_t *kind_of(long id) {
  for (int i = 0; i < 4; i++)
    if (KINDS[i].id == id) return KINDS + i;
  return NULL;
}

// What has passed since `start`, which begins anew.
static void add_time(double *total, double *start) {
  const double end = now();
  *total += end - *start;
  *start = end;
}
// Distance between points, in floats: an odd number of lines, so that the lines of one tile fall
// into different cache sets (tiles * channels is often a power of two; then all of them would share
// one).
static long pitch_of(long tiles, long channels) {
  return ((tiles * channels + LINE - 1) / LINE | 1) * LINE;
}

typedef struct {
  const layer_t *L;
  const kind_t *k;
  long points, ny, nx, tiles, block;
  long blocks, parities; // tiles: of one parity; blocks: all parities together
  long pv, pm, own;      // pitch of V, of M, floats of one thread's V
  double *sums;          // [blocks or tiles][2][outputs]
  float *work;
  long next;            // block of a thread's own
  long (*phases)[3];    // [blocks]: what is next in each phase of a shared one
  double (*seconds)[3]; // [threads]
} job_t;

static job_t job_of(layer_t *L) {
  const kind_t *k = kind_of(L->kernel);
  job_t j = {
      .L = L, .k = k, .points = k->A * k->A * k->A, .block = L->block, .parities = L->up ? 8 : 1};
  const long nz = (L->D + k->M - 1) / k->M;
  j.ny = (L->H + k->M - 1) / k->M;
  j.nx = (L->W + k->M - 1) / k->M;
  j.tiles = nz * j.ny * j.nx;
  j.blocks = (j.tiles + j.block - 1) / j.block * j.parities;
  j.pv = pitch_of(j.block, L->x.channels);
  j.pm = pitch_of(j.block, L->outputs);
  if (!L->shared) j.pv = j.pm = j.pv > j.pm ? j.pv : j.pm;
  j.own = L->shared ? j.points * (j.pv + j.pm) : (j.points + 1) * j.pv;
  j.sums = (double *)L->scratch;
  j.work =
      L->scratch + (L->gamma ? 4 * (L->shared ? j.tiles * j.parities : j.blocks) * L->outputs : 0);
  return j;
}
// Floats of scratch memory that a layer needs (its pointers are not looked at, but for whether
// gamma is there).
long winograd_scratch(layer_t *L) {
  const job_t j = job_of(L);
  return (long)(j.work - L->scratch) + j.own * (L->shared ? 1 : L->threads);
}

static place_t place_of(const job_t *j, long tile) {
  return (place_t){tile / (j->ny * j->nx), tile / j->nx % j->ny, tile % j->nx};
}
static void input_tile(const job_t *j, long tile, long parity, long c0, long c1, float *V) {
  const place_t t = place_of(j, tile);
  const long M = j->k->M;
  j->k->input[mode_of(&j->L->x)](j->L, t.z * M - 1 + (parity >> 2), t.y * M - 1 + (parity >> 1 & 1),
                                 t.x * M - 1 + (parity & 1), c0, c1, V, j->pv);
}
static void output_tile(const job_t *j, long tile, long parity, long c0, long c1, const float *P,
                        double *sums) {
  j->k->output(j->L, place_of(j, tile), (int)parity, c0, c1, P, j->pm, sums, sums + j->L->outputs);
}
static double *sums_of(const job_t *j, long slot) {
  return j->L->gamma ? j->sums + 2 * slot * j->L->outputs : NULL;
}

// One block from input to output by one thread. i: number of the block.
static void private_block(const job_t *j, long i, float *V, double *seconds) {
  const layer_t *L = j->L;
  // The two parities of x follow each other, so that the second finds the input in L2; not all
  // eight, whose weights would fall out of L3 together.
  const long pair = L->up ? 2 : 1, per_parity = j->blocks / j->parities;
  const long parity = i / (pair * per_parity) * pair + i % pair;
  const long first = i / pair % per_parity * j->block;
  const long n = j->tiles - first < j->block ? j->tiles - first : j->block;
  const long K = L->x.channels, N = L->outputs;
  const float *U = L->weights + parity * j->points * K * N;
  float *rows = V + j->points * j->pv;
  double *sums = sums_of(j, i), start = now();
  if (sums) memset(sums, 0, (size_t)(2 * N) * sizeof *sums);
  for (long t = 0; t < n; t++) input_tile(j, first + t, parity, 0, K, V + t * K);
  add_time(seconds, &start);
  for (long p = 0; p < j->points; p++) {
    memcpy(rows, V + p * j->pv, (size_t)(n * K) * sizeof *V);
    gemm(n, K, N, rows, U + p * K * N, V + p * j->pv, V + (p + 1) * j->pv);
  }
  add_time(seconds + 1, &start);
  for (long t = 0; t < n; t++) output_tile(j, first + t, parity, 0, N, V + t * N, sums);
  add_time(seconds + 2, &start);
}

// One block by all threads, in three phases. next: three counters of its own.
static void shared_block(const job_t *j, long i, double *seconds, const member_t *me) {
  const layer_t *L = j->L;
  const long parity = i % j->parities, first = i / j->parities * j->block;
  const long n = j->tiles - first < j->block ? j->tiles - first : j->block;
  const long K = L->x.channels, N = L->outputs;
  const long ins = K / LINE, outs = N / LINE;
  const float *U = L->weights + parity * j->points * K * N;
  float *V = j->work, *M = V + j->points * j->pv;
  long *next = j->phases[i];
  double start = now();
  for (long a; (a = take(next, 4)) < n * ins;)
    for (long b = a; b < a + 4 && b < n * ins; b++)
      input_tile(j, first + b / ins, parity, b % ins * LINE, b % ins * LINE + LINE,
                 V + b / ins * K);
  barrier(me);
  add_time(seconds, &start);
  for (long p; (p = take(next + 1, 1)) < j->points;)
    gemm(n, K, N, V + p * j->pv, U + p * K * N, M + p * j->pm, V + (p + 1) * j->pv);
  barrier(me);
  add_time(seconds + 1, &start);
  for (long a; (a = take(next + 2, 4)) < n * outs;)
    for (long b = a; b < a + 4 && b < n * outs; b++) {
      const long t = b / outs, c = b % outs * LINE;
      double *sums = sums_of(j, parity * j->tiles + first + t);
      if (sums) {
        memset(sums + c, 0, LINE * sizeof *sums);
        memset(sums + N + c, 0, LINE * sizeof *sums);
      }
      output_tile(j, first + t, parity, c, c + LINE, M + t * N, sums);
    }
  barrier(me);
  add_time(seconds + 2, &start);
}

static void blocks_share(void *given, const member_t *me) {
  job_t *j = given;
  double seconds[3] = {0};
  if (j->L->shared)
    for (long i = 0; i < j->blocks; i++) shared_block(j, i, seconds, me);
  else
    for (long i; (i = take(&j->next, 1)) < j->blocks;)
      private_block(j, i, j->work + me->number * j->own, seconds);
  stream_end();
  memcpy(j->seconds[me->number], seconds, sizeof seconds);
}
// Returns 0, or 1 on an unknown kernel.
int winograd(layer_t *L) {
  if (!kind_of(L->kernel)) return 1;
  job_t j = job_of(L);
  const double start = now();
  long phases[L->shared ? j.blocks : 1][3];
  double seconds[L->threads][3];
  memset(phases, 0, sizeof phases);
  memset(seconds, 0, sizeof seconds);
  j.phases = phases;
  j.seconds = seconds;
  parallel(L->threads, blocks_share, &j);
  if (L->gamma) {
    const long slots = L->shared ? j.tiles * j.parities : j.blocks;
    finish_statistics(j.sums, slots, L->outputs, (double)L->D * L->H * L->W * j.parities, L->group,
                      L->gamma, L->beta, L->eps, L->y_scale, L->y_shift);
  }
  memset(L->seconds, 0, sizeof L->seconds);
  for (long t = 0; t < L->threads; t++)
    for (int i = 0; i < 3; i++) L->seconds[i] += seconds[t][i];
  L->seconds[3] = now() - start;
  return 0;
}
