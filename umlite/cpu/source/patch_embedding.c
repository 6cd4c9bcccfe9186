// Tokens of an image: a 2^3 convolution of one channel with stride 2.
//
//   y[z][y][x][c] = bias[c] + sum over the eight voxels v of the block of image[v] * weights[v][c]
#include "threads.h"
#include "vector.h"

enum { VOXELS = 8 };

typedef struct {
  long threads, depth, height, width, channels; // of y, channels as stored
  const float *image;                           // [2 depth][2 height][2 width]
  const float *weights, *bias; // [VOXELS][channels], last axis of the voxels fastest; [channels]
  float *y;
} embedding_t;

typedef struct {
  const embedding_t *L;
  long next;
} job_t;
static void embedding_share(void *given, const member_t *me) {
  job_t *j = given;
  const embedding_t *L = j->L;
  const long height = L->height, width = L->width, channels = L->channels;
  (void)me;
  for (long row; (row = take(&j->next, 1)) < L->depth * height;) {
    const float *block = L->image + (row / height * 2 * height + row % height) * 4 * width;
    for (long x = 0; x < width; x++) {
      vec voxel[VOXELS];
      UNROLL(k, VOXELS)
        voxel[k] =
            splat(block[((k >> 2) * 2 * height + (k >> 1 & 1)) * 2 * width + 2 * x + (k & 1)]);
      float *token = L->y + (row * width + x) * channels;
      for (long c = 0; c < channels; c += LANES) {
        vec sum = load(L->bias + c);
        UNROLL(k, VOXELS) sum = fma_(voxel[k], load(L->weights + k * channels + c), sum);
        store(token + c, sum);
      }
    }
  }
}
void patch_embedding(const embedding_t *L) {
  job_t j = {L, 0};
  parallel(L->threads, embedding_share, &j);
}
