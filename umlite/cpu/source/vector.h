// Vectors of floats for every instruction set from one source: the compiler's vector types, and a
// handful of intrinsics where plain operators would not give the instruction that is meant.
//
//   vec     LANES floats: 16 with AVX-512, 8 with AVX, 4 elsewhere (NEON, SSE2, plain C).
//           -DLANES=16 or 8 where registers are shorter builds the same loops out of pairs of them,
//           slowly: for tests of every width on one machine
//   ivec    LANES 32-bit integers; comparisons of two vec give an ivec of 0 and -1
//   REGISTERS  how many vec the processor holds at a time
//   LINE    16 floats, 64 bytes: a cache line, the unit in which channels are stored; VECS vectors
//
// + - * / work on vec as they are; a * b + c becomes one fused operation where the machine has it
// (-ffp-contract=fast).
#pragma once
#include "system.h"

#ifndef LANES
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#endif
#define LINE 16
#if LANES == 16 || defined(__aarch64__)
#define REGISTERS 32
#else
#define REGISTERS 16
#endif
#define VECS (LINE / LANES)

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef float vec_unaligned __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * 4)));
typedef double dvec __attribute__((vector_size(LANES * 8)));

#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
// Loops over 0 .. n - 1 that are written out, and over 0, step .. that are not. i is as wide as n.
#define LOOP_(i, n, step) for (__typeof__((n) + 0) i = 0; i < (n); i += (step))
#define UNROLL(i, n) _Pragma("GCC unroll 16") LOOP_(i, n, 1)
#define ROLLED(i, n, step) _Pragma("GCC unroll 1") LOOP_(i, n, step)

INLINE vec load(const float *p) { return *(const vec_unaligned *)p; }
INLINE void store(float *p, vec a) { *(vec_unaligned *)p = a; }
INLINE vec splat(float a) { return a - (vec){0}; }
INLINE vec zero(void) { return (vec){0}; }
// a * b + c
INLINE vec fma_(vec a, vec b, vec c) { return a * b + c; }
// sum + a * b and sum - a * b as one operation where the machine has it: where compilers would decide
// otherwise by what lies around, and round otherwise.
INLINE vec plus(vec sum, vec a, vec b) {
#if LANES == 16 && defined(__AVX512F__)
  return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)sum);
#elif LANES == 8 && defined(__FMA__)
  return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)sum);
#elif LANES == 4 && defined(__aarch64__)
  return (vec)vfmaq_f32((float32x4_t)sum, (float32x4_t)a, (float32x4_t)b);
#else
  return sum + a * b;
#endif
}
INLINE vec minus(vec sum, vec a, vec b) {
#if LANES == 16 && defined(__AVX512F__)
  return (vec)_mm512_fnmadd_ps((__m512)a, (__m512)b, (__m512)sum);
#elif LANES == 8 && defined(__FMA__)
  return (vec)_mm256_fnmadd_ps((__m256)a, (__m256)b, (__m256)sum);
#elif LANES == 4 && defined(__aarch64__)
  return (vec)vfmsq_f32((float32x4_t)sum, (float32x4_t)a, (float32x4_t)b);
#else
  return sum - a * b;
#endif
}
// Lane by lane where the mask is -1 or 0: a where set, b elsewhere.
INLINE vec choose(ivec mask, vec a, vec b) { return (vec)((mask & (ivec)a) | (~mask & (ivec)b)); }
INLINE vec max_(vec a, vec b) {
#if LANES == 16 && defined(__AVX512F__)
  return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif LANES == 8 && defined(__AVX__)
  return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#elif LANES == 4 && defined(__ARM_NEON)
  return (vec)vmaxq_f32((float32x4_t)a, (float32x4_t)b);
#elif LANES == 4 && defined(__SSE2__)
  return (vec)_mm_max_ps((__m128)a, (__m128)b);
#else
  return choose(a > b, a, b);
#endif
}
INLINE vec min_(vec a, vec b) { return -max_(-a, -b); }
// Past the caches, without reading the line first; p must be aligned to the vector. Whole lines
// only, or it is slow.
INLINE void stream(float *p, vec a) {
#if LANES == 16 && defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)a);
#elif LANES == 8 && defined(__AVX__)
  _mm256_stream_ps(p, (__m256)a);
#elif LANES == 4 && defined(__SSE2__)
  _mm_stream_ps(p, (__m128)a);
#else
  store(p, a);
#endif
}
// Makes streamed stores visible to other threads: once, at the end of a thread's share.
INLINE void stream_end(void) {
#if defined(__AVX__) || defined(__SSE2__)
  _mm_sfence();
#endif
}
// Sum of the lanes.
INLINE float sum(vec a) {
  float total = 0;
  for (int i = 0; i < LANES; i++) total += a[i];
  return total;
}
// total[0 .. LANES - 1] += a, in double.
INLINE void add_double(double *total, vec a) {
  dvec d;
  memcpy(&d, total, sizeof d);
  d += __builtin_convertvector(a, dvec);
  memcpy(total, &d, sizeof d);
}
