/* Threads that share the parts of some work.

   The caller and the threads of the pool take one part after the other, so who has time does more;
   on a busy machine, where no thread of the pool gets a processor, the caller does them all. What
   the parts are does not depend on who does them, nor does any result. A thread without work looks
   out for more for a moment, since in a training step it comes soon, and then sleeps; at once where
   others want its processor. A second thread of Python that brings work meanwhile does all of that
   itself. */

#define MOST_THREADS 64
#define MOMENT 1500000    /* nanoseconds without work, until a thread sleeps */
#define BUSY 50000        /* and in which others had its processor: then it sleeps at once */
#define LEAST_WORK 400000 /* multiplications in a part, or as much: some 10 us, for what costs 2 */

typedef void work_t(void *what, int part);

static struct {
  pthread_mutex_t caller, lock; /* who has brought the work; for all below */
  pthread_cond_t brought, finished;
  int threads, asleep;
  work_t *work;
  void *what;
  _Atomic int parts, taken, done;
} pool = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER,
          PTHREAD_COND_INITIALIZER, 0, 0, NULL, NULL, 0, 0, 0};

static int64_t nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * (int64_t)1000000000 + t.tv_nsec;
}

/* Let others have the processor; return whether to look out for more, which has begun before. */
static int look_out(int64_t *begun) {
  int64_t before = nanoseconds();
  if (!*begun) *begun = before;
  sched_yield();
  int64_t now = nanoseconds();
  return now - before < BUSY && now - *begun < MOMENT;
}

/* Do what parts are left; the lock is held before and after, not meanwhile. */
static void take_parts(void) {
  while (pool.taken < pool.parts) {
    work_t *work = pool.work;
    void *what = pool.what;
    int part = pool.taken++;
    pthread_mutex_unlock(&pool.lock);
    work(what, part);
    pthread_mutex_lock(&pool.lock);
    if (++pool.done == pool.parts) pthread_cond_signal(&pool.finished);
  }
}

static void *serve(void *unused) {
  pthread_mutex_lock(&pool.lock);
  for (;;) {
    take_parts();
    pthread_mutex_unlock(&pool.lock);
    for (int64_t begun = 0; pool.taken >= pool.parts && look_out(&begun);) {}
    pthread_mutex_lock(&pool.lock);
    pool.asleep++;
    while (pool.taken >= pool.parts) pthread_cond_wait(&pool.brought, &pool.lock);
    pool.asleep--;
  }
  return unused;
}

static int start_thread(void) {
  pthread_t thread;
  sigset_t all, before; /* signals are for the threads of Python */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failed = pthread_create(&thread, NULL, serve, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return !failed && !pthread_detach(thread);
}

/* Call work(what, part) for each part, and return when all is done. */
static void share(work_t *work, void *what, int parts) {
  if (parts == 1 || pthread_mutex_trylock(&pool.caller)) {
    for (int part = 0; part < parts; part++) work(what, part);
    return;
  }
  pthread_mutex_lock(&pool.lock);
  while (pool.threads < parts - 1 && start_thread()) pool.threads++;
  pool.work = work, pool.what = what;
  pool.taken = 0;
  pool.done = 0;
  pool.parts = parts;
  if (pool.asleep) pthread_cond_broadcast(&pool.brought);
  take_parts();
  pthread_mutex_unlock(&pool.lock);
  for (int64_t begun = 0; pool.done < parts && look_out(&begun);) {}
  pthread_mutex_lock(&pool.lock);
  while (pool.done < parts) pthread_cond_wait(&pool.finished, &pool.lock);
  pthread_mutex_unlock(&pool.lock);
  pthread_mutex_unlock(&pool.caller);
}

/* How many parts some work is worth, `most` at most. */
static int parts_of(double threads, int64_t work, int64_t most) {
  int64_t parts = work / LEAST_WORK < most ? work / LEAST_WORK : most;
  if (parts > MOST_THREADS) parts = MOST_THREADS;
  return parts < 1 ? 1 : parts < threads ? (int)parts : (int)threads;
}

/* Where a part of n numbers begins. */
static int64_t begin_of(int64_t n, int part, int parts) { return n * part / parts; }

static void forget_threads(void) { /* the child of a fork has none of them */
  pool.threads = pool.asleep = 0;
  pool.parts = 0;
  pthread_mutex_init(&pool.caller, NULL);
  pthread_mutex_init(&pool.lock, NULL);
  pthread_cond_init(&pool.brought, NULL);
  pthread_cond_init(&pool.finished, NULL);
}
