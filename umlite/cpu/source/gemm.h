// c[n][N] = a[n][K] * U, with U packed as panels [N / LINE][K][LINE]: one panel's row is one cache
// line.
//
// The inner product of ROWS rows with PANELS panels keeps every accumulator in registers. Where the
// operands do not stay in L1, what comes next is prefetched: neither the walk over the rows nor the
// jump to the next panel is foreseen by hardware.
#pragma once
#include "vector.h"

#if LANES == 16 // 32 registers: 24 accumulators
#define ROWS 12
#define PANELS 2
#elif LANES == 8 // 16 registers: 12 accumulators
#define ROWS 6
#define PANELS 1
#elif defined(__ARM_NEON) // 32 registers: 24 accumulators
#define ROWS 6
#define PANELS 1
#else // 16 registers of 4 lanes: 8 accumulators
#define ROWS 2
#define PANELS 1
#endif
#define FEW_WEIGHTS (64 * 64) // fewer of one product arrive in time without being fetched early

// c[i] {=, +=} a[i] * panels for R rows and P panels. row_ahead, panel_ahead: what is needed next,
// fetched ROWS and panel_step floats per k.
INLINE void kernel(const int R, const int P, const int add, const int ahead, long K, const float *a,
                   long lda, const float *b, float *c, long ldc, const float *row_ahead,
                   const float *panel_ahead, long panel_step) {
  vec sums[ROWS][PANELS * VECS];
  UNROLL(i, R)
    UNROLL(j, P * VECS) sums[i][j] = add ? load(c + i * ldc + j * LANES) : zero();
  if (ahead)
    UNROLL(i, R) __builtin_prefetch(c + i * ldc, 1);
  for (long k = 0; k < K; k++) {
    vec u[PANELS * VECS];
    UNROLL(j, P * VECS) u[j] = load(b + (j / VECS * K + k) * LINE + j % VECS * LANES);
    if (ahead) {
      __builtin_prefetch(row_ahead + ROWS * k);
      UNROLL(j, P) __builtin_prefetch(panel_ahead + panel_step * k + j * panel_step / P);
    }
    UNROLL(i, R) {
      const vec x = splat(a[i * lda + k]);
      UNROLL(j, P * VECS) sums[i][j] += x * u[j];
    }
  }
  UNROLL(i, R)
    UNROLL(j, P * VECS) store(c + i * ldc + j * LANES, sums[i][j]);
}
#define KERNEL_ARGS long K, const float *a, long lda, const float *b, float *c, long ldc
NOINLINE void kernel_ahead(KERNEL_ARGS, const float *row, const float *panel, long step) {
  kernel(ROWS, PANELS, 0, 1, K, a, lda, b, c, ldc, row, panel, step);
}
NOINLINE void kernel_full(KERNEL_ARGS) {
  kernel(ROWS, PANELS, 0, 0, K, a, lda, b, c, ldc, a, b, 0);
}
// The last rows of a block, and the last panel where panels go in pairs.
INLINE void kernel_rows(const int P, const int add, long R, KERNEL_ARGS) {
#define CASE(r) \
  case r: kernel(r, P, add, 0, K, a, lda, b, c, ldc, a, b, 0); break;
  switch (R) {
    CASE(1)
    CASE(2)
#if ROWS > 2
    CASE(3)
    CASE(4)
    CASE(5)
    CASE(6)
#endif
#if ROWS > 6
    CASE(7)
    CASE(8)
    CASE(9)
    CASE(10)
    CASE(11)
    CASE(12)
#endif
  }
#undef CASE
}
NOINLINE void kernel_rest(long R, KERNEL_ARGS) { kernel_rows(PANELS, 0, R, K, a, lda, b, c, ldc); }
NOINLINE void kernel_last_panel(long R, KERNEL_ARGS) { kernel_rows(1, 0, R, K, a, lda, b, c, ldc); }

// next: the rows of the product that follows this one.
static void gemm(long n, long K, long N, const float *a, const float *U, float *c,
                 const float *next) {
  const long full = n / ROWS, width = PANELS * LINE;
  const long step = full > 1 ? PANELS * (LINE + full - 1) / full : width;
  long j = 0;
  for (; j + width <= N; j += width) {
    const float *b = U + j * K;
    for (long i = 0; i < full; i++) {
      const float *rows = a + i * ROWS * K;
      float *out = c + i * ROWS * N + j;
      if (K * N < FEW_WEIGHTS) {
        kernel_full(K, rows, K, b, out, N);
        continue;
      }
      const float *ahead = i + 1 < full ? rows + ROWS * K : j + width < N ? a : next;
      kernel_ahead(K, rows, K, b, out, N, ahead, b + width * K + i * step * K, step);
    }
    if (full * ROWS < n)
      kernel_rest(n - full * ROWS, K, a + full * ROWS * K, K, b, c + full * ROWS * N + j, N);
  }
  for (; j < N; j += LINE)
    for (long i = 0; i < n; i += ROWS)
      kernel_last_panel(n - i < ROWS ? n - i : ROWS, K, a + i * K, K, U + j * K, c + i * N + j, N);
}
