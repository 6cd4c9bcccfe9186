// Input transform of one tile: A^3 voxels, their pending normalisation and activation, BT along
// each axis -> V.
//
// A whole line of channels is used up at once. The rows of a 96^3 x 64 or 48^3 x 128 tensor are
// multiples of 4 KiB apart, so all rows of a tile share a few sets of the L1 cache: a line that is
// not used up is gone when its other half is wanted.
#pragma once
#include "layer.h"
#include "transforms.h"

// z0, y0, x0: first voxel, may lie outside (read as zero); channels c0 ... c1 - 1; V: the tile's
// first point, the others `pitch` floats apart. M: outputs per axis, the distance of the next tile.
INLINE void tile_input(const int A, const int M, const int mode, transform_fn *BT, const layer_t *L,
                       long z0, long y0, long x0, long c0, long c1, float *V, long pitch) {
  const long C = L->x.channels, W = L->W, H = L->H, D = L->D, plane = H * W * C;
  vec cube[VECS][A * A * A], face[VECS][A * A];
  const int inside = z0 >= 0 && y0 >= 0 && x0 >= 0 && z0 + A <= D && y0 + A <= H && x0 + A <= W;
  for (long c = c0; c < c1; c += LINE) {
    const line_t line = line_of(mode, &L->x, c);
    for (int z = 0; z < A; z++) {
      // the next plane; after the last one, the first plane of the next channels or of the next
      // tile in x
      const long ahead =
          z + 1 < A ? plane : (c + LINE < c1 ? LINE : M * C + c0 - c) - (A - 1) * plane;
      for (int y = 0; y < A; y++) {
        const long row = ((z0 + z) * H + y0 + y) * W + x0;
        const int row_inside = inside || (z0 + z >= 0 && z0 + z < D && y0 + y >= 0 && y0 + y < H);
        vec r[VECS][6];
        if (inside) {
          const float *x = L->x.data + row * C + c, *residual = residual_at(mode, &L->x, row, c);
          const long step = mode == SUM ? C : 1;
          UNROLL(i, A) __builtin_prefetch(x + i * C + ahead);
          UNROLL(h, VECS)
            UNROLL(i, A) r[h][i] = line_value(mode, &line, h, x + i * C, residual + i * step);
        } else {
          for (int i = 0; i < A; i++) {
            const int in = row_inside && x0 + i >= 0 && x0 + i < W;
            UNROLL(h, VECS)
              r[h][i] = in ? line_value(mode, &line, h, L->x.data + (row + i) * C + c,
                                        residual_at(mode, &L->x, row + i, c))
                           : zero();
          }
        }
        UNROLL(h, VECS) BT(r[h], 1, face[h] + y * A, 1);
      }
      for (int h = 0; h < VECS; h++)
        for (int x = 0; x < A; x++) BT(face[h] + x, A, cube[h] + z * A * A + x, A);
    }
    for (int q = 0; q < A * A; q++) {
      vec o[6];
      float *v = V + q * pitch + c;
      UNROLL(h, VECS) {
        BT(cube[h] + q, A * A, o, 1);
        UNROLL(i, A) store(v + i * A * A * pitch + h * LANES, o[i]);
      }
    }
  }
}
