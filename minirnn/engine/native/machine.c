/* A machine for traced cells: it runs the program of one time step over whole sequences.

   A program is a list of instructions on rows of a batch, in stages: matrix products, and strips
   of elementwise instructions. Where each operand lies is a table of slots. The batch is split
   among threads by rows; each takes its rows through all of time, and they meet once, when the
   gradients of the weights are added. schedule.py writes the programs, machine.py calls this. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INL static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define BLOCK_ROWS 32 /* rows that go through a step together */
#define CHUNK 256     /* rows, of several steps, in one product for a weight's gradient */

/* What a slot holds. NEXT_STATE follows its STATE; NEXT_GRAD_STATE follows a place to put rows
   aside, which follows its GRAD_STATE. */
enum {
  X, Y, GRAD_Y, GRAD_X, STATE, NEXT_STATE, GRAD_STATE, ASIDE, NEXT_GRAD_STATE,
  PARAMETER, GRADIENT, KEPT, RINGED, SCRATCH, REGISTER
};
enum { ROWS, BLOCK, LOCAL, RING }; /* how a row is found in a slot */
enum { NONE, VECTOR, THIN, CONST }; /* kinds of operands */
enum {
  ID, ADD, SUB, MUL, DIV, NEG, ABS, SIGN, MAX, MIN, GT, GE, EQ, NE, WHERE, MULADD, SUBMUL, MULREST,
  MULREST2, SIGMOID, TANH, EXP, SQRT, POW, LOG, LOG1P, EXPM1, SIN, COS, ARCTAN,
  FIRST_FOLD, SUM = FIRST_FOLD, ROWMAX, ROWMIN, GATHER, PRODUCT
};

typedef struct { int64_t kind, slot, off; } operand;
typedef struct {
  int64_t op, w; /* w: columns */
  operand d, a, b, c;
  int64_t k, rs, cs; /* of a product: rows of b, and its strides */
} instruction;
typedef struct { int64_t first, end, strip; } stage; /* strip: rows at a time; 0: products */
typedef struct { int64_t kind, width, index; } slot;
typedef struct { int64_t d, d_off, n, a, a_off, k, grad, grad_off, grad_rs; } outer_t;
typedef struct { double value, power; } constant; /* value * batch ** power */

typedef struct {
  instruction *code;
  stage *stages;
  int64_t count, stage_count;
} table;
enum { FORWARD, BACKWARD, BACKWARD_X, TABLES }; /* backward without and with the gradient on x */

typedef struct {
  int64_t itemsize, slot_count, outer_count, constant_count;
  slot *slots;
  table tables[TABLES];
  outer_t *outers;
  constant *constants;
} program;

typedef struct { void *p; int64_t ts, rs, mode; } place; /* distances in numbers, not bytes */

typedef struct job { /* one call, or one thread's rows of it */
  const program *program;
  const struct backend *backend;
  place *places;
  int64_t time, batch, rows, chunk, t0;
  int keep;
  const table *table;
  const char *mask;
  int64_t mask_ts, mask_rs;
  void *constants, *packs, *panel, *clean_x, *clean_grad;
} job;

typedef struct backend { /* the machine for one dtype and instruction set */
  void (*forward)(job *), (*backward)(job *), (*clean)(job *, int64_t, void *);
  void (*add)(void *, const void *, int64_t);
  double (*cross_entropy)(const void *, const int64_t *, const double *, double, int64_t, int64_t,
                          void *);
  void (*affine)(const void *, const void *, int64_t, int64_t, const void *, int64_t, int64_t,
                 int64_t, void *, void *);
  void (*affine_gradients)(const void *, const void *, int64_t, int64_t, int64_t, void *, void *,
                           void *);
  double (*squares)(const void *, int64_t);
  void (*adam)(void *, const void *, void *, void *, int64_t, const double *);
  int64_t panel, vector;
} backend;

/* ------------------------------------------------------------------ one backend each */

#define PASTE(a, b) a##_##b
#define JOIN(a, b) PASTE(a, b)
#define NAME(x) JOIN(x, SUFFIX)

/* The code between ISA_BEGIN and ISA_END may use more than the baseline of the processor. */
#define TEXT(x) _Pragma(#x)
#if defined(__clang__)
#define ISA_BEGIN(isa) \
  TEXT(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define ISA_END TEXT(clang attribute pop)
#else
#define ISA_BEGIN(isa) TEXT(GCC push_options) TEXT(GCC target(isa))
#define ISA_END TEXT(GCC pop_options)
#endif

#if defined(__x86_64__)
#define X86 1
ISA_BEGIN("avx512f,avx512dq,avx512vl,avx512bw,fma")
#define VBYTES 64
#define SUFFIX avx512_float
#define REAL float
#include "kernels.h"
#define SUFFIX avx512_double
#define REAL double
#include "kernels.h"
#undef VBYTES
ISA_END
ISA_BEGIN("avx2,fma")
#define VBYTES 32
#define SUFFIX avx2_float
#define REAL float
#include "kernels.h"
#define SUFFIX avx2_double
#define REAL double
#include "kernels.h"
#undef VBYTES
ISA_END
#endif
#define VBYTES 16
#define SUFFIX baseline_float
#define REAL float
#include "kernels.h"
#define SUFFIX baseline_double
#define REAL double
#include "kernels.h"

typedef struct { const char *name; const backend *of[2]; } instruction_set; /* float, double */
static const instruction_set all_sets[] = {
#ifdef X86
    {"AVX-512", {&backend_avx512_float, &backend_avx512_double}},
    {"AVX2", {&backend_avx2_float, &backend_avx2_double}},
#endif
    {"baseline", {&backend_baseline_float, &backend_baseline_double}},
};
#define SET_COUNT ((int)(sizeof all_sets / sizeof *all_sets))
static int chosen_set = SET_COUNT - 1;
static int poisoned = 0; /* for tests: memory is filled with NaN before it is used */

static int has_set(int i) {
#ifdef X86
  if (i == 0)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("fma");
  if (i == 1) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return i == SET_COUNT - 1;
}

/* ------------------------------------------------------------------ memory */

typedef struct { char *base; size_t used; } arena;

static void *take(arena *a, int64_t numbers, int64_t itemsize) {
  void *p = a->base ? a->base + a->used : NULL;
  a->used += ((size_t)(numbers * itemsize) + 63) & ~(size_t)63;
  return p;
}

/* Lay out the memory of a job: what backward reads in `kept`, all else in `scratch`. With arenas
   that have no base it only counts. */
static void lay_out(job *J, arena *kept, arena *scratch, int back, int own_gradients) {
  const program *P = J->program;
  int64_t size = P->itemsize, B = J->rows, T = J->time;
  int64_t block = B < BLOCK_ROWS ? B : BLOCK_ROWS, NR = J->backend->panel;
  J->chunk = CHUNK / B < 1 ? 1 : CHUNK / B < T ? CHUNK / B : T;
  for (int64_t i = 0; i < P->slot_count; i++) {
    int64_t w = P->slots[i].width;
    place p = {NULL, 0, w, ROWS};
    switch (P->slots[i].kind) {
      case STATE:
        if (J->keep) {
          p.p = take(kept, (T + 1) * B * w, size);
          p.ts = B * w;
        } else {
          p.p = take(scratch, B * w, size);
        }
        break;
      case NEXT_STATE:
        if (J->keep) {
          p = J->places[i - 1];
          if (p.p) p.p = (char *)p.p + B * w * size;
        } else {
          p.p = take(scratch, B * w, size);
        }
        break;
      case KEPT:
        p.p = J->keep ? take(kept, T * B * w, size) : take(scratch, B * w, size);
        p.ts = J->keep ? B * w : 0;
        break;
      case GRAD_STATE: case ASIDE: case NEXT_GRAD_STATE:
        if (back) p.p = take(scratch, B * w, size);
        break;
      case RINGED:
        if (back) p.p = take(scratch, J->chunk * B * w, size);
        p.ts = B * w;
        p.mode = RING;
        break;
      case SCRATCH:
        p.p = take(scratch, block * w, size);
        p.mode = BLOCK;
        break;
      case REGISTER:
        p.p = take(scratch, w, size);
        p.mode = LOCAL;
        break;
      case GRADIENT:
        if (!own_gradients || !back) continue;
        p.p = take(scratch, w, size);
        p.rs = 0;
        break;
      default: continue; /* arrays of the caller */
    }
    J->places[i] = p;
  }
  J->constants = take(scratch, (P->constant_count + 1) * J->backend->vector, size);
  int64_t packed = 0, most = 0, sum = 0;
  const instruction *I = J->table->code;
  for (; I < J->table->code + J->table->count; I++)
    if (I->op == PRODUCT) packed += I->k * ((I->w + NR - 1) / NR) * NR;
  J->packs = B > 1 ? take(scratch, packed, size) : NULL;
  for (int64_t i = 0; back && i < P->outer_count; i++) sum += P->outers[i].k, most = sum;
  if (back) J->panel = take(scratch, J->chunk * B * (NR + most), size);
  if (J->mask) J->clean_x = J->keep ? take(kept, T * B * P->slots[0].width, size)
                                    : take(scratch, T * B * P->slots[0].width, size);
  if (J->mask && back) J->clean_grad = take(scratch, T * B * P->slots[2].width, size);
}

/* ------------------------------------------------------------------ calls from Python */

#define MOST_THREADS 64

static program *program_of(PyObject *capsule) {
  return PyCapsule_GetPointer(capsule, "minirnn.engine.program");
}

static void free_program(PyObject *capsule) {
  program *P = program_of(capsule);
  for (int i = 0; i < TABLES; i++) free(P->tables[i].code), free(P->tables[i].stages);
  free(P->slots);
  free(P->outers);
  free(P->constants);
  free(P);
}

static int copy_table(PyObject *bytes, size_t row, void **to, int64_t *count) {
  char *p;
  Py_ssize_t n;
  if (PyBytes_AsStringAndSize(bytes, &p, &n) < 0) return -1;
  *to = malloc((size_t)n + 1);
  if (!*to) return PyErr_NoMemory(), -1;
  memcpy(*to, p, (size_t)n);
  *count = n / (Py_ssize_t)row;
  return 0;
}

/* compile(itemsize, slots, then instructions and stages of three tables, outers, constants) */
static PyObject *py_compile(PyObject *self, PyObject *args) {
  PyObject *slots, *parts[2 * TABLES], *outers, *constants;
  long long itemsize;
  (void)self;
  if (!PyArg_ParseTuple(args, "LSSSSSSSSS", &itemsize, &slots, &parts[0], &parts[1], &parts[2],
                        &parts[3], &parts[4], &parts[5], &outers, &constants))
    return NULL;
  program *P = calloc(1, sizeof *P);
  if (!P) return PyErr_NoMemory();
  P->itemsize = itemsize;
  PyObject *capsule = PyCapsule_New(P, "minirnn.engine.program", free_program);
  int bad = !capsule ||
            copy_table(slots, sizeof *P->slots, (void **)&P->slots, &P->slot_count) < 0 ||
            copy_table(outers, sizeof *P->outers, (void **)&P->outers, &P->outer_count) < 0 ||
            copy_table(constants, sizeof *P->constants, (void **)&P->constants,
                       &P->constant_count) < 0;
  for (int i = 0; !bad && i < TABLES; i++) {
    table *t = &P->tables[i];
    bad = copy_table(parts[2 * i], sizeof *t->code, (void **)&t->code, &t->count) < 0 ||
          copy_table(parts[2 * i + 1], sizeof *t->stages, (void **)&t->stages, &t->stage_count) < 0;
  }
  if (bad) Py_CLEAR(capsule);
  return capsule;
}

typedef struct { /* arrays of the caller, to be released after the call */
  Py_buffer *views;
  int64_t count, itemsize;
} arrays;

static Py_buffer *view_of(arrays *A, PyObject *array, int flags) {
  Py_buffer *v = &A->views[A->count];
  if (PyObject_GetBuffer(array, v, flags) < 0) return NULL;
  A->count++;
  return v;
}

/* Whether an array is (batch, time, width), or (batch, width) with one step, its rows whole. */
static int fits(const Py_buffer *v, int64_t batch, int64_t time, int64_t width) {
  for (int i = 0; i < v->ndim; i++)
    if (v->strides[i] % v->itemsize) return 0;
  return (v->ndim == 3 || (v->ndim == 2 && time == 1)) && v->shape[0] == batch &&
         (v->ndim == 2 || v->shape[1] == time) && v->shape[v->ndim - 1] == width &&
         (width == 1 || v->strides[v->ndim - 1] == v->itemsize) &&
         (uintptr_t)v->buf % (uintptr_t)v->itemsize == 0;
}

/* Find the rows from `row` on of a batch (batch, time, width) or of one step (batch, width). */
static place batch_place(const arrays *A, const Py_buffer *v, int64_t row, int64_t time,
                         int reverse) {
  int64_t rs = v->strides[0] / A->itemsize, ts = v->ndim == 3 ? v->strides[1] / A->itemsize : 0;
  char *p = (char *)v->buf + row * rs * A->itemsize;
  if (reverse) p += (time - 1) * ts * A->itemsize;
  return (place){p, reverse ? -ts : ts, rs, ROWS};
}

typedef struct { job *job; int back; } task;

static void *work(void *pointer) {
  task *t = pointer;
  (t->back ? t->job->backend->backward : t->job->backend->forward)(t->job);
  return NULL;
}

static void run_all(task *tasks, int count) {
  pthread_t threads[MOST_THREADS];
  int started = 1;
  while (started < count && !pthread_create(&threads[started], NULL, work, &tasks[started]))
    started++;
  work(&tasks[0]);
  for (int i = started; i < count; i++) work(&tasks[i]); /* the system gave no more threads */
  for (int i = 1; i < started; i++) pthread_join(threads[i], NULL);
}

/* forward(program, threads, reverse, x, mask, y, states, finals, parameters, kept)
   backward(program, threads, reverse, x, mask, grad_y, grad_x, grad_states, firsts, parameters,
            gradients, kept): arrays of the shapes that Runner names, tuples of them, or None. */
static PyObject *run(PyObject *const *args, int back) {
  program *P = program_of(args[0]);
  if (!P) return NULL;
  int threads = (int)PyLong_AsLong(args[1]), reverse = PyObject_IsTrue(args[2]);
  PyObject *mask = args[4], *y = args[5], *grad_x = back ? args[6] : Py_None;
  PyObject *states = args[6 + back], *ends = args[7 + back], *parameters = args[8 + back];
  PyObject *gradients = back ? args[10] : NULL, *memory = args[9 + 2 * back];
  if (states != Py_None && PyTuple_GET_SIZE(states) != PyTuple_GET_SIZE(ends))
    return PyErr_SetString(PyExc_ValueError, "a state of another length"), NULL;
  int64_t count = 5 + PyTuple_GET_SIZE(ends) * 2 + PyTuple_GET_SIZE(parameters) * 2;
  arrays A = {PyMem_Calloc((size_t)count, sizeof(Py_buffer)), 0, P->itemsize};
  PyObject *result = NULL;
  char *block = NULL;
  Py_buffer *vx, *vy, *vg = NULL, *vm = NULL, *vk = NULL;
  Py_buffer **vs = PyMem_Calloc((size_t)count, sizeof *vs), **ve = vs + PyTuple_GET_SIZE(ends);
  Py_buffer **vp = ve + PyTuple_GET_SIZE(ends), **vd = vp + PyTuple_GET_SIZE(parameters);
  if (!A.views || !vs) {
    PyErr_NoMemory();
    goto done;
  }
  if (!(vx = view_of(&A, args[3], PyBUF_STRIDES)) || !(vy = view_of(&A, y, PyBUF_STRIDES))) goto done;
  if (mask != Py_None && !(vm = view_of(&A, mask, PyBUF_STRIDES))) goto done;
  if (grad_x != Py_None && !(vg = view_of(&A, grad_x, PyBUF_STRIDES))) goto done;
  if (memory != Py_None && !(vk = view_of(&A, memory, PyBUF_SIMPLE))) goto done;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(ends); i++) {
    if (states != Py_None && !(vs[i] = view_of(&A, PyTuple_GET_ITEM(states, i), PyBUF_STRIDES)))
      goto done;
    if (!(ve[i] = view_of(&A, PyTuple_GET_ITEM(ends, i), PyBUF_STRIDES))) goto done;
  }
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(parameters); i++) {
    if (!(vp[i] = view_of(&A, PyTuple_GET_ITEM(parameters, i), PyBUF_C_CONTIGUOUS))) goto done;
    if (back && i < PyTuple_GET_SIZE(gradients) &&
        !(vd[i] = view_of(&A, PyTuple_GET_ITEM(gradients, i), PyBUF_C_CONTIGUOUS)))
      goto done;
  }
  int64_t batch = vx->shape[0], time = vx->ndim == 3 ? vx->shape[1] : 1;
  int right = fits(vx, batch, time, P->slots[X].width) &&
              fits(vy, batch, time, P->slots[back ? GRAD_Y : Y].width) &&
              (!vg || fits(vg, batch, time, P->slots[GRAD_X].width)) &&
              (!vm || (vm->ndim == 2 && vm->shape[0] == batch && vm->shape[1] == time));
  for (int64_t i = 0; i < P->slot_count; i++) {
    const slot *s = &P->slots[i];
    if (s->kind == (back ? GRAD_STATE : STATE))
      right = right && (!vs[s->index] || fits(vs[s->index], batch, 1, s->width)) &&
              fits(ve[s->index], batch, 1, s->width);
    if (s->kind == PARAMETER) right = right && vp[s->index]->len == s->width * P->itemsize;
    if (s->kind == GRADIENT && back) right = right && vd[s->index]->len == s->width * P->itemsize;
  }
  if (!right) {
    PyErr_SetString(PyExc_ValueError, "an array of another shape or dtype than the program's");
    goto done;
  }
  if (threads > batch) threads = (int)batch;
  if (threads > MOST_THREADS) threads = MOST_THREADS;
  job jobs[MOST_THREADS];
  task tasks[MOST_THREADS];
  place *places;
  size_t table = (size_t)P->slot_count * sizeof(place);
  arena kept = {vk ? vk->buf : NULL, 0}, counted = {NULL, 0}, scratch = {NULL, 0};
  const backend *machine = all_sets[chosen_set].of[P->itemsize == 8];
  places = calloc((size_t)threads, table);
  if (!places) {
    PyErr_NoMemory();
    goto done;
  }
  for (int pass = 0; pass < 2; pass++) { /* count, then lay out */
    for (int k = 0; k < threads; k++) {
      int64_t row = batch * k / threads;
      job *J = &jobs[k];
      *J = (job){.program = P, .backend = machine, .time = time, .batch = batch, .keep = vk != NULL,
                 .rows = batch * (k + 1) / threads - row, .table = &P->tables[!back ? FORWARD : vg ? BACKWARD_X : BACKWARD]};
      J->places = (place *)((char *)places + (size_t)k * table);
      if (vm) {
        J->mask_rs = vm->strides[0];
        J->mask_ts = vm->strides[1] * (reverse ? -1 : 1);
        J->mask = (char *)vm->buf + row * vm->strides[0] + (reverse ? (time - 1) * vm->strides[1] : 0);
      }
      lay_out(J, pass ? &kept : &counted, &scratch, back, k > 0);
      tasks[k] = (task){J, back};
      for (int64_t i = 0; i < P->slot_count; i++) {
        const slot *s = &P->slots[i];
        place *p = &J->places[i];
        switch (s->kind) {
          case X: *p = batch_place(&A, vx, row, time, reverse); break;
          case Y: if (!back) *p = batch_place(&A, vy, row, time, reverse); break;
          case GRAD_Y: if (back) *p = batch_place(&A, vy, row, time, reverse); break;
          case GRAD_X: if (vg) *p = batch_place(&A, vg, row, time, reverse); break;
          case PARAMETER: *p = (place){vp[s->index]->buf, 0, 0, ROWS}; break;
          case GRADIENT: if (back && k == 0) *p = (place){vd[s->index]->buf, 0, 0, ROWS}; break;
        }
      }
    }
    if (pass) break;
    if (vk && (size_t)vk->len < counted.used) {
      PyErr_SetString(PyExc_RuntimeError, "the memory kept for backward is too small");
      free(places);
      goto done;
    }
    block = malloc(scratch.used + 64);
    if (!block) {
      PyErr_NoMemory();
      free(places);
      goto done;
    }
    if (poisoned) {
      memset(block, 0xff, scratch.used + 64);
      if (vk && !back) memset(vk->buf, 0xff, counted.used);
    }
    scratch = (arena){(char *)(((uintptr_t)block + 63) & ~(uintptr_t)63), 0};
  }
  Py_BEGIN_ALLOW_THREADS
  for (int k = 0; k < threads; k++) {
    job *J = &jobs[k];
    int64_t row = batch * k / threads;
    for (int64_t i = 0; i < P->slot_count; i++) {
      const slot *s = &P->slots[i];
      place *p = &J->places[i];
      if (s->kind == GRADIENT && back && k) memset(p->p, 0, (size_t)(s->width * P->itemsize));
      if (s->kind != (back ? GRAD_STATE : STATE)) continue;
      size_t bytes = (size_t)(s->width * P->itemsize);
      for (int64_t r = 0; r < J->rows; r++) {
        char *to = (char *)p->p + (size_t)r * bytes;
        if (vs[s->index])
          memcpy(to, (char *)vs[s->index]->buf + (row + r) * vs[s->index]->strides[0], bytes);
        else
          memset(to, 0, bytes);
      }
    }
    if (J->mask && !back) machine->clean(J, 0, J->clean_x);
    if (J->mask && back) {
      J->places[0] = (place){J->clean_x, J->rows * P->slots[0].width, P->slots[0].width, ROWS};
      machine->clean(J, 2, J->clean_grad);
    }
  }
  run_all(tasks, threads);
  for (int k = 0; k < threads; k++) {
    int64_t row = batch * k / threads;
    for (int64_t i = 0; i < P->slot_count; i++) {
      const slot *s = &P->slots[i];
      const place *p = &jobs[k].places[i];
      if (s->kind == GRADIENT && back && k) machine->add(jobs[0].places[i].p, p->p, s->width);
      if (s->kind != (back ? GRAD_STATE : STATE)) continue;
      size_t bytes = (size_t)(s->width * P->itemsize);
      const char *from = (char *)p->p + (back ? 0 : time * p->ts * P->itemsize);
      memcpy((char *)ve[s->index]->buf + (size_t)row * bytes, from, (size_t)jobs[k].rows * bytes);
    }
  }
  Py_END_ALLOW_THREADS
  free(places);
  result = Py_NewRef(Py_None);
done:
  for (int64_t i = 0; i < A.count; i++) PyBuffer_Release(&A.views[i]);
  PyMem_Free(A.views);
  PyMem_Free(vs);
  free(block);
  return result;
}

static PyObject *py_forward(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 10) return PyErr_SetString(PyExc_TypeError, "forward takes 10 arguments"), NULL;
  return run(args, 0);
}

static PyObject *py_backward(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 12) return PyErr_SetString(PyExc_TypeError, "backward takes 12 arguments"), NULL;
  return run(args, 1);
}

/* kept_bytes(program, batch, time, threads, masked): the memory that backward will need. */
static PyObject *py_kept_bytes(PyObject *self, PyObject *args) {
  PyObject *capsule;
  long long batch, time, threads;
  int masked;
  (void)self;
  if (!PyArg_ParseTuple(args, "OLLLp", &capsule, &batch, &time, &threads, &masked)) return NULL;
  program *P = program_of(capsule);
  if (!P) return NULL;
  place *places = calloc((size_t)P->slot_count, sizeof *places);
  if (!places) return PyErr_NoMemory();
  arena kept = {NULL, 0}, scratch = {NULL, 0};
  if (threads > batch) threads = batch;
  if (threads > MOST_THREADS) threads = MOST_THREADS;
  for (long long k = 0; k < threads; k++) {
    job J = {.program = P, .places = places, .time = time, .batch = batch, .keep = 1,
             .table = &P->tables[FORWARD],
             .rows = batch * (k + 1) / threads - batch * k / threads,
             .mask = masked ? "" : NULL, .backend = all_sets[chosen_set].of[P->itemsize == 8]};
    lay_out(&J, &kept, &scratch, 0, 0);
  }
  free(places);
  return PyLong_FromSize_t(kept.used + 64);
}

/* holds(dict, values): whether the values of a dictionary are these very objects, in this order. */
static PyObject *py_holds(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  PyObject *value;
  Py_ssize_t at = 0, k = 0;
  (void)self;
  if (n != 2 || !PyDict_Check(args[0]) || !PyTuple_Check(args[1]))
    return PyErr_SetString(PyExc_TypeError, "holds takes a dictionary and a tuple"), NULL;
  if (PyDict_GET_SIZE(args[0]) != PyTuple_GET_SIZE(args[1])) Py_RETURN_FALSE;
  while (PyDict_Next(args[0], &at, NULL, &value))
    if (value != PyTuple_GET_ITEM(args[1], k++)) Py_RETURN_FALSE;
  Py_RETURN_TRUE;
}

#include "step_calls.h"

static PyObject *py_instruction_sets(PyObject *self, PyObject *unused) {
  PyObject *names = PyList_New(0);
  (void)self, (void)unused;
  for (int i = 0; names && i < SET_COUNT; i++) {
    if (!has_set(i)) continue;
    PyObject *name = PyUnicode_FromString(all_sets[i].name);
    if (!name || PyList_Append(names, name) < 0) Py_CLEAR(names);
    Py_XDECREF(name);
  }
  return names;
}

static PyObject *py_instruction_set(PyObject *self, PyObject *args) {
  const char *name = NULL;
  (void)self;
  if (!PyArg_ParseTuple(args, "|s", &name)) return NULL;
  for (int i = 0; name && i < SET_COUNT; i++)
    if (has_set(i) && !strcmp(name, all_sets[i].name)) chosen_set = i, name = NULL;
  if (name) return PyErr_Format(PyExc_ValueError, "this processor has no %s", name);
  return PyUnicode_FromString(all_sets[chosen_set].name);
}

static PyObject *py_poison(PyObject *self, PyObject *on) {
  (void)self;
  poisoned = PyObject_IsTrue(on);
  Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"compile", py_compile, METH_VARARGS, "Return a program from its tables."},
    {"forward", (PyCFunction)(void (*)(void))py_forward, METH_FASTCALL, "Run forward."},
    {"backward", (PyCFunction)(void (*)(void))py_backward, METH_FASTCALL, "Run backward."},
    {"kept_bytes", py_kept_bytes, METH_VARARGS, "Return the bytes that forward keeps."},
    {"holds", (PyCFunction)(void (*)(void))py_holds, METH_FASTCALL, "Compare a dictionary."},
    {"cross_entropy", (PyCFunction)(void (*)(void))py_cross_entropy, METH_FASTCALL, "And gradient."},
    {"affine", (PyCFunction)(void (*)(void))py_affine, METH_FASTCALL, "Run a Dense forward."},
    {"affine_backward", (PyCFunction)(void (*)(void))py_affine_backward, METH_FASTCALL, "And back."},
    {"squares", py_squares, METH_O, "Return the sum of squares."},
    {"adam", (PyCFunction)(void (*)(void))py_adam, METH_FASTCALL, "Take a step of Adam."},
    {"instruction_sets", py_instruction_sets, METH_NOARGS, "Return those of this processor."},
    {"instruction_set", py_instruction_set, METH_VARARGS, "Return the one in use, or set it."},
    {"poison", py_poison, METH_O, "Fill memory with NaN before it is used, for tests."},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_native", "The machine for traced cells.", -1, methods,
    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) {
#ifdef X86
  __builtin_cpu_init();
#endif
  for (int i = SET_COUNT - 1; i >= 0; i--)
    if (has_set(i)) chosen_set = i;
  return PyModule_Create(&module);
}
