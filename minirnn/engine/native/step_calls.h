/* What Python calls of step.h: cross_entropy, affine, affine_backward, squares, adam.

   Each looks at its arrays itself. They have to be C-contiguous, of one float dtype, and of shapes
   that go together; where they are anything else it does nothing and returns None, and the caller
   goes NumPy's way, whose errors say what is wrong. */

#define LONG_WORK 200000 /* multiplications for which it pays to let other threads of Python run */
#define MOST_WORK 30000000 /* multiplications in one product, for more of which BLAS is as fast */
#define MOST_WEIGHTS 65536 /* of a Dense, for more of which BLAS is faster on the way back */

typedef struct { Py_buffer v[8]; int count; char real; } looked; /* real: 'f' or 'd', as found */

/* Look at an array: of the float dtype of those before it ('r'), or of the kind '?', 'd' or 'l'.
   NULL: it is something else. */
static Py_buffer *look(looked *L, PyObject *array, char kind, int writable) {
  Py_buffer *v = &L->v[L->count];
  if (PyObject_GetBuffer(array, v, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT |
                                       (writable ? PyBUF_WRITABLE : 0)) < 0)
    return PyErr_Clear(), NULL;
  L->count++;
  char found = v->format && v->format[0] && !v->format[1] ? v->format[0] : 0;
  if (kind == 'l') return v->itemsize == 8 && (found == 'l' || found == 'q') ? v : NULL;
  if (kind != 'r') return found == kind ? v : NULL;
  if (!L->real && (found == 'f' || found == 'd')) L->real = found;
  return found && found == L->real ? v : NULL;
}

static PyObject *done_with(looked *L, PyObject *result) {
  while (L->count) PyBuffer_Release(&L->v[--L->count]);
  return result ? result : Py_NewRef(Py_None);
}

static int same_shape(const Py_buffer *a, const Py_buffer *b, int axes) {
  for (int i = 0; i < axes; i++)
    if (a->shape[i] != b->shape[i]) return 0;
  return 1;
}

static const backend *machine_for(const looked *L) { return all_sets[chosen_set].of[L->real == 'd']; }

/* cross_entropy(logits, classes, mask, weights, ignored, gradient): the mean over valid rows, the
   sum of their weights; mask, weights and ignored may be None. */
static PyObject *py_cross_entropy(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  looked L = {.count = 0};
  Py_buffer *x, *c, *g, *m = NULL, *w = NULL;
  double *factors = NULL, weight = 0, loss;
  int64_t ignored = 0, valid = 0;
  (void)self;
  if (count != 6) return PyErr_SetString(PyExc_TypeError, "cross_entropy takes six arguments"), NULL;
  if (!(x = look(&L, args[0], 'r', 0)) || !(c = look(&L, args[1], 'l', 0))) return done_with(&L, NULL);
  if (args[2] != Py_None && !(m = look(&L, args[2], '?', 0))) return done_with(&L, NULL);
  if (args[3] != Py_None && !(w = look(&L, args[3], 'd', 0))) return done_with(&L, NULL);
  if (!(g = look(&L, args[5], 'r', 1))) return done_with(&L, NULL);
  if (args[4] != Py_None) {
    ignored = PyLong_AsLongLong(args[4]);
    if (ignored == -1 && PyErr_Occurred()) return PyErr_Clear(), done_with(&L, NULL);
  }
  int axes = x->ndim - 1;
  if (axes < 1 || c->ndim != axes || !same_shape(x, c, axes) || g->ndim != x->ndim ||
      !same_shape(x, g, x->ndim) || (m && (axes < 2 || m->ndim != axes || !same_shape(x, m, axes))) ||
      (w && ((w->ndim != 1 && w->ndim != axes) || !same_shape(x, w, w->ndim))) || !x->len)
    return done_with(&L, NULL);
  int64_t rows = c->len / 8, n = x->shape[axes], each = w && w->len ? rows / (w->len / 8) : 1;
  const int64_t *class = c->buf;
  if (m || w || args[4] != Py_None) {
    factors = malloc((size_t)rows * sizeof *factors);
    if (!factors) return done_with(&L, NULL);
  }
  for (int64_t i = 0; i < rows; i++) {
    int skipped = (m && !((const char *)m->buf)[i]) || (args[4] != Py_None && class[i] == ignored);
    double factor = skipped ? -1 : w ? ((const double *)w->buf)[i / each] : 1;
    if (!skipped && (class[i] < 0 || class[i] >= n || !(factor >= 0 && factor < INFINITY))) {
      free(factors);
      return done_with(&L, NULL);
    }
    if (factors) factors[i] = factor;
    if (!skipped) weight += factor, valid++;
  }
  if (!valid || !(weight > 0) || weight == INFINITY) {
    free(factors);
    return done_with(&L, NULL);
  }
  const backend *B = machine_for(&L);
  PyThreadState *released = rows * n > LONG_WORK / 10 ? PyEval_SaveThread() : NULL;
  loss = B->cross_entropy(x->buf, class, factors, weight, rows, n, g->buf);
  if (released) PyEval_RestoreThread(released);
  free(factors);
  if (!isfinite(loss)) return done_with(&L, NULL);
  return done_with(&L, Py_BuildValue("dd", loss, weight));
}

/* Whether x (..., K) and y (..., N) are rows for W (K, N), b, where it is, is (N,), and the product
   is not one for BLAS. */
static int go_together(const Py_buffer *x, const Py_buffer *W, const Py_buffer *b,
                       const Py_buffer *y) {
  return W->ndim == 2 && x->ndim > 0 && y->ndim == x->ndim && same_shape(x, y, x->ndim - 1) &&
         x->shape[x->ndim - 1] == W->shape[0] && y->shape[y->ndim - 1] == W->shape[1] &&
         (!b || (b->ndim == 1 && b->shape[0] == W->shape[1])) && x->len && y->len &&
         x->len / x->itemsize * W->shape[1] <= MOST_WORK;
}

/* affine(x, W, b, y): y = x W + b, and True; b may be None. */
static PyObject *py_affine(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  looked L = {.count = 0};
  Py_buffer *x, *W, *b = NULL, *y;
  (void)self;
  if (count != 4) return PyErr_SetString(PyExc_TypeError, "affine takes four arrays"), NULL;
  if (!(x = look(&L, args[0], 'r', 0)) || !(W = look(&L, args[1], 'r', 0)) ||
      (args[2] != Py_None && !(b = look(&L, args[2], 'r', 0))) ||
      !(y = look(&L, args[3], 'r', 1)) || !go_together(x, W, b, y))
    return done_with(&L, NULL);
  const backend *B = machine_for(&L);
  int64_t K = W->shape[0], N = W->shape[1], rows = x->len / (K * x->itemsize), NR = B->panel;
  void *panels = malloc((size_t)(K * ((N + NR - 1) / NR) * NR * x->itemsize));
  if (!panels) return done_with(&L, NULL);
  PyThreadState *released = rows * K * N > LONG_WORK ? PyEval_SaveThread() : NULL;
  B->affine(x->buf, W->buf, N, 1, b ? b->buf : NULL, rows, K, N, y->buf, panels);
  if (released) PyEval_RestoreThread(released);
  free(panels);
  return done_with(&L, Py_NewRef(Py_True));
}

/* affine_backward(x, grad_y, W, W.grad, b.grad, grad_x): adds to the gradients of W and b, writes
   that on x, and returns True; b.grad and grad_x may be None. */
static PyObject *py_affine_backward(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  looked L = {.count = 0};
  Py_buffer *x, *g, *W, *dW, *db = NULL, *dx = NULL;
  (void)self;
  if (count != 6) return PyErr_SetString(PyExc_TypeError, "affine_backward takes six arrays"), NULL;
  if (!(x = look(&L, args[0], 'r', 0)) || !(g = look(&L, args[1], 'r', 0)) ||
      !(W = look(&L, args[2], 'r', 0)) || !(dW = look(&L, args[3], 'r', 1)) ||
      (args[4] != Py_None && !(db = look(&L, args[4], 'r', 1))) ||
      (args[5] != Py_None && !(dx = look(&L, args[5], 'r', 1))) || !go_together(x, W, db, g) ||
      dW->ndim != 2 || !same_shape(W, dW, 2) || W->len / W->itemsize > MOST_WEIGHTS ||
      (dx && (dx->ndim != x->ndim || !same_shape(x, dx, x->ndim))))
    return done_with(&L, NULL);
  const backend *B = machine_for(&L);
  int64_t K = W->shape[0], N = W->shape[1], rows = x->len / (K * x->itemsize), NR = B->panel;
  int64_t packed = N * ((K + NR - 1) / NR) * NR, gathered = (rows < CHUNK ? rows : CHUNK) * NR;
  void *room = malloc((size_t)((packed > gathered ? packed : gathered) * x->itemsize));
  if (!room) return done_with(&L, NULL);
  PyThreadState *released = 2 * rows * K * N > LONG_WORK ? PyEval_SaveThread() : NULL;
  B->affine_gradients(x->buf, g->buf, rows, K, N, dW->buf, db ? db->buf : NULL, room);
  if (dx) B->affine(g->buf, W->buf, 1, N, NULL, rows, N, K, dx->buf, room);
  if (released) PyEval_RestoreThread(released);
  free(room);
  return done_with(&L, Py_NewRef(Py_True));
}

/* squares(vector): the sum of its squares, in double precision. */
static PyObject *py_squares(PyObject *self, PyObject *array) {
  looked L = {.count = 0};
  Py_buffer *v = look(&L, array, 'r', 0);
  (void)self;
  if (!v) return done_with(&L, NULL);
  return done_with(&L, PyFloat_FromDouble(machine_for(&L)->squares(v->buf, v->len / v->itemsize)));
}

/* adam(value, grad, m, v, beta1, beta2, rate, epsilon): one step, and True. */
static PyObject *py_adam(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  looked L = {.count = 0};
  double numbers[4];
  (void)self;
  if (count != 8) return PyErr_SetString(PyExc_TypeError, "adam takes eight arguments"), NULL;
  for (int k = 0; k < 4; k++) {
    Py_buffer *v = look(&L, args[k], 'r', k != 1);
    if (!v || v->ndim != 1 || v->len != L.v[0].len) return done_with(&L, NULL);
  }
  for (int k = 0; k < 4; k++) {
    numbers[k] = PyFloat_AsDouble(args[4 + k]);
    if (numbers[k] == -1 && PyErr_Occurred()) return PyErr_Clear(), done_with(&L, NULL);
  }
  int64_t n = L.v[0].len / L.v[0].itemsize;
  PyThreadState *released = n > LONG_WORK / 10 ? PyEval_SaveThread() : NULL;
  machine_for(&L)->adam(L.v[0].buf, L.v[1].buf, L.v[2].buf, L.v[3].buf, n, numbers);
  if (released) PyEval_RestoreThread(released);
  return done_with(&L, Py_NewRef(Py_True));
}
