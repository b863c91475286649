/* What Python calls of step.h: cross_entropy, affine, affine_backward, squares, adam.

   Arrays have to be C-contiguous, of one float dtype, and of shapes that go together; where they
   are anything else nothing is done and the result is None, and the caller goes NumPy's way, whose
   errors say what is wrong. The last argument of each is how many threads there may be. */

#define LONG_WORK 200000 /* multiplications for which it pays to let other threads of Python run */

static PyObject *finished(call_t *C, PyObject *result) {
  while (C->count) PyBuffer_Release(&C->v[--C->count]);
  free(C->factors), free(C->room);
  return result ? result : PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* Look at the arguments, of which `kinds` says in turn: r, an array of floats, all of one dtype; w,
   such a one to write to; l, d and ?, arrays of int64, double and bool; #, a number, NaN for None.
   What stands as a capital, or as ?, may be None. */
static int look(call_t *C, PyObject *const *args, Py_ssize_t count, const char *kinds) {
  if (count != (Py_ssize_t)strlen(kinds))
    return PyErr_Format(PyExc_TypeError, "%d arguments expected", (int)strlen(kinds)), 0;
  char real = 0;
  for (int i = 0; kinds[i]; i++) {
    Py_buffer *v = &C->v[C->count];
    int optional = kinds[i] < 'a', kind = optional ? kinds[i] | 32 : kinds[i];
    if (kinds[i] == '#') {
      C->numbers[i] = args[i] == Py_None ? NAN : PyFloat_AsDouble(args[i]);
      if (C->numbers[i] == -1 && PyErr_Occurred()) return PyErr_Clear(), 0;
      continue;
    }
    C->count++;
    if (optional && args[i] == Py_None) continue;
    if (PyObject_GetBuffer(args[i], v, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT |
                                           (kind == 'w' ? PyBUF_WRITABLE : 0)) < 0)
      return PyErr_Clear(), 0;
    char found = v->format && v->format[0] && !v->format[1] ? v->format[0] : 0;
    if (kind == 'r' || kind == 'w') {
      if (!real && (found == 'f' || found == 'd')) real = found;
      if (!found || found != real) return 0;
    } else if (found != kind && !(kind == 'l' && found == 'q' && v->itemsize == 8)) {
      return 0;
    }
  }
  C->machine = all_sets[chosen_set].of[real == 'd'];
  return 1;
}

static int same_shape(const Py_buffer *a, const Py_buffer *b, int axes) {
  for (int i = 0; i < axes; i++)
    if (a->shape[i] != b->shape[i]) return 0;
  return 1;
}

/* Do the work with as many threads as it is worth. */
static void run_call(call_t *C, work_t *work, int64_t size, double threads, int64_t most) {
  C->parts = parts_of(threads, size, most);
  PyThreadState *released = size > LONG_WORK ? PyEval_SaveThread() : NULL;
  share(work, C, C->parts);
  if (released) PyEval_RestoreThread(released);
  for (int k = 0; k < C->parts; k++) C->sum += C->sums[k];
}

/* cross_entropy(logits, classes, mask, weights, ignored, gradient, threads): the mean over valid
   rows, and the sum of their weights; mask, weights and ignored may be None. */
static PyObject *py_cross_entropy(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  call_t C = {0};
  const Py_buffer *x = &C.v[0], *c = &C.v[1], *m = &C.v[2], *w = &C.v[3], *g = &C.v[4];
  (void)self;
  if (!look(&C, args, count, "rl?D#w#")) return finished(&C, NULL);
  int axes = x->ndim - 1;
  if (axes < 1 || c->ndim != axes || !same_shape(x, c, axes) || g->ndim != x->ndim ||
      !same_shape(x, g, x->ndim) || (m->obj && (axes < 2 || m->ndim != axes || !same_shape(x, m, axes))) ||
      (w->obj && ((w->ndim != 1 && w->ndim != axes) || !same_shape(x, w, w->ndim))) || !x->len)
    return finished(&C, NULL);
  int64_t valid = 0, each;
  C.rows = c->len / 8, C.K = x->shape[axes];
  each = w->len ? C.rows / (w->len / 8) : 1;
  double ignored = C.numbers[4];
  if ((m->obj || w->obj || ignored == ignored) && !(C.factors = malloc((size_t)C.rows * sizeof(double))))
    return finished(&C, NULL);
  for (int64_t i = 0; i < C.rows; i++) {
    int64_t class = ((const int64_t *)c->buf)[i];
    int skipped = (m->obj && !((const char *)m->buf)[i]) || (double)class == ignored;
    double factor = skipped ? -1 : w->obj ? ((const double *)w->buf)[i / each] : 1;
    if (!skipped && (class < 0 || class >= C.K || !(factor >= 0 && factor < INFINITY)))
      return finished(&C, NULL);
    if (C.factors) C.factors[i] = factor;
    if (!skipped) C.weight += factor, valid++;
  }
  if (!valid || !(C.weight > 0) || C.weight == INFINITY) return finished(&C, NULL);
  run_call(&C, C.machine->cross_entropy, 40 * C.rows * C.K, C.numbers[6], C.rows);
  if (!isfinite(C.sum)) return finished(&C, NULL);
  return finished(&C, Py_BuildValue("dd", C.sum / C.weight, C.weight));
}

/* Whether x (..., K) and y (..., N) are rows for W (K, N), and b, where it is, is (N,). */
static int go_together(call_t *C, const Py_buffer *x, const Py_buffer *W, const Py_buffer *b,
                       const Py_buffer *y) {
  if (W->ndim != 2 || x->ndim < 1 || y->ndim != x->ndim || !same_shape(x, y, x->ndim - 1) ||
      x->shape[x->ndim - 1] != W->shape[0] || y->shape[y->ndim - 1] != W->shape[1] ||
      (b->obj && (b->ndim != 1 || b->shape[0] != W->shape[1])) || !x->len || !y->len)
    return 0;
  C->K = W->shape[0], C->N = W->shape[1], C->rows = x->len / (C->K * x->itemsize);
  return 1;
}

static size_t packed_size(int64_t K, int64_t N, int64_t panel) {
  return (size_t)(K * ((N + panel - 1) / panel) * panel);
}

/* affine(x, W, b, y, threads): y = x W + b, and True; b may be None. */
static PyObject *py_affine(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  call_t C = {0};
  const Py_buffer *W = &C.v[1];
  (void)self;
  if (!look(&C, args, count, "rrRw#") || !go_together(&C, &C.v[0], W, &C.v[2], &C.v[3]))
    return finished(&C, NULL);
  if (C.rows > 1) {
    C.room = malloc(packed_size(C.K, C.N, C.machine->panel) * (size_t)W->itemsize);
    if (!C.room) return finished(&C, PyErr_NoMemory());
    C.machine->pack(W->buf, C.K, C.N, C.N, 1, C.room);
  }
  run_call(&C, C.machine->affine, C.rows * C.K * C.N, C.numbers[4], C.rows);
  return finished(&C, Py_NewRef(Py_True));
}

/* affine_backward(x, grad_y, W, W.grad, b.grad, grad_x, threads): adds to the gradients of W and b,
   writes that on x, and returns True; b.grad and grad_x may be None. */
static PyObject *py_affine_backward(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  call_t C = {0};
  const Py_buffer *x = &C.v[0], *g = &C.v[1], *W = &C.v[2], *dW = &C.v[3], *db = &C.v[4], *dx = &C.v[5];
  (void)self;
  if (!look(&C, args, count, "rrrwWW#") || !go_together(&C, x, W, db, g) || dW->ndim != 2 ||
      !same_shape(W, dW, 2) || (dx->obj && (dx->ndim != x->ndim || !same_shape(x, dx, x->ndim))))
    return finished(&C, NULL);
  int64_t panel = C.machine->panel, chunk = C.rows < CHUNK ? C.rows : CHUNK;
  int64_t work = C.rows * C.K * C.N * (dx->obj ? 2 : 1);
  size_t packed = dx->obj ? packed_size(C.N, C.K, panel) : 0, size = (size_t)x->itemsize;
  C.panel_size = (size_t)(chunk * (panel + C.K + 1)) * size;
  C.room = malloc(packed * size + (size_t)parts_of(C.numbers[6], work, C.K) * C.panel_size);
  if (!C.room) return finished(&C, PyErr_NoMemory());
  C.panels = (char *)C.room + packed * size;
  if (dx->obj) C.machine->pack(W->buf, C.N, C.K, 1, C.N, C.room);
  run_call(&C, C.machine->affine_back, work, C.numbers[6], C.K);
  return finished(&C, Py_NewRef(Py_True));
}

/* squares(vector, threads): the sum of its squares, in double precision. */
static PyObject *py_squares(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  call_t C = {0};
  (void)self;
  if (!look(&C, args, count, "r#")) return finished(&C, NULL);
  C.rows = C.v[0].len / C.v[0].itemsize;
  run_call(&C, C.machine->squares, 5 * C.rows, C.numbers[1], C.rows);
  return finished(&C, PyFloat_FromDouble(C.sum));
}

/* adam(value, grad, m, v, beta1, beta2, rate, epsilon, threads): one step, and True. */
static PyObject *py_adam(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  call_t C = {0};
  (void)self;
  if (!look(&C, args, count, "wrww#####")) return finished(&C, NULL);
  for (int k = 0; k < 4; k++)
    if (C.v[k].ndim != 1 || C.v[k].len != C.v[0].len) return finished(&C, NULL);
  C.rows = C.v[0].len / C.v[0].itemsize;
  run_call(&C, C.machine->adam, 16 * C.rows, C.numbers[8], C.rows);
  return finished(&C, Py_NewRef(Py_True));
}
