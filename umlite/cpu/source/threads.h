// Threads. Every public function gets their number as an argument.
//
//   typedef struct { ...; long next; } job_t;
//   static void share(void *given, const member_t *me) { // run by every thread of the team
//     job_t *j = given;
//     for (long i; (i = take(&j->next, 1)) < items;) work(j, i, me->number);
//   }
//   parallel(threads, share, &job);
//
// Threads fetch the next piece of work when they are done with one: where another process takes a
// core, the others go on. OpenMP where the compiler has it, which then shares its threads with
// torch; a pool of our own elsewhere.
#pragma once
#include "system.h"

typedef struct {
  long number; // 0 ... threads - 1; 0 is the thread that called
  long count;  // threads of the team, which may be fewer than asked for
} member_t;
typedef void share_fn(void *job, const member_t *me);

// The first of `count` items that nobody has taken yet.
static inline long take(long *next, long count) {
  return __atomic_fetch_add(next, count, __ATOMIC_RELAXED);
}

// The thread sanitizer cannot see how OpenMP's runtime synchronises, and would call every team a
// race. -DOWN_THREADS asks for the pool.
#if defined _OPENMP && !defined __SANITIZE_THREAD__ && !defined OWN_THREADS
static inline void parallel(long threads, share_fn *share, void *job) {
#pragma omp parallel num_threads((int)threads)
  {
    const member_t me = {omp_get_thread_num(), omp_get_num_threads()};
    share(job, &me);
  }
}
// Waits for all threads of the team.
static inline void barrier(const member_t *me) {
  (void)me;
#pragma omp barrier
}
#else
#include "pool.h"
#endif
