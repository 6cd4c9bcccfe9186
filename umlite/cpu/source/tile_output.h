// Output transform of one tile: AT along each axis of the products -> M^3 voxels, and everything
// that is done with them while they are in L1: the other half of a concatenation, the border of a
// transposed convolution's bias, statistics, pooling.
#pragma once
#include "layer.h"
#include "transforms.h"

typedef struct {
  long z, y, x;
} place_t;

// 2^3 maximum of raw values: the normalisation that follows is monotone per channel, falling where
// gamma < 0.
INLINE void tile_pool(const int M, const layer_t *L, const vec *out, place_t o, long Do, long Ho,
                      long Wo, long c) {
  const vec gamma = load(L->gamma + c);
  const vec sign = choose(gamma < zero(), splat(-1), splat(1));
  for (int z = 0; z < M && o.z + z + 1 < Do; z += 2)
    for (int y = 0; y < M && o.y + y + 1 < Ho; y += 2)
      for (int x = 0; x < M && o.x + x + 1 < Wo; x += 2) {
        vec m = out[(z * M + y) * M + x] * sign;
        UNROLL(i, 7) {
          const int k = i + 1, voxel = ((z + (k >> 2)) * M + y + (k >> 1 & 1)) * M + x + (k & 1);
          m = max_(m, out[voxel] * sign);
        }
        store(L->pool +
                  (((o.z + z) / 2 * (Ho / 2) + (o.y + y) / 2) * (Wo / 2) + (o.x + x) / 2) *
                      L->outputs +
                  c,
              m * sign);
      }
}
// The part of a tile that lies on the grid, where that is not the whole of it.
NOINLINE void tile_store_part(const int M, const layer_t *L, vec *out, float *y, const long step[3],
                              const int size[3], double *S1, double *S2) {
  vec kept[64];
  int n = 0;
  for (int z = 0; z < size[0]; z++)
    for (int r = 0; r < size[1]; r++)
      for (int x = 0; x < size[2]; x++) {
        float *o = y + z * step[0] + r * step[1] + x * step[2];
        vec *v = out + (z * M + r) * M + x;
        if (L->accumulate) *v += load(o);
        kept[n++] = *v;
        store(o, *v);
      }
  if (S1) add_statistics(kept, n, 1, S1, S2);
}
// t: tile; parity: of an up layer (z * 4 + y * 2 + x), else 0; channels c0 ... c1 - 1; P: the
// tile's first product.
INLINE void tile_output(const int A, const int M, transform_fn *AT, const layer_t *L, place_t t,
                        int parity, long c0, long c1, const float *P, long pitch, double *S1,
                        double *S2) {
  const long s = L->up ? 2 : 1, Do = L->D * s, Ho = L->H * s, Wo = L->W * s, C = L->outputs;
  const place_t o = {t.z * M * s + (parity >> 2), t.y * M * s + (parity >> 1 & 1),
                     t.x * M * s + (parity & 1)};
  const long step[3] = {s * Ho * Wo * C, s * Wo * C, s * C};
#define LEFT(grid, tile) ((grid) - (tile) * M < M ? (int)((grid) - (tile) * M) : M)
  const int size[3] = {LEFT(L->D, t.z), LEFT(L->H, t.y), LEFT(L->W, t.x)};
#undef LEFT
  const int whole = size[0] == M && size[1] == M && size[2] == M;
  const int edge = L->border && (!t.z || !t.y || !t.x || (t.z + 1) * M >= L->D ||
                                 (t.y + 1) * M >= L->H || (t.x + 1) * M >= L->W);
  vec cube[M * A * A], face[M * M * A], out[VECS][M * M * M];
#define EACH_ROW(Z, R)        \
  for (int Z = 0; Z < M; Z++) \
    for (int R = 0; R < M; R++)
  for (long c = c0; c < c1; c += LINE) {
    float *y = L->y + ((o.z * Ho + o.y) * Wo + o.x) * C + c;
    if (L->accumulate && whole) { // into L2, a step ahead: the next channels, or the next tile in x
      const long ahead = c + LINE < c1 ? LINE : M * step[2] + c0 - c;
      EACH_ROW(z, r)
        UNROLL(x, M) __builtin_prefetch(y + z * step[0] + r * step[1] + x * step[2] + ahead, 0, 2);
    }
    for (int h = 0; h < VECS; h++) {
      const float *m = P + c + h * LANES;
      for (int q = 0; q < A * A; q++) {
        vec d[6];
        if (q % VECS == h)
          UNROLL(i, A) __builtin_prefetch(P + c + LINE + (i * A * A + q) * pitch);
        UNROLL(i, A) d[i] = load(m + (i * A * A + q) * pitch);
        AT(d, 1, cube + q, A * A);
      }
      for (int z = 0; z < M; z++)
        for (int x = 0; x < A; x++) AT(cube + z * A * A + x, A, face + z * M * A + x, A);
      for (int q = 0; q < M * M; q++) AT(face + q * A, 1, out[h] + q * M, 1);
    }
    if (edge)
      for (int i = 0; i < M * M * M; i++) {
        const long k =
            border_kind(o.z + i / (M * M) * s, o.y + i / M % M * s, o.x + i % M * s, Do, Ho, Wo);
        UNROLL(h, VECS) out[h][i] += load(L->border + k * C + c + h * LANES);
      }
    if (!whole) {
      for (int h = 0; h < VECS; h++) {
        tile_store_part(M, L, out[h], y + h * LANES, step, size, S1 ? S1 + c + h * LANES : NULL,
                        S2 + c + h * LANES);
        if (L->pool) tile_pool(M, L, out[h], o, Do, Ho, Wo, c + h * LANES);
      }
      continue;
    }
    if (L->accumulate)
      EACH_ROW(z, r)
        UNROLL(x, M)
          UNROLL(h, VECS)
            out[h][(z * M + r) * M + x] +=
                load(y + z * step[0] + r * step[1] + x * step[2] + h * LANES);
    for (int h = 0; h < VECS; h++) {
      if (S1) add_statistics(out[h], M * M * M, 1, S1 + c + h * LANES, S2 + c + h * LANES);
      if (L->pool) tile_pool(M, L, out[h], o, Do, Ho, Wo, c + h * LANES);
    }
    if (L->streamed)
      EACH_ROW(z, r)
        UNROLL(x, M)
          UNROLL(h, VECS)
            stream(y + z * step[0] + r * step[1] + x * step[2] + h * LANES,
                   out[h][(z * M + r) * M + x]);
    else
      EACH_ROW(z, r)
        UNROLL(x, M)
          UNROLL(h, VECS)
            store(y + z * step[0] + r * step[1] + x * step[2] + h * LANES,
                  out[h][(z * M + r) * M + x]);
  }
#undef EACH_ROW
}
