/* A machine for traced cells: it runs the program of one time step over whole sequences.

   A program is a list of instructions on rows of a batch, in stages: matrix products, and strips
   of elementwise instructions. Where each operand lies is a table of slots. The batch is split
   among threads by rows; each takes its rows through all of time, and they meet once, when the
   gradients of the weights are added. schedule.py writes the programs, machine.py calls this.

   threads.h has the threads, kernels.h the arithmetic, step.h the rest of a training step,
   step_calls.h what Python calls of that, and stream.h a step of a whole model. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INL static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define BLOCK_ROWS 32 /* rows that go through a step, or a Dense, together */
#define CHUNK 256     /* rows, of several steps, in one product for a weight's gradient */

#include "threads.h"

/* The first slots are the arrays of a call: X to MASK, then n states, the n next ones, as many
   gradients on either, and all parameters and gradients. Behind them stands what a step computes. */
enum { X, Y, GRAD_Y, GRAD_X, MASK, FIRST_STATE };
enum { /* what a slot holds */
  BATCH, STATE, NEXT_STATE, GRAD_STATE, NEXT_GRAD_STATE, PARAMETER, GRADIENT,
  KEPT, RINGED, SCRATCH, REGISTER
};
enum { ROWS, OF_BLOCK, LOCAL, RING }; /* how a row is found in a slot */
enum { NONE, VECTOR, THIN, CONST }; /* kinds of operands */
enum {
  ID, ADD, SUB, MUL, DIV, NEG, ABS, SIGN, MAX, MIN, GT, GE, EQ, NE, WHERE, MULADD, SUBMUL, MULREST,
  MULREST2, MULMULREST, SIGMOID, TANH, EXP, SQRT, POW, LOG, LOG1P, EXPM1, SIN, COS, ARCTAN,
  FIRST_FOLD, SUM = FIRST_FOLD, ROWMAX, ROWMIN, GATHER, PRODUCT
};

typedef struct { int64_t kind, slot, off; } operand;
typedef struct {
  int64_t op, w; /* w: columns */
  operand d, a, b, c;
  int64_t k, rs, cs; /* of a product: rows of b, and its strides */
} instruction;
typedef struct { int64_t first, end, strip; } stage; /* strip: rows at a time; 0: products */
typedef struct { int64_t kind, width; } slot;
typedef struct { int64_t d, d_off, n, a, a_off, k, grad, grad_off, grad_rs; } outer_t;
typedef struct { double value, power; } constant; /* value * batch ** power */

typedef struct {
  const instruction *code;
  const stage *stages;
  int64_t count, stage_count;
} table;
enum { FORWARD, BACKWARD, BACKWARD_X, TABLES }; /* backward without and with the gradient on x */

typedef struct { void *p; int64_t ts, rs, mode; } place; /* distances in numbers, not bytes */

typedef struct job { /* one call, or one thread's rows of it */
  const struct program *program;
  const struct backend *backend;
  place *places;
  int64_t time, batch, rows, chunk, t0;
  int keep, back, masked;
  const table *table;
  void *constants, *packs, *panel;
  void *held, *copies; /* the states of masked rows; what is given, with zeros in them */
} job;

typedef struct backend { /* the machine for one dtype and instruction set */
  void (*forward)(job *), (*backward)(job *), (*add)(void *, const void *, int64_t);
  void (*pack)(const void *, int64_t, int64_t, int64_t, int64_t, void *);
  work_t *cross_entropy, *affine, *affine_back, *squares, *adam;
  int64_t panel, vector;
} backend;

typedef struct { /* a call of step_calls.h: its arguments, and what its parts share */
  Py_buffer v[8]; /* arrays in the order of the arguments; no obj: None */
  double numbers[9], sums[MOST_THREADS], sum, weight, *factors; /* numbers: by their place */
  int count, parts;
  int64_t rows, K, N;
  size_t panel_size;
  void *room, *panels;
  const backend *machine;
} call_t;

typedef struct { job *jobs; char *block; } layout; /* jobs and their places; their memory */

typedef struct program {
  int64_t itemsize, state_count, parameter_count, slot_count, outer_count, constant_count;
  const slot *slots;
  table tables[TABLES];
  const outer_t *outers;
  const constant *constants;
  PyObject *bytes;
  layout step; /* of one step of one row, once that has been asked for */
  int64_t weights; /* numbers in the parameters */
} program;

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

#ifdef __x86_64__
#ifndef WIDE /* what vectors of 64 bytes need; scripts/sanitize tries them with less */
#define WIDE "avx512f,avx512dq,avx512vl,avx512bw,fma"
#define HAS_WIDE                                                                   \
  (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&     \
   __builtin_cpu_supports("avx512bw") && has_set(1)) /* all of them have avx512f */
#endif
ISA_BEGIN(WIDE)
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
#ifdef __x86_64__
    {"AVX-512", {&backend_avx512_float, &backend_avx512_double}},
    {"AVX2", {&backend_avx2_float, &backend_avx2_double}},
#endif
    {"baseline", {&backend_baseline_float, &backend_baseline_double}},
};
#define SET_COUNT ((int)(sizeof all_sets / sizeof *all_sets))
static int chosen_set = SET_COUNT - 1;
static int poisoned = 0; /* for tests: memory is filled with NaN first, little work is shared too */

static int has_set(int i) {
#ifdef __x86_64__
  if (i == 0) return HAS_WIDE;
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
static void lay_out(job *J, arena *kept, arena *scratch, int own_gradients) {
  const program *P = J->program;
  int64_t size = P->itemsize, B = J->rows, T = J->time, panel = J->backend->panel;
  arena *lasting = J->keep ? kept : scratch;
  J->chunk = CHUNK / B < 1 ? 1 : CHUNK / B < T ? CHUNK / B : T;
  for (int64_t i = 0; i < P->slot_count; i++) {
    int64_t w = P->slots[i].width;
    place *p = &J->places[i];
    *p = (place){NULL, 0, w, ROWS};
    switch (P->slots[i].kind) {
      case STATE:
        p->ts = J->keep ? B * w : 0;
        p->p = take(lasting, (J->keep ? T + 1 : 1) * B * w, size);
        break;
      case NEXT_STATE: /* the state of the next step, where all are kept */
        if (J->keep) *p = J->places[i - P->state_count], p->p = (char *)p->p + B * w * size;
        else p->p = take(scratch, B * w, size);
        break;
      case KEPT:
        p->ts = J->keep ? B * w : 0;
        p->p = take(lasting, (J->keep ? T : 1) * B * w, size);
        break;
      case GRAD_STATE: case NEXT_GRAD_STATE:
        if (J->back) p->p = take(scratch, B * w, size);
        break;
      case RINGED:
        *p = (place){J->back ? take(scratch, J->chunk * B * w, size) : NULL, B * w, w, RING};
        break;
      case SCRATCH:
        *p = (place){take(scratch, (B < BLOCK_ROWS ? B : BLOCK_ROWS) * w, size), 0, w, OF_BLOCK};
        break;
      case REGISTER: *p = (place){take(scratch, w, size), 0, w, LOCAL}; break;
      case GRADIENT: if (own_gradients) *p = (place){take(scratch, w, size), 0, 0, ROWS};
    }
  }
  J->constants = take(scratch, (P->constant_count + 1) * J->backend->vector, size);
  int64_t packed = 0, most = 0, states = 0;
  const instruction *I = J->table->code;
  for (; I < J->table->code + J->table->count; I++)
    if (I->op == PRODUCT) packed += I->k * ((I->w + panel - 1) / panel) * panel;
  for (int64_t i = 0; i < P->state_count; i++) states += P->slots[FIRST_STATE + i].width;
  if (J->masked) {
    J->held = take(scratch, B * states, size);
    int64_t given = P->slots[X].width + (J->back ? P->slots[GRAD_Y].width : 0);
    J->copies = take(scratch, T * B * given, size);
  }
  J->packs = B > 1 ? take(scratch, packed, size) : NULL;
  for (int64_t i = 0; i < P->outer_count; i++) most += P->outers[i].k;
  if (J->back) J->panel = take(scratch, J->chunk * B * (panel + most), size);
}

/* ------------------------------------------------------------------ calls from Python */

#define SMALL (1 << 20) /* numbers in the parameters of what is done without giving up the GIL */

static PyObject *value_name, *grad_name;

static char *align(void *p) { return (char *)(((uintptr_t)p + 63) & ~(uintptr_t)63); }

static void free_layout(layout *L) {
  free(L->jobs), free(L->block);
  *L = (layout){NULL, NULL};
}

static program *program_of(PyObject *capsule) {
  return PyCapsule_GetPointer(capsule, "minirnn.engine.program");
}

static void free_program(PyObject *capsule) {
  program *P = program_of(capsule);
  Py_XDECREF(P->bytes), free_layout(&P->step), free(P);
}

static const void *rows_of(PyObject *bytes, int which, size_t row, int64_t *count) {
  char *p = NULL;
  Py_ssize_t n = 0;
  PyObject *one = PyTuple_GetItem(bytes, which);
  if (one && !PyBytes_AsStringAndSize(one, &p, &n)) *count = n / (Py_ssize_t)row;
  return p;
}

/* compile(itemsize, states, parameters, bytes): of the slots, outers and constants, and of the
   instructions and stages of three tables. */
static PyObject *py_compile(PyObject *self, PyObject *args) {
  PyObject *bytes;
  long long itemsize, states, parameters;
  (void)self;
  if (!PyArg_ParseTuple(args, "LLLO!", &itemsize, &states, &parameters, &PyTuple_Type, &bytes))
    return NULL;
  program *P = calloc(1, sizeof *P);
  if (!P) return PyErr_NoMemory();
  PyObject *capsule = PyCapsule_New(P, "minirnn.engine.program", free_program);
  P->itemsize = itemsize, P->state_count = states, P->parameter_count = parameters;
  P->bytes = Py_NewRef(bytes); /* which everything below is a part of */
  P->slots = rows_of(bytes, 0, sizeof(slot), &P->slot_count);
  P->outers = rows_of(bytes, 1, sizeof(outer_t), &P->outer_count);
  P->constants = rows_of(bytes, 2, sizeof(constant), &P->constant_count);
  for (int i = 0; i < TABLES; i++) {
    table *t = &P->tables[i];
    t->code = rows_of(bytes, 3 + 2 * i, sizeof(instruction), &t->count);
    t->stages = rows_of(bytes, 4 + 2 * i, sizeof(stage), &t->stage_count);
  }
  for (int64_t i = 0; i < P->slot_count; i++)
    if (P->slots[i].kind == PARAMETER) P->weights += P->slots[i].width;
  if (PyErr_Occurred()) Py_CLEAR(capsule);
  return capsule;
}

typedef struct { /* a call, and the arrays of the caller by their slots */
  program *P;
  Py_buffer *views;
  int64_t count, batch, time;
  int threads, reverse, back;
} call;

/* Whether an array is what a slot asks for: (batch, time, width), or (batch, width) with one step,
   its rows whole; of a parameter only the size counts. A mask is booleans (batch, time). */
static int fits(const call *c, const Py_buffer *v, const slot *s) {
  int64_t time = s->kind == BATCH ? c->time : 1;
  if (s == &c->P->slots[MASK])
    return v->itemsize == 1 && v->ndim == 2 && v->shape[0] == c->batch && v->shape[1] == time;
  if (v->itemsize != c->P->itemsize) return 0;
  if (s->kind >= PARAMETER) return v->len == s->width * v->itemsize;
  for (int i = 0; i < v->ndim; i++)
    if (v->strides[i] % v->itemsize) return 0;
  return (v->ndim == 3 || (v->ndim == 2 && time == 1)) && v->shape[0] == c->batch &&
         (v->ndim == 2 || v->shape[1] == time) && v->shape[v->ndim - 1] == s->width &&
         (s->width == 1 || v->strides[v->ndim - 1] == v->itemsize) &&
         (uintptr_t)v->buf % (uintptr_t)v->itemsize == 0;
}

/* Take hold of all arrays. */
static int collect(call *c, PyObject *arrays, PyObject *parameters) {
  int64_t n = PyTuple_GET_SIZE(arrays), p = PyTuple_GET_SIZE(parameters);
  int64_t first = FIRST_STATE + 4 * c->P->state_count;
  c->back = n > GRAD_Y && PyTuple_GET_ITEM(arrays, GRAD_Y) != Py_None;
  int right = n == (c->back ? first : FIRST_STATE + 2 * c->P->state_count);
  c->count = first + 2 * p;
  c->views = PyMem_Calloc((size_t)c->count, sizeof *c->views);
  if (!c->views) return PyErr_NoMemory(), 0;
  for (int64_t i = 0; right && i < n; i++)
    if (PyTuple_GET_ITEM(arrays, i) != Py_None &&
        PyObject_GetBuffer(PyTuple_GET_ITEM(arrays, i), &c->views[i], PyBUF_STRIDES) < 0)
      return 0;
  for (int64_t i = 0; i < (c->back ? 2 * p : p); i++) {
    PyObject *array = PyObject_GetAttr(PyTuple_GET_ITEM(parameters, i % p), i < p ? value_name : grad_name);
    int failed = !array || PyObject_GetBuffer(array, &c->views[first + i], PyBUF_C_CONTIGUOUS) < 0;
    Py_XDECREF(array); /* the view has its own reference */
    if (failed) return 0;
  }
  right = right && p == c->P->parameter_count && c->views[X].obj && c->views[X].ndim > 1;
  if (right) {
    c->batch = c->views[X].shape[0];
    c->time = c->views[X].ndim == 3 ? c->views[X].shape[1] : 1;
  }
  for (int64_t i = 0; right && i < c->count; i++) {
    const slot *s = &c->P->slots[i];
    int needed = i == X || (i == Y && !c->back) || s->kind == (c->back ? NEXT_GRAD_STATE : NEXT_STATE);
    right = c->views[i].obj ? fits(c, &c->views[i], s) : !needed;
  }
  if (!right) PyErr_SetString(PyExc_ValueError, "an array of another shape or dtype than the program's");
  return right;
}

/* Tell a job where the arrays of its rows are, and copy the states that it begins with. */
static void bind(const call *c, job *J, int64_t row) {
  for (int64_t i = 0; i < c->count; i++) {
    const slot *s = &c->P->slots[i];
    const Py_buffer *v = &c->views[i];
    place *p = &J->places[i];
    size_t bytes = (size_t)(s->width * c->P->itemsize);
    if (s->kind == (c->back ? GRAD_STATE : STATE)) {
      if (!v->obj) memset(p->p, 0, bytes * (size_t)J->rows);
      for (int64_t r = 0; v->obj && r < J->rows; r++)
        memcpy((char *)p->p + (size_t)r * bytes, (char *)v->buf + (row + r) * v->strides[0], bytes);
    } else if (s->kind == BATCH && v->obj) {
      int64_t ts = v->ndim == 3 || i == MASK ? v->strides[1] : 0;
      p->p = (char *)v->buf + row * v->strides[0] + (c->reverse ? (c->time - 1) * ts : 0);
      p->ts = (c->reverse ? -ts : ts) / v->itemsize;
      p->rs = v->strides[0] / v->itemsize;
    } else if (s->kind == GRADIENT && p->p && row) {
      memset(p->p, 0, bytes); /* of this job alone, to be added to the first one's */
    } else if (s->kind >= PARAMETER) {
      *p = (place){v->buf, 0, 0, ROWS};
    }
  }
}

/* Hand out the states that a job ends with; add its gradients to those of the first. */
static void finish(const call *c, const job *J, const job *first, int64_t row) {
  for (int64_t i = 0; i < c->count; i++) {
    const slot *s = &c->P->slots[i];
    const place *p = &J->places[i];
    if (s->kind == GRADIENT && c->back && row) J->backend->add(first->places[i].p, p->p, s->width);
    if (s->kind != (c->back ? GRAD_STATE : STATE)) continue;
    size_t bytes = (size_t)(s->width * c->P->itemsize);
    const char *from = (char *)p->p + (c->back ? 0 : c->time * p->ts * c->P->itemsize);
    char *to = (char *)c->views[i + c->P->state_count].buf + (size_t)row * bytes;
    memcpy(to, from, (size_t)J->rows * bytes);
  }
}

static void run_job(void *jobs, int k) {
  job *J = (job *)jobs + k;
  (J->back ? J->backend->backward : J->backend->forward)(J);
}

/* Share the rows among jobs and lay out their memory. Returns 0 with an error; with `needed` bytes
   if the memory for what is kept has fewer. */
static int lay_out_all(const call *c, layout *L, const Py_buffer *memory, size_t *needed) {
  L->jobs = calloc((size_t)c->threads, sizeof(job) + (size_t)c->P->slot_count * sizeof(place));
  if (!L->jobs) return PyErr_NoMemory(), 0;
  arena kept = {NULL, 0}, scratch = {NULL, 0};
  for (int pass = 0; pass < 2; pass++) { /* count, then lay out */
    for (int k = 0; k < c->threads; k++) {
      int64_t row = begin_of(c->batch, k, c->threads), end = begin_of(c->batch, k + 1, c->threads);
      L->jobs[k] = (job){
          .program = c->P, .backend = all_sets[chosen_set].of[c->P->itemsize == 8],
          .places = (place *)(L->jobs + c->threads) + k * c->P->slot_count, .time = c->time,
          .batch = c->batch, .rows = end - row, .keep = memory->obj != NULL, .back = c->back,
          .masked = c->views[MASK].obj != NULL,
          .table = &c->P->tables[!c->back ? FORWARD : c->views[GRAD_X].obj ? BACKWARD_X : BACKWARD]};
      lay_out(&L->jobs[k], &kept, &scratch, c->back && k > 0);
    }
    if (pass) break;
    if (memory->obj && (size_t)memory->len < kept.used + 64) return *needed = kept.used + 64, 1;
    L->block = malloc(scratch.used + 64);
    if (!L->block) return PyErr_NoMemory(), 0;
    if (poisoned) memset(L->block, 0xff, scratch.used + 64);
    if (poisoned && memory->obj && !c->back) memset(memory->buf, 0xff, (size_t)memory->len);
    kept = (arena){align(memory->buf), 0};
    scratch = (arena){align(L->block), 0};
  }
  return 1;
}

static void run_jobs(const call *c, job *jobs) {
  for (int k = 0; k < c->threads; k++) bind(c, &jobs[k], begin_of(c->batch, k, c->threads));
  share(run_job, jobs, c->threads);
  for (int k = 0; k < c->threads; k++) finish(c, &jobs[k], jobs, begin_of(c->batch, k, c->threads));
}

/* run(program, threads, reverse, arrays, parameters, memory)

   arrays: x, y, None, None, mask, states, next states for forward; with the gradients on y and x,
   and on the next states and the states, for backward. Any but x and y may be None. In `memory`
   forward keeps what backward needs. Returns None, or how many bytes that takes if it has fewer. */
static PyObject *py_run(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  PyObject *result = NULL;
  Py_buffer memory = {0};
  layout own = {0};
  size_t needed = 0;
  (void)self;
  if (n != 6 || !PyTuple_Check(args[3]) || !PyTuple_Check(args[4]))
    return PyErr_SetString(PyExc_TypeError, "run takes six arguments, two of them tuples"), NULL;
  call c = {.P = program_of(args[0]), .reverse = args[2] == Py_True};
  if (!c.P || !collect(&c, args[3], args[4])) goto done;
  if (args[5] != Py_None && PyObject_GetBuffer(args[5], &memory, PyBUF_SIMPLE) < 0) goto done;
  int64_t work = poisoned ? INT64_MAX : c.batch * c.time * c.P->weights;
  c.threads = parts_of(PyFloat_AsDouble(args[1]), work, poisoned ? c.batch : c.batch / 4);
  int kept_layout = !c.back && !memory.obj && !c.views[MASK].obj && !poisoned;
  if (kept_layout && c.batch * c.time == 1 && c.P->weights < SMALL) {
    layout *L = &c.P->step; /* one step of one row: laid out once, and the GIL is not given up */
    if (L->jobs && L->jobs->backend != all_sets[chosen_set].of[c.P->itemsize == 8]) free_layout(L);
    if (!L->jobs && !lay_out_all(&c, L, &memory, &needed)) {
      free_layout(L);
      goto done;
    }
    run_jobs(&c, L->jobs);
  } else {
    if (!lay_out_all(&c, &own, &memory, &needed)) goto done;
    Py_BEGIN_ALLOW_THREADS
    if (!needed) run_jobs(&c, own.jobs);
    Py_END_ALLOW_THREADS
  }
  result = needed ? PyLong_FromSize_t(needed) : Py_NewRef(Py_None);
done:
  for (int64_t i = 0; c.views && i < c.count; i++) PyBuffer_Release(&c.views[i]);
  PyBuffer_Release(&memory);
  PyMem_Free(c.views);
  free_layout(&own);
  return result;
}

/* holds(objects, looks): whether each object is as it was: a look, of machine.py, has its class,
   methods of that, and the values of all attributes, where an Ellipsis stands for any. */
static PyObject *py_holds(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 2 || !PyTuple_Check(args[0]) || !PyTuple_Check(args[1]) ||
      PyTuple_GET_SIZE(args[0]) != PyTuple_GET_SIZE(args[1]))
    return PyErr_SetString(PyExc_TypeError, "holds takes two tuples of one length"), NULL;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args[0]); i++) {
    PyObject *thing = PyTuple_GET_ITEM(args[0], i), *kind = (PyObject *)Py_TYPE(thing);
    PyObject *look = PyTuple_GET_ITEM(args[1], i), *dict = PyObject_GenericGetDict(thing, NULL);
    PyObject *methods = PyTuple_GET_ITEM(look, 1), *values = PyTuple_GET_ITEM(look, 2), *name, *value;
    Py_ssize_t at = 0, k = 0;
    if (!dict) return NULL;
    int same = PyTuple_GET_ITEM(look, 0) == kind && PyDict_GET_SIZE(dict) == PyTuple_GET_SIZE(values);
    while (same && PyDict_Next(dict, &at, NULL, &value)) {
      PyObject *expected = PyTuple_GET_ITEM(values, k++);
      same = value == expected || expected == Py_Ellipsis;
    }
    Py_DECREF(dict);
    for (at = 0; same && PyDict_Next(methods, &at, &name, &value);) {
      PyObject *now = PyObject_GetAttr(kind, name);
      if (!now) return NULL;
      same = now == value;
      Py_DECREF(now);
    }
    if (!same) Py_RETURN_FALSE;
  }
  Py_RETURN_TRUE;
}

#include "step_calls.h"
#include "stream.h"

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
    {"run", (PyCFunction)(void (*)(void))py_run, METH_FASTCALL, "Run forward or backward."},
    {"step", (PyCFunction)(void (*)(void))py_step, METH_FASTCALL, "Run one step of a cell."},
    {"stream", (PyCFunction)(void (*)(void))py_stream, METH_FASTCALL, "And one through all layers."},
    {"holds", (PyCFunction)(void (*)(void))py_holds, METH_FASTCALL, "Compare objects with what they were."},
    {"cross_entropy", (PyCFunction)(void (*)(void))py_cross_entropy, METH_FASTCALL, "And gradient."},
    {"affine", (PyCFunction)(void (*)(void))py_affine, METH_FASTCALL, "Run a Dense forward."},
    {"affine_backward", (PyCFunction)(void (*)(void))py_affine_backward, METH_FASTCALL, "And back."},
    {"squares", (PyCFunction)(void (*)(void))py_squares, METH_FASTCALL, "Return the sum of squares."},
    {"adam", (PyCFunction)(void (*)(void))py_adam, METH_FASTCALL, "Take a step of Adam."},
    {"instruction_sets", py_instruction_sets, METH_NOARGS, "Return those of this processor."},
    {"instruction_set", py_instruction_set, METH_VARARGS, "Return the one in use, or set it."},
    {"poison", py_poison, METH_O, "Fill memory with NaN and share all work, for tests."},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_native", "The machine for traced cells.", -1, methods,
    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) {
#ifdef __x86_64__
  __builtin_cpu_init();
#endif
  for (int i = SET_COUNT - 1; i >= 0; i--)
    if (has_set(i)) chosen_set = i;
  pthread_atfork(NULL, NULL, forget_threads);
  value_name = PyUnicode_InternFromString("_value");
  grad_name = PyUnicode_InternFromString("_grad");
  if (!value_name || !grad_name || !prepare_stream()) return NULL;
  PyObject *made = PyModule_Create(&module);
#ifdef SOURCES
  if (made && PyModule_AddIntConstant(made, "sources", SOURCES) < 0) Py_CLEAR(made);
#endif
  return made;
}
