// The gradient of a 3^3 convolution's weights: x [D][H][W][inputs], dy [D][H][W][outputs] ->
//
//   dw [inputs / LINE][27][outputs][LINE],   dw[t] = sum over voxels v of x[v + t - 1] dy[v]
//
// Directly, or as the adjoint of F(4,3), with 8 times fewer products (arXiv 1509.09308):
//
//   dw = GT [ sum over tiles of (BT x) (A dy) ]     x: 6^3 voxels, dy: 4^3; along each axis
//
// Tiles go in blocks, so that the transformed numbers of a block stay in the caches; every block's
// sums start from zero.
#pragma once
#include "tile_input.h"

enum { PANEL = 6, TAPS = 27, CUBE = 216, SIDE = 4, MOST_TILES = 48 };

// m[k][LINE] {=, +=} sum over n rows of x[row][LINE] * dy[row][k], for `outputs` <= PANEL of dy's
// channels.
INLINE void panel(const int outputs, const float *x, long inputs, const float *dy, long pitch,
                  long n, int add, float *m) {
  vec sums[PANEL][VECS];
  UNROLL(k, outputs)
    UNROLL(h, VECS) sums[k][h] = zero();
  for (long v = 0; v < n; v++, x += inputs, dy += pitch) {
    vec part[VECS];
    UNROLL(h, VECS) part[h] = load(x + h * LANES);
    UNROLL(k, outputs) {
      const vec d = splat(dy[k]);
      UNROLL(h, VECS) sums[k][h] += part[h] * d;
    }
  }
  if (add)
    UNROLL(k, outputs)
      UNROLL(h, VECS) sums[k][h] += load(m + k * LINE + h * LANES);
  UNROLL(k, outputs)
    UNROLL(h, VECS) store(m + k * LINE + h * LANES, sums[k][h]);
}
#define PANEL_ARGS \
  const float *x, long inputs, const float *dy, long pitch, long n, int add, float *m
NOINLINE void panel6(PANEL_ARGS) { panel(6, x, inputs, dy, pitch, n, add, m); }
NOINLINE void panel4(PANEL_ARGS) { panel(4, x, inputs, dy, pitch, n, add, m); }
NOINLINE void panel3(PANEL_ARGS) { panel(3, x, inputs, dy, pitch, n, add, m); }
NOINLINE void panel2(PANEL_ARGS) { panel(2, x, inputs, dy, pitch, n, add, m); }
// The same for all of dy's channels, a multiple of 2.
static void panels(long outputs, PANEL_ARGS) {
  long k = 0;
  for (; k + 6 <= outputs; k += 6) panel6(x, inputs, dy + k, pitch, n, add, m + k * LINE);
  for (; k + 4 <= outputs; k += 4) panel4(x, inputs, dy + k, pitch, n, add, m + k * LINE);
  for (; k < outputs; k += 2) panel2(x, inputs, dy + k, pitch, n, add, m + k * LINE);
}

static void direct_gradient(const float *x, const float *dy, long D, long H, long W, long inputs,
                            long outputs, float *dw) {
  memset(dw, 0, (size_t)(inputs * TAPS * outputs) * sizeof *dw);
  for (long z = 0; z < D; z++)
    for (long y = 0; y < H; y++)
      for (long c = 0; c < inputs; c += LINE)
        for (int t = 0; t < TAPS; t++) {
          const long dz = t / 9 - 1, up = t / 3 % 3 - 1, aside = t % 3 - 1;
          const long from = aside < 0, n = W - (aside != 0);
          if (z + dz < 0 || z + dz >= D || y + up < 0 || y + up >= H || n < 1) continue;
          const float *in = x + (((z + dz) * H + y + up) * W + from + aside) * inputs + c;
          const float *out = dy + ((z * H + y) * W + from) * outputs;
          panels(outputs, in, inputs, out, outputs, n, 1,
                 dw + (c / LINE * TAPS + t) * outputs * LINE);
        }
}
// Of one channel: image [D + 2][H + 2][W + 2], zeros around -> dw [outputs / LINE][TAPS][LINE].
// Taps take the outputs' place.
void image_gradient(const float *image, const float *dy, long D, long H, long W, long outputs,
                    float *dw) {
  memset(dw, 0, (size_t)(TAPS * outputs) * sizeof *dw);
  for (long z = 0; z < D; z++)
    for (long y = 0; y < H; y++)
      for (long k = 0; k < outputs; k += LINE)
        for (int q = 0; q < 9; q++)
          panel3(dy + (z * H + y) * W * outputs + k, outputs,
                 image + ((z + q / 3) * (H + 2) + y + q % 3) * (W + 2), 1, W, 1,
                 dw + (k * 9 + q * LINE) * 3);
}

// A, the transpose of output_43: 4 numbers -> 6.
INLINE void spread_43(const vec *d, int s, vec *o, int os) {
  const vec a = splat(A43), b = splat(B43), a2 = splat(A43 * A43), b2 = splat(B43 * B43);
  const vec e = d[0] + a2 * d[2 * s], f = a * (d[s] + a2 * d[3 * s]);
  const vec g = d[0] + b2 * d[2 * s], h = b * (d[s] + b2 * d[3 * s]);
  o[0] = d[0];
  o[os] = e + f;
  o[2 * os] = e - f;
  o[3 * os] = g + h;
  o[4 * os] = g - h;
  o[5 * os] = d[3 * s];
}
// GT, the transpose of what pack.c does to weights: 6 numbers -> 3.
INLINE void fold_43(const vec *d, int s, vec *o, int os) {
  const float a2 = A43 * A43, b2 = B43 * B43;
  const float a = .5f / (a2 * (a2 - b2)), b = .5f / (b2 * (b2 - a2));
  const vec p = splat(a) * (d[s] + d[2 * s]), q = splat(a * A43) * (d[s] - d[2 * s]);
  const vec r = splat(b) * (d[3 * s] + d[4 * s]), t = splat(b * B43) * (d[3 * s] - d[4 * s]);
  o[0] = splat(1 / (a2 * b2)) * d[0] + (p + r);
  o[os] = q + t;
  o[2 * os] = splat(a2) * p + (splat(b2) * r + d[5 * s]);
}
// One tile of the gradient, all channels, zero outside the grid. Y: the tile's first point, the
// others `pitch` floats apart.
static void tile_gradient(const layer_t *L, const float *dy, long z0, long y0, long x0, float *Y,
                          long pitch) {
  const long C = L->outputs;
  for (long c = 0; c < C; c += LANES) {
    vec cube[SIDE * 36], face[SIDE * 6];
    for (int z = 0; z < SIDE; z++) {
      for (int y = 0; y < SIDE; y++) {
        vec row[SIDE];
        for (int x = 0; x < SIDE; x++) {
          const int in = z0 + z < L->D && y0 + y < L->H && x0 + x < L->W;
          row[x] = in ? load(dy + (((z0 + z) * L->H + y0 + y) * L->W + x0 + x) * C + c) : zero();
        }
        spread_43(row, 1, face + y * 6, 1);
      }
      for (int x = 0; x < 6; x++) spread_43(face + x, 6, cube + z * 36 + x, 6);
    }
    for (int q = 0; q < 36; q++) {
      vec o[6];
      spread_43(cube + q, 36, o, 1);
      UNROLL(i, 6) store(Y + (i * 36 + q) * pitch + c, o[i]);
    }
  }
}
// m [CUBE][outputs][LINE] -> dw [TAPS][outputs][LINE].
static void fold_weights(const float *m, long outputs, float *dw) {
  const long step = outputs * LINE;
  for (long k = 0; k < step; k += LANES) {
    vec cube[3 * 36], face[3 * 3 * 6], o[3];
    for (int q = 0; q < 36; q++) {
      vec d[6];
      UNROLL(i, 6) d[i] = load(m + (i * 36 + q) * step + k);
      fold_43(d, 1, cube + q, 36);
    }
    for (int z = 0; z < 3; z++)
      for (int x = 0; x < 6; x++) fold_43(cube + z * 36 + x, 6, face + z * 18 + x, 6);
    for (int q = 0; q < 9; q++) {
      fold_43(face + q * 6, 1, o, 1);
      UNROLL(i, 3) store(dw + (q * 3 + i) * step + k, o[i]);
    }
  }
}

typedef struct {
  long ny, nx, tiles, block, pitch_x, pitch_y, sums;
} tiling_t;
// Distances between points are odd numbers of lines, as in winograd.c; sums: floats of one line's
// products.
static tiling_t tiling_of(long D, long H, long W, long outputs) {
  const long nz = (D + SIDE - 1) / SIDE, ny = (H + SIDE - 1) / SIDE, nx = (W + SIDE - 1) / SIDE;
  tiling_t t = {.ny = ny, .nx = nx, .tiles = nz * ny * nx};
  t.block = t.tiles < MOST_TILES ? t.tiles : MOST_TILES;
  t.pitch_x = (t.block | 1) * LINE;
  t.pitch_y = (t.block * outputs / LINE | 1) * LINE;
  t.sums = CUBE * outputs * LINE;
  return t;
}
static void place_of(const tiling_t *t, long tile, long *z, long *y, long *x) {
  *z = tile / (t->ny * t->nx) * SIDE;
  *y = tile / t->nx % t->ny * SIDE;
  *x = tile % t->nx * SIDE;
}
static void winograd_gradient(const float *x, const float *dy, long D, long H, long W, long inputs,
                              long outputs, float *scratch, float *dw) {
  const tiling_t t = tiling_of(D, H, W, outputs);
  float ones[LINE], zeros[LINE] = {0};
  float *V = scratch, *Y = V + CUBE * t.pitch_x, *M = Y + CUBE * t.pitch_y;
  for (int i = 0; i < LINE; i++) ones[i] = 1;
  layer_t L = {.D = D,
               .H = H,
               .W = W,
               .outputs = outputs,
               .x = {.scale = ones, .shift = zeros, .channels = inputs, .slope = 1}};
  for (long first = 0; first < t.tiles; first += t.block) {
    const long n = t.tiles - first < t.block ? t.tiles - first : t.block;
#define EACH_TILE(i, z, y, w) \
  for (long i = 0, z, y, w; place_of(&t, first + i, &z, &y, &w), i < n; i++)
    EACH_TILE(i, z, y, w) tile_gradient(&L, dy, z, y, w, Y + i * outputs, t.pitch_y);
    for (long c = 0; c < inputs; c += LINE) {
      float *m = M + (t.block < t.tiles ? c / LINE : 0) * t.sums;
      L.x.data = x + c;
      EACH_TILE(i, z, y, w)
        tile_input(6, SIDE, SLOPE, input_43, &L, z - 1, y - 1, w - 1, 0, LINE, V + i * LINE,
                   t.pitch_x);
      for (long p = 0; p < CUBE; p++)
        panels(outputs, V + p * t.pitch_x, LINE, Y + p * t.pitch_y, outputs, n, first > 0,
               m + p * outputs * LINE);
      if (first + n == t.tiles) fold_weights(m, outputs, dw + c * TAPS * outputs);
    }
  }
}
// A few tiles do not pay for the transform of the sums. 64 -> 64 channels: 1.1 times as fast at 480
// voxels, 0.8 times at 256.
static int by_winograd(long D, long H, long W) { return D * H * W >= 400; }
// Floats of scratch memory.
long weight_gradient_scratch(long D, long H, long W, long inputs, long outputs) {
  const tiling_t t = tiling_of(D, H, W, outputs);
  return by_winograd(D, H, W)
             ? CUBE * (t.pitch_x + t.pitch_y) + t.sums * (t.block < t.tiles ? inputs / LINE : 1)
             : 0;
}
void weight_gradient(const float *x, const float *dy, long D, long H, long W, long inputs,
                     long outputs, float *scratch, float *dw) {
  if (by_winograd(D, H, W)) winograd_gradient(x, dy, D, H, W, inputs, outputs, scratch, dw);
  else direct_gradient(x, dy, D, H, W, inputs, outputs, dw);
}
