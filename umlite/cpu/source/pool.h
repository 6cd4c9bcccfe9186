// A pool of threads: started when first needed, asleep when idle, for one team at a time.
//
// A thread that waits looks at one number: spinning, then yielding its core, then asleep. Whoever
// changes the number wakes sleepers if there are any. Both first write their own word (`sleepers`,
// the number), then read the other's, in one order that all threads agree on: one of them sees the
// other.
#pragma once
#include "system.h"

enum { MOST_THREADS = 256, SPINS = 1000, YIELDS = 1000, STACK_BYTES = 4 << 20 };

typedef struct {
  lock_t turn; // held by the caller whose team runs
  lock_t lock;
  signal_t changed;
  long sleepers;
  share_fn *share; // of the team
  void *job;
  long count;          // of the team's threads
  long running;        // of them, without the caller
  long arrived, phase; // at the barrier; how often it has opened
  long started;        // threads that exist, without the callers
  long watched;        // whether forks are
  struct {
    long teams; // that this thread was called to
    long apart[7];
  } thread[MOST_THREADS];
} pool_t;
static pool_t own_pool = {.turn = LOCK_FREE, .lock = LOCK_FREE, .changed = SIGNAL_FREE};
// Libraries share one: umlite/cpu/libraries.py points all of them to the first one's.
pool_t *umlite_pool = &own_pool;

static inline long seen(const long *at) { return __atomic_load_n(at, __ATOMIC_SEQ_CST); }
static inline void pause_core(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
static void await(const long *at, long value) {
  for (int i = 0; i < SPINS + YIELDS; i++) {
    if (seen(at) == value) return;
    if (i < SPINS) pause_core();
    else yield_core();
  }
  lock(&umlite_pool->lock);
  __atomic_fetch_add(&umlite_pool->sleepers, 1, __ATOMIC_SEQ_CST);
  while (seen(at) != value) sleep_until(&umlite_pool->changed, &umlite_pool->lock);
  __atomic_fetch_sub(&umlite_pool->sleepers, 1, __ATOMIC_SEQ_CST);
  unlock(&umlite_pool->lock);
}
static void wake(void) {
  if (!seen(&umlite_pool->sleepers)) return;
  lock(&umlite_pool->lock);
  wake_all(&umlite_pool->changed);
  unlock(&umlite_pool->lock);
}

static THREAD_MAIN pool_thread(void *given) {
  const long number = (long)(intptr_t)given;
  for (long teams = 0;; teams++) {
    await(&umlite_pool->thread[number].teams, teams + 1);
    const member_t me = {number, umlite_pool->count};
    umlite_pool->share(umlite_pool->job, &me);
    if (__atomic_sub_fetch(&umlite_pool->running, 1, __ATOMIC_SEQ_CST) == 0) wake();
  }
  return 0;
}

// A forked child has no thread but the one that forked, and locks that others may have held.
#ifdef _WIN32
static void watch_forks(void) {}
#else
static void renew_pool(void) {
  *umlite_pool =
      (pool_t){.turn = LOCK_FREE, .lock = LOCK_FREE, .changed = SIGNAL_FREE, .watched = 1};
}
static void watch_forks(void) {
  if (seen(&umlite_pool->watched)) return;
  pthread_atfork(NULL, NULL, renew_pool);
  __atomic_store_n(&umlite_pool->watched, 1, __ATOMIC_SEQ_CST);
}
#endif
// Starts threads until there are `wanted`, or the system lets no more start.
static void start_threads(long wanted) {
  while (umlite_pool->started < wanted &&
         start_thread(pool_thread, (void *)(intptr_t)(umlite_pool->started + 1), STACK_BYTES))
    umlite_pool->started++;
}

// Runs the job's share on up to `threads` threads. Callers take turns; a share must not call it.
static void parallel(long threads, share_fn *share, void *job) {
  const member_t alone = {0, 1};
  if (threads <= 1) {
    share(job, &alone);
    return;
  }
  watch_forks(); // before any lock is held
  lock(&umlite_pool->turn);
  const long wanted = (threads < MOST_THREADS ? threads : MOST_THREADS) - 1;
  if (umlite_pool->started < wanted) start_threads(wanted);
  const long others = umlite_pool->started < wanted ? umlite_pool->started : wanted;
  umlite_pool->share = share;
  umlite_pool->job = job;
  umlite_pool->count = others + 1;
  __atomic_store_n(&umlite_pool->running, others, __ATOMIC_SEQ_CST);
  for (long i = 1; i <= others; i++)
    __atomic_fetch_add(&umlite_pool->thread[i].teams, 1, __ATOMIC_SEQ_CST);
  wake();
  const member_t me = {0, umlite_pool->count};
  share(job, &me);
  await(&umlite_pool->running, 0);
  unlock(&umlite_pool->turn);
}
// Waits for all threads of the team.
static inline void barrier(const member_t *me) {
  if (me->count == 1) return;
  const long phase = seen(&umlite_pool->phase);
  if (__atomic_add_fetch(&umlite_pool->arrived, 1, __ATOMIC_SEQ_CST) < me->count) {
    await(&umlite_pool->phase, phase + 1);
    return;
  }
  __atomic_store_n(&umlite_pool->arrived, 0, __ATOMIC_SEQ_CST);
  __atomic_store_n(&umlite_pool->phase, phase + 1, __ATOMIC_SEQ_CST);
  wake();
}
