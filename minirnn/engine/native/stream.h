/* One step of a stream through all layers of a model, in one call.

   A cell is (dtype, program, parameters, widths), the first of which is that of the output. */

static PyObject *empty, *one, *shape_name, *dtype_name, *carried_name, *state_name;

static int prepare_stream(void) {
  PyObject *numpy = PyImport_ImportModule("numpy");
  empty = numpy ? PyObject_GetAttrString(numpy, "empty") : NULL;
  one = PyFloat_FromDouble(1);
  shape_name = PyUnicode_InternFromString("shape"), dtype_name = PyUnicode_InternFromString("dtype");
  carried_name = PyUnicode_InternFromString("carried_state");
  state_name = PyUnicode_InternFromString("state");
  Py_XDECREF(numpy);
  return empty && one && shape_name && dtype_name && carried_name && state_name;
}

/* A new array (batch, width). */
static PyObject *fresh(Py_ssize_t batch, PyObject *width, PyObject *dtype) {
  PyObject *given[2] = {Py_BuildValue("(nO)", batch, width), dtype};
  PyObject *made = given[0] ? PyObject_Vectorcall(empty, given, 2, NULL) : NULL;
  Py_XDECREF(given[0]);
  return made;
}

/* The batch size of an array (batch, width) of that dtype, or -1. */
static Py_ssize_t batch_of(PyObject *x, PyObject *dtype) {
  PyObject *shape = PyObject_GetAttr(x, shape_name), *found = PyObject_GetAttr(x, dtype_name);
  Py_ssize_t batch = -1;
  if (shape && found == dtype && PyTuple_Check(shape) && PyTuple_GET_SIZE(shape) == 2)
    batch = PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, 0));
  Py_XDECREF(shape), Py_XDECREF(found);
  return batch;
}

/* Whether a cell could run its step: from x and the state to y and the next state. */
static int step_of_cell(PyObject *cell, PyObject *x, PyObject *state, PyObject **y, PyObject **next) {
  PyObject *dtype = PyTuple_GET_ITEM(cell, 0), *widths = PyTuple_GET_ITEM(cell, 3), *made, *ran = NULL;
  Py_ssize_t n = PyTuple_GET_SIZE(widths) - 1, batch = batch_of(x, dtype);
  if (batch < 0 || !PyTuple_Check(state) || PyTuple_GET_SIZE(state) != n) return 0;
  PyObject *arrays = PyTuple_New(FIRST_STATE + 2 * n);
  *next = PyTuple_New(n);
  int right = arrays && *next && (*y = fresh(batch, PyTuple_GET_ITEM(widths, 0), dtype));
  for (Py_ssize_t i = 0; right && i < n; i++) {
    right = batch_of(PyTuple_GET_ITEM(state, i), dtype) == batch &&
            (made = fresh(batch, PyTuple_GET_ITEM(widths, i + 1), dtype));
    if (right) PyTuple_SET_ITEM(*next, i, made);
  }
  if (right) {
    for (Py_ssize_t i = 0; i < FIRST_STATE; i++)
      PyTuple_SET_ITEM(arrays, i, Py_NewRef(i == X ? x : i == Y ? *y : Py_None));
    for (Py_ssize_t i = 0; i < n; i++) {
      PyTuple_SET_ITEM(arrays, FIRST_STATE + i, Py_NewRef(PyTuple_GET_ITEM(state, i)));
      PyTuple_SET_ITEM(arrays, FIRST_STATE + n + i, Py_NewRef(PyTuple_GET_ITEM(*next, i)));
    }
    PyObject *program = PyTuple_GET_ITEM(cell, 1), *parameters = PyTuple_GET_ITEM(cell, 2);
    PyObject *given[] = {program, one, Py_False, arrays, parameters, Py_None};
    ran = py_run(NULL, given, 6);
  }
  Py_XDECREF(arrays), Py_XDECREF(ran);
  return ran != NULL;
}

/* step(cell, x, state): y and the next state; or None, or an error. */
static PyObject *py_step(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  PyObject *y = NULL, *next = NULL, *result = NULL;
  (void)self;
  if (count != 3 || !PyTuple_Check(args[0]))
    return PyErr_SetString(PyExc_TypeError, "step takes a tuple, an array and a state"), NULL;
  int right = step_of_cell(args[0], args[1], args[2], &y, &next);
  if (right) result = PyTuple_Pack(2, y, next);
  Py_XDECREF(y), Py_XDECREF(next);
  return right || PyErr_Occurred() ? result : Py_NewRef(Py_None);
}

/* Whether a Dense, (dtype, W, b, width), could run: from x to y. */
static int step_of_dense(PyObject *dense, PyObject *x, PyObject **y) {
  PyObject *dtype = PyTuple_GET_ITEM(dense, 0), *b = PyTuple_GET_ITEM(dense, 2), *ran = NULL;
  Py_ssize_t batch = batch_of(x, dtype);
  if (batch < 0) return 0;
  PyObject *W = PyObject_GetAttr(PyTuple_GET_ITEM(dense, 1), value_name);
  b = b == Py_None ? Py_NewRef(b) : PyObject_GetAttr(b, value_name);
  *y = fresh(batch, PyTuple_GET_ITEM(dense, 3), dtype);
  if (W && b && *y) {
    PyObject *given[] = {x, W, b, *y, one};
    ran = py_affine(NULL, given, 5);
  }
  Py_XDECREF(W), Py_XDECREF(b), Py_XDECREF(ran);
  return ran == Py_True;
}

/* stream(layers, x): the output of a step, and the new states carried on; or None, or an error, and
   nothing has changed. The layers: (layer, cell), a Dense, or what to call. */
static PyObject *py_stream(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  (void)self;
  if (count != 2 || !PyTuple_Check(args[0]))
    return PyErr_SetString(PyExc_TypeError, "stream takes a tuple and an array"), NULL;
  Py_ssize_t n = PyTuple_GET_SIZE(args[0]);
  PyObject *x = Py_NewRef(args[1]), *states = PyTuple_New(n);
  int right = states != NULL;
  for (Py_ssize_t i = 0; right && i < n; i++) {
    PyObject *layer = PyTuple_GET_ITEM(args[0], i), *y = NULL, *next = NULL;
    if (!PyTuple_Check(layer)) {
      right = (y = PyObject_CallOneArg(layer, x)) != NULL;
    } else if (PyTuple_GET_SIZE(layer) == 4) {
      right = step_of_dense(layer, x, &y);
    } else {
      PyObject *state = PyObject_GetAttr(PyTuple_GET_ITEM(layer, 0), carried_name);
      right = state && step_of_cell(PyTuple_GET_ITEM(layer, 1), x, state, &y, &next);
      Py_XDECREF(state);
      PyTuple_SET_ITEM(states, i, next);
    }
    Py_SETREF(x, y);
  }
  for (Py_ssize_t i = 0; right && i < n; i++) { /* which no interrupt comes between */
    PyObject *next = PyTuple_GET_ITEM(states, i);
    if (!next) continue;
    PyObject *layer = PyTuple_GET_ITEM(PyTuple_GET_ITEM(args[0], i), 0);
    right = PyObject_GenericSetAttr(layer, carried_name, next) >= 0 &&
            PyObject_GenericSetAttr(layer, state_name, next) >= 0;
  }
  Py_XDECREF(states);
  if (right) return x;
  Py_XDECREF(x);
  return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}
