// Class-specific heads as in umlite/cpu/source/heads.c, and their gradient, which computes what is
// hidden once more.
//
//   logit[class] = w3 . ReLU(w2 . ReLU(w1 . h + b1) + b2) + b3
//   h [INNER][voxels], logit [classes][voxels]
//   numbers of a class, in this order: w1 (INNER x INNER, row = output), w2, w3 (INNER), b1, b2, b3
#pragma once
#include "vector.h"

enum { INNER = 8, SQUARE = INNER * INNER, NUMBERS = 2 * SQUARE + 3 * INNER + 1 };
enum { CHUNK = 32 }; // vectors of voxels at a time
typedef struct {
  const float *w1, *w2, *w3, *b1, *b2, *b3;
} head_t;
typedef vec chunk_t[INNER][CHUNK];

INLINE head_t head_of(const float *p) {
  const float *w3 = p + 2 * SQUARE;
  return (head_t){p, p + SQUARE, w3, w3 + INNER, w3 + 2 * INNER, w3 + 3 * INNER};
}
// A chunk of `count` rows; zeros beyond the last voxel. n: voxels left, at most CHUNK * LANES.
INLINE void read_chunk(const float *rows, long voxels, long n, int count, vec (*to)[CHUNK]) {
  for (int k = 0; k < count; k++) {
    memset(to[k], 0, sizeof to[k]);
    memcpy(to[k], rows + k * voxels, (size_t)n * sizeof *rows);
  }
}
// out = ReLU(w in + b)
NOINLINE void dense(const float *w, const float *b, chunk_t in, chunk_t out) {
  ROLLED(v, CHUNK, 1) {
    vec sums[INNER];
    UNROLL(i, INNER) sums[i] = splat(b[i]);
    UNROLL(j, INNER) {
      const vec x = in[j][v];
      UNROLL(i, INNER) sums[i] += splat(w[i * INNER + j]) * x;
    }
    UNROLL(i, INNER) out[i][v] = max_(sums[i], zero());
  }
}
// out {=, +=} transpose(w) in; where `passed` is given, zero where it is not positive.
NOINLINE void dense_backward(const float *w, chunk_t in, vec (*passed)[CHUNK], chunk_t out) {
  ROLLED(v, CHUNK, 1) {
    vec sums[INNER];
    UNROLL(j, INNER) sums[j] = passed ? zero() : out[j][v];
    UNROLL(i, INNER) {
      const vec d = in[i][v];
      UNROLL(j, INNER) sums[j] += splat(w[i * INNER + j]) * d;
    }
    UNROLL(j, INNER) out[j][v] = passed ? choose(passed[j][v] > zero(), sums[j], zero()) : sums[j];
  }
}
// dw[i][j] += sum over voxels of d[i] in[j], db[i] += sum of d[i]; lane by lane.
NOINLINE void outer(chunk_t d, chunk_t in, vec *dw, vec *db) {
  for (int i = 0; i < INNER; i += 2) {
    for (int j = 0; j < INNER; j += 4) {
      vec sums[2][4];
      UNROLL(a, 2)
        UNROLL(b, 4) sums[a][b] = zero();
      ROLLED(v, CHUNK, 1)
        UNROLL(a, 2)
          UNROLL(b, 4) sums[a][b] += d[i + a][v] * in[j + b][v];
      UNROLL(a, 2)
        UNROLL(b, 4) dw[(i + a) * INNER + j + b] += sums[a][b];
    }
    vec one = zero(), two = zero();
    for (int v = 0; v < CHUNK; v++) {
      one += d[i][v];
      two += d[i + 1][v];
    }
    db[i] += one;
    db[i + 1] += two;
  }
}
#define EACH_CHUNK(voxels)                                                           \
  for (long first = 0, n;                                                            \
       first < (voxels) &&                                                           \
       (n = (voxels) - first < CHUNK * LANES ? (voxels) - first : CHUNK * LANES, 1); \
       first += CHUNK * LANES)

void heads(const float *h, const float *parameters, long voxels, long classes, float *logits) {
  chunk_t in, one, two;
  EACH_CHUNK(voxels) {
    read_chunk(h + first, voxels, n, INNER, in);
    for (long c = 0; c < classes; c++) {
      const head_t p = head_of(parameters + c * NUMBERS);
      vec out[CHUNK];
      dense(p.w1, p.b1, in, one);
      dense(p.w2, p.b2, one, two);
      for (int v = 0; v < CHUNK; v++) {
        out[v] = splat(*p.b3);
        UNROLL(k, INNER) out[v] += splat(p.w3[k]) * two[k][v];
      }
      memcpy(logits + c * voxels + first, out, (size_t)n * sizeof *logits);
    }
  }
}
// From d, the gradient of the logits: dh, and of the parameters. sums: [classes][NUMBERS][LANES] of
// scratch.
void heads_backward(const float *h, const float *parameters, const float *d, long voxels,
                    long classes, float *sums, float *dh, float *dparameters) {
  chunk_t in, one, two, done, dtwo, din;
  memset(sums, 0, (size_t)(classes * NUMBERS * LANES) * sizeof *sums);
  EACH_CHUNK(voxels) {
    read_chunk(h + first, voxels, n, INNER, in);
    memset(din, 0, sizeof din);
    for (long c = 0; c < classes; c++) {
      const head_t p = head_of(parameters + c * NUMBERS);
      vec dlogit[1][CHUNK], *g = (vec *)(sums + c * NUMBERS * LANES);
      read_chunk(d + c * voxels + first, voxels, n, 1, dlogit);
      dense(p.w1, p.b1, in, one);
      dense(p.w2, p.b2, one, two);
      for (int k = 0; k < INNER; k++) {
        const vec w = splat(p.w3[k]);
        vec total = zero();
        for (int v = 0; v < CHUNK; v++) {
          total += dlogit[0][v] * two[k][v];
          dtwo[k][v] = choose(two[k][v] > zero(), dlogit[0][v] * w, zero());
        }
        g[2 * SQUARE + k] += total;
      }
      for (int v = 0; v < CHUNK; v++) g[NUMBERS - 1] += dlogit[0][v];
      dense_backward(p.w2, dtwo, one, done);
      dense_backward(p.w1, done, NULL, din);
      outer(done, in, g, g + 2 * SQUARE + INNER);
      outer(dtwo, one, g + SQUARE, g + 2 * SQUARE + 2 * INNER);
    }
    for (int k = 0; k < INNER; k++) memcpy(dh + k * voxels + first, din[k], (size_t)n * sizeof *dh);
  }
  for (long i = 0; i < classes * NUMBERS; i++) dparameters[i] = sum(load(sums + i * LANES));
}
