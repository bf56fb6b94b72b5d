/* POSIX threads: a mutex, a condition variable, atomics, thread-local storage. Prints one line; 0 if all is right. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { THREADS = 8, TURNS = 5000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static long guarded, turn;
static atomic_long counted;
static _Thread_local long own;

static void *work(void *argument) {
  long number = (long)argument;
  for (int i = 0; i < TURNS; i++) {
    own += number;
    counted++;
    pthread_mutex_lock(&mutex);
    guarded++;
    pthread_mutex_unlock(&mutex);
  }
  /* One after another, in the order of their numbers. */
  pthread_mutex_lock(&mutex);
  while (turn != number) pthread_cond_wait(&turned, &mutex);
  turn++;
  pthread_cond_broadcast(&turned);
  pthread_mutex_unlock(&mutex);
  return (void *)own;
}

int main(void) {
  pthread_t threads[THREADS];
  long sum = 0;
  for (long i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], 0, work, (void *)i)) return 1;
  for (int i = 0; i < THREADS; i++) {
    void *result;
    pthread_join(threads[i], &result);
    sum += (long)result;
  }
  printf("%ld %ld %ld %ld\n", guarded, (long)counted, turn, sum);
  return guarded == THREADS * TURNS ? 0 : 1;
}
