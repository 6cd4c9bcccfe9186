// Threads. Every public function gets their number as an argument; nothing here is global state of
// the process.
//
//   long next = 0;
//   PARALLEL(threads) {
//     for (long i; (i = take(&next, 1)) < items;) work(i, thread_number());
//   }
//
// Threads fetch the next piece of work when they are done with one: where another process takes a
// core, the others go on.
#pragma once
#if defined __SANITIZE_THREAD__
#include "threads_checked.h"
#elif defined _OPENMP
#include <omp.h>
#define PRAGMA_(x) _Pragma(#x)
#define PARALLEL(n) PRAGMA_(omp parallel num_threads(n))
#define BARRIER _Pragma("omp barrier")
#define CRITICAL() _Pragma("omp critical")
static inline int thread_number(void) { return omp_get_thread_num(); }
#else
#define PARALLEL(n) (void)(n);
#define BARRIER
#define CRITICAL()
static inline int thread_number(void) { return 0; }
#endif

// The first of `count` items that nobody has taken yet.
static inline long take(long *next, long count) {
  return __atomic_fetch_add(next, count, __ATOMIC_RELAXED);
}
