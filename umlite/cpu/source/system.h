// All of the system that kernels need: its headers, and threads, locks and time of POSIX or Windows.
// No other file includes a header of the system.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__AVX__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef _WIN32
#include <windows.h>
#else
#include <pthread.h>
#include <sched.h>
#endif

// lock_t, signal_t: as a mutex and a condition variable of POSIX.
#ifdef _WIN32
typedef SRWLOCK lock_t;
typedef CONDITION_VARIABLE signal_t;
#define LOCK_FREE SRWLOCK_INIT
#define SIGNAL_FREE CONDITION_VARIABLE_INIT
static inline void lock(lock_t *l) { AcquireSRWLockExclusive(l); }
static inline void unlock(lock_t *l) { ReleaseSRWLockExclusive(l); }
static inline void sleep_until(signal_t *s, lock_t *l) {
  SleepConditionVariableSRW(s, l, INFINITE, 0);
}
static inline void wake_all(signal_t *s) { WakeAllConditionVariable(s); }
static inline void yield_core(void) { SwitchToThread(); }
#define THREAD_MAIN DWORD WINAPI
typedef DWORD WINAPI thread_main_fn(void *);
static inline int start_thread(thread_main_fn *run, void *given, size_t stack) {
  const HANDLE thread = CreateThread(NULL, stack, run, given, 0, NULL);
  return thread && CloseHandle(thread);
}
static inline double now(void) {
  LARGE_INTEGER ticks, per_second;
  QueryPerformanceCounter(&ticks);
  QueryPerformanceFrequency(&per_second);
  return (double)ticks.QuadPart / (double)per_second.QuadPart;
}
#else
typedef pthread_mutex_t lock_t;
typedef pthread_cond_t signal_t;
#define LOCK_FREE PTHREAD_MUTEX_INITIALIZER
#define SIGNAL_FREE PTHREAD_COND_INITIALIZER
static inline void lock(lock_t *l) { pthread_mutex_lock(l); }
static inline void unlock(lock_t *l) { pthread_mutex_unlock(l); }
static inline void sleep_until(signal_t *s, lock_t *l) { pthread_cond_wait(s, l); }
static inline void wake_all(signal_t *s) { pthread_cond_broadcast(s); }
static inline void yield_core(void) { sched_yield(); }
#define THREAD_MAIN void *
typedef void *thread_main_fn(void *);
// Returns whether a thread was started; nothing waits for its end.
static inline int start_thread(thread_main_fn *run, void *given, size_t stack) {
  pthread_attr_t kind;
  pthread_t thread;
  pthread_attr_init(&kind);
  pthread_attr_setdetachstate(&kind, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&kind, stack);
  const int failed = pthread_create(&thread, &kind, run, given);
  pthread_attr_destroy(&kind);
  return !failed;
}
static inline double now(void) { // seconds
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
#endif

#ifdef _WIN32
#define long int64_t // what Python's side declares; there long has 32 bits
#endif
