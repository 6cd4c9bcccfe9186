// The macros of threads.h on POSIX threads, for the thread sanitizer: it cannot see how OpenMP's
// runtime synchronises, and would call every parallel region a race. Needs gcc, whose nested
// functions make the block after PARALLEL(n) a function.
#pragma once
#include <pthread.h>

enum { MOST_THREADS = 64 };
typedef struct {
  void (*body)(void);
  pthread_barrier_t barrier;
} team_t;
typedef struct {
  team_t *team;
  int number;
} member_t;
static __thread member_t me;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static void *run_member(void *given) {
  me = *(member_t *)given;
  me.team->body();
  return NULL;
}
static inline void run_team(long count, void (*body)(void)) {
  team_t t = {.body = body};
  pthread_t threads[MOST_THREADS];
  member_t members[MOST_THREADS];
  pthread_barrier_init(&t.barrier, NULL, (unsigned)count);
  for (long i = 0; i < count; i++) {
    members[i] = (member_t){&t, (int)i};
    if (pthread_create(threads + i, NULL, run_member, members + i)) __builtin_trap();
  }
  for (long i = 0; i < count; i++) pthread_join(threads[i], NULL);
  pthread_barrier_destroy(&t.barrier);
}
static inline int enter(void) { return pthread_mutex_lock(&one_at_a_time), 1; }
static inline int leave(void) { return pthread_mutex_unlock(&one_at_a_time), 0; }

#define NAMED__(line) body_##line
#define NAMED_(line) NAMED__(line)
#define PARALLEL(n)                 \
  auto void NAMED_(__LINE__)(void); \
  run_team(n, NAMED_(__LINE__));    \
  void NAMED_(__LINE__)(void)
#define BARRIER pthread_barrier_wait(&me.team->barrier);
#define CRITICAL() for (int inside = enter(); inside; inside = leave())
static inline int thread_number(void) { return me.number; }
