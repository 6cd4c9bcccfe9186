// Class-specific heads (arXiv 2405.18356, section 3), all classes in one pass over the feature:
//
//   h = mix . ReLU(group_norm(f)) + mix_bias                       [inner]
//   logit[class] = w3 . ReLU(w2 . ReLU(w1 . h + b1) + b2) + b3     one number per voxel
//   numbers of a class, in this order: w1 (inner x inner, row = output), w2, w3 (inner), b1, b2, b3
//
// or, of one layer:  logit[class] = w . h + b, with the numbers w (inner), b
//
// A chunk of a row's voxels is mixed down, turned so that voxels lie side by side, and then goes
// through one class after the other without leaving the first cache.
#include "pending.h"
#include "threads.h"

enum {
  GROUP = 3,               // vectors of voxels at a time
  OUTPUTS = REGISTERS / 4, // of a layer at a time: their sums take three quarters of the registers
  CHUNK = 96,              // voxels of a row at a time, a multiple of GROUP * LANES for any LANES
  MOST = 64,               // inner channels; channels of the feature at a time
  GROUPS = CHUNK / (GROUP * LANES),
};

typedef struct {
  pending_t feature;                    // [depth][height][width][channels]
  const float *norm_scale, *norm_shift; // group norm, [channels as stored]
  const float *mix, *mix_bias;          // [channels as stored][padded inner], [padded inner]
  const float
      *parameters; // [classes][2 * inner^2 + 3 * inner + 1]; of one layer: [classes][inner + 1]
  float *target;   // [classes][depth][height][width], rows contiguous
  long class_stride, depth_stride, height_stride; // of the target, in floats
  const float
      *importance; // target += importance * logit: [depth][height][width]; NULL: target = logit
  float *mixed;    // NULL, or [inner][depth][height][width]: h
  long depth, height, width, inner, classes, threads;
  long layers; // of a head: 3 or 1
} heads_t;

// One layer of a class for `count` outputs from o on: sums[i] = b[o + i] + w[o + i] . in.
INLINE void outputs(const int count, const long inner, const float *w, const float *b,
                    const vec in[][GROUP], vec sums[OUTPUTS][GROUP]) {
  UNROLL(i, count)
    UNROLL(j, GROUP) sums[i][j] = splat(b[i]);
  // Not unrolled: two layers written out are 8 KB of code, and fetching instructions would be the
  // limit.
  ROLLED(k, inner, 1)
    UNROLL(i, count) {
      const vec x = splat(w[i * inner + k]);
      UNROLL(j, GROUP) sums[i][j] = fma_(x, in[k][j], sums[i][j]);
    }
}

// Logits of one class for GROUP vectors of voxels.
INLINE void perceptron(const int step, const long inner, const float *p, const vec in[][GROUP],
                       vec logit[GROUP]) {
  const float *w2 = p + inner * inner, *w3 = w2 + inner * inner, *b1 = w3 + inner, *b2 = b1 + inner;
  vec hidden[MOST][GROUP], sums[OUTPUTS][GROUP];
  ROLLED(o, inner, step) {
    outputs(step, inner, p + o * inner, b1 + o, in, sums);
    UNROLL(i, step)
      UNROLL(j, GROUP) hidden[o + i][j] = max_(sums[i][j], zero());
  }
  UNROLL(j, GROUP) logit[j] = splat(b2[inner]);
  ROLLED(o, inner, step) {
    outputs(step, inner, w2 + o * inner, b2 + o, (const vec(*)[GROUP])hidden, sums);
    UNROLL(i, step)
      UNROLL(j, GROUP) logit[j] = fma_(splat(w3[o + i]), max_(sums[i][j], zero()), logit[j]);
  }
}

// The same of a head of one layer.
INLINE void weighted_sum(const long inner, const float *p, const vec in[][GROUP],
                         vec logit[GROUP]) {
  vec sums[OUTPUTS][GROUP];
  outputs(1, inner, p, p + inner, in, sums);
  UNROLL(j, GROUP) logit[j] = sums[0][j];
}

// What the mix reads of one voxel: `width` channels from c on, normalised, with ReLU. Fetches those
// of a voxel that comes AHEAD voxels later.
NOINLINE void mix_input(const heads_t *L, long voxel, long c, long width, float *values) {
  enum { AHEAD = 32 };
  const pending_t *f = &L->feature;
  const long ahead = (voxel + AHEAD) * f->channels + c;
  for (long i = 0; i < width; i += LANES) {
    __builtin_prefetch(f->data + ahead + i);
    if (f->residual && !f->residual_shared) __builtin_prefetch(f->residual + ahead + i);
    store(values + i, max_(fma_(pending_value(f, voxel, c + i), load(L->norm_scale + c + i),
                                load(L->norm_shift + c + i)),
                           zero()));
  }
}
enum { AT_ONCE = 8 }; // voxels of a mix
// sums[voxel][LANES] += weights . values
NOINLINE void mix_product(const float values[AT_ONCE][MOST], long width, const float *weights,
                          long step, float *sums) {
  vec s[AT_ONCE];
  UNROLL(i, AT_ONCE) s[i] = load(sums + i * LANES);
  ROLLED(c, width, 1) {
    const vec w = load(weights + c * step);
    UNROLL(i, AT_ONCE) s[i] = fma_(splat(values[i][c]), w, s[i]);
  }
  UNROLL(i, AT_ONCE) store(sums + i * LANES, s[i]);
}
// h[k .. k + LANES - 1] of n voxels from `first` on -> turned[voxel][LANES].
NOINLINE void mix_down(const heads_t *L, long first, long n, long k, float *turned) {
  const long channels = L->feature.channels, padded = (L->inner + LINE - 1) / LINE * LINE;
  for (long v = 0; v < n; v += AT_ONCE, turned += AT_ONCE * LANES) {
    const long last = n - v < AT_ONCE ? n - v - 1 : AT_ONCE - 1;
    UNROLL(i, AT_ONCE) store(turned + i * LANES, load(L->mix_bias + k));
    for (long c = 0; c < channels; c += MOST) {
      const long width = channels - c < MOST ? channels - c : MOST;
      float values[AT_ONCE][MOST];
      ROLLED(i, AT_ONCE, 1) mix_input(L, first + v + (i < last ? i : last), c, width, values[i]);
      mix_product((const float (*)[MOST])values, width, L->mix + c * padded + k, padded, turned);
    }
  }
}

// h of n voxels from `first` on -> h[group][k][voxel of the group], zeros beyond n.
static void mixed_chunk(const heads_t *L, long first, long n, float *h) {
  float turned[CHUNK * LANES] __attribute__((aligned(64)));
  memset(h, 0, CHUNK * L->inner * sizeof *h);
  for (long k = 0; k < L->inner; k += LANES) {
    mix_down(L, first, n, k, turned);
    for (long j = 0; j < LANES && k + j < L->inner; j++)
      for (long g = 0; g < GROUPS; g++)
        for (long i = 0; i < GROUP * LANES && g * GROUP * LANES + i < n; i++)
          h[(g * L->inner + k + j) * GROUP * LANES + i] =
              turned[(g * GROUP * LANES + i) * LANES + j];
  }
}

// A group's logits to the target: n of them.
INLINE void put(float *target, const float *importance, const vec logit[GROUP], long n) {
  if (n >= GROUP * LANES) {
    UNROLL(j, GROUP)
      store(target + j * LANES,
            importance ? fma_(load(importance + j * LANES), logit[j], load(target + j * LANES))
                       : logit[j]);
  } else {
    float values[GROUP * LANES];
    for (int j = 0; j < GROUP; j++) store(values + j * LANES, logit[j]);
    for (long i = 0; i < n; i++)
      target[i] = importance ? importance[i] * values[i] + target[i] : values[i];
  }
}

// Classes of one chunk: n voxels, h as mix_down leaves it. step: 0 where heads have one layer.
INLINE void classes_of(const int step, const long inner, const heads_t *L, const float *h,
                       float *target, const float *importance, long n) {
  const long numbers = step ? 2 * inner * inner + 3 * inner + 1 : inner + 1;
  for (long c = 0; c < L->classes; c++, target += L->class_stride) {
    if (c + 1 < L->classes)
      for (long i = 0; i < n; i += LINE) __builtin_prefetch(target + L->class_stride + i, 1);
    for (int g = 0; g < GROUPS && g * GROUP * LANES < n; g++) {
      vec logit[GROUP];
      const vec(*in)[GROUP] = (const vec(*)[GROUP])(h + g * inner * GROUP * LANES);
      if (step) perceptron(step, inner, L->parameters + c * numbers, in, logit);
      else weighted_sum(inner, L->parameters + c * numbers, in, logit);
      const long at = g * GROUP * LANES;
      put(target + at, importance ? importance + at : NULL, logit, n - at);
    }
  }
}
NOINLINE void classes_8(const heads_t *L, const float *h, float *target, const float *importance,
                        long n) {
  classes_of(OUTPUTS, 8, L, h, target, importance, n);
}
NOINLINE void classes_any(const heads_t *L, const float *h, float *target, const float *importance,
                          long n) {
  classes_of(1, L->inner, L, h, target, importance, n);
}
NOINLINE void classes_linear(const heads_t *L, const float *h, float *target,
                             const float *importance, long n) {
  classes_of(0, L->inner, L, h, target, importance, n);
}

static void row(const heads_t *L, long d, long r) {
  float h[CHUNK * MOST] __attribute__((aligned(64)));
  for (long x = 0; x < L->width; x += CHUNK) {
    const long n = L->width - x < CHUNK ? L->width - x : CHUNK;
    const long first = (d * L->height + r) * L->width + x;
    mixed_chunk(L, first, n, h);
    if (L->mixed)
      for (long k = 0; k < L->inner; k++)
        for (long i = 0; i < n; i++)
          L->mixed[k * L->depth * L->height * L->width + first + i] =
              h[(i / (GROUP * LANES) * L->inner + k) * GROUP * LANES + i % (GROUP * LANES)];
    float *target = L->target + d * L->depth_stride + r * L->height_stride + x;
    const float *importance = L->importance ? L->importance + first : NULL;
    (L->layers == 1  ? classes_linear
     : L->inner == 8 ? classes_8
                     : classes_any)(L, h, target, importance, n);
  }
}

typedef struct {
  const heads_t *L;
  long next;
} job_t;
static void heads_share(void *given, const member_t *me) {
  job_t *j = given;
  const heads_t *L = j->L;
  (void)me;
  for (long i; (i = take(&j->next, 4)) < L->depth * L->height;)
    for (long k = i; k < i + 4 && k < L->depth * L->height; k++)
      row(L, k / L->height, k % L->height);
}
void heads(const heads_t *L) {
  job_t j = {L, 0};
  parallel(L->threads, heads_share, &j);
}
