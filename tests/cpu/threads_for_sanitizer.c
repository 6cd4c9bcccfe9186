// GOMP's entry points on plain pthreads, instrumented like the rest: the thread sanitizer cannot see into libgomp, whose
// forks, joins and barriers it would take for races.
#include <pthread.h>
#include <stdlib.h>

typedef struct { void (*work)(void *); void *data; int number; pthread_barrier_t *barrier; } thread;
static __thread thread *self;
static pthread_mutex_t critical = PTHREAD_MUTEX_INITIALIZER;

static void *start(void *argument) {
  self = argument;
  self->work(self->data);
  return NULL;
}
void GOMP_parallel(void (*work)(void *), void *data, unsigned count, unsigned flags) {
  (void)flags;
  thread threads[64];
  pthread_t ids[64];
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, count);
  for (unsigned i = 0; i < count; i++) {
    threads[i] = (thread){work, data, (int)i, &barrier};
    if (pthread_create(&ids[i], NULL, start, &threads[i])) abort();
  }
  for (unsigned i = 0; i < count; i++) pthread_join(ids[i], NULL);
  pthread_barrier_destroy(&barrier);
}
void GOMP_barrier(void) { pthread_barrier_wait(self->barrier); }
void GOMP_critical_start(void) { pthread_mutex_lock(&critical); }
void GOMP_critical_end(void) { pthread_mutex_unlock(&critical); }
int omp_get_thread_num(void) { return self ? self->number : 0; }
