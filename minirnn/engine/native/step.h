/* What stands behind the time loop in a training step: softmax cross-entropy, Dense, Adam.
   kernels.h includes this file at its end, so once for each dtype and instruction set. Each function
   does one part of a call, of rows or of numbers; its arrays are those of step_calls.h. */

/* ------------------------------------------------------------------ softmax cross-entropy */

/* The mean over rows of K logits of log(sum exp(x)) - x[class], and its gradient. With `factors`,
   each row counts so much, one below 0 not at all; `each` is the share of a factor of 1. */
static void NAME(cross_entropy)(void *pointer, int part) {
  call_t *C = pointer;
  const int64_t n = C->K, *class = C->v[1].buf, end = begin_of(C->rows, part + 1, C->parts);
  const double *factors = C->factors, each = 1 / C->weight;
  double loss = 0, product = 1; /* of sums whose logarithm is due: one for many takes less time */
  int64_t block = n < 512 ? 512 / n : 1; /* rows whose exponentials are taken together */
  for (int64_t first = begin_of(C->rows, part, C->parts), next; first < end; first = next) {
    next = first + block < end ? first + block : end;
    int64_t size = (next - first) * n, k = 0;
    const REAL *x = (const REAL *)C->v[0].buf + first * n;
    REAL *start = (REAL *)C->v[4].buf + first * n, *g = start;
    for (int64_t i = first; i < next; i++, x += n, g += n) {
      double factor = factors ? factors[i] : 1;
      REAL top = factor < 0 ? 0 : NAME(row_most)(x, n);
      for (int64_t j = 0; j < n; j++) g[j] = factor < 0 ? 0 : x[j] - top;
      if (factor >= 0) loss -= factor * (double)g[class[i]];
    }
    for (; k + VL <= size; k += VL) NAME(store)(start + k, NAME(exponential)(NAME(load)(start + k)));
    if (k < size) {
      vec e = NAME(exponential)(NAME(part)(start + k, size - k));
      memcpy(start + k, &e, (size_t)(size - k) * sizeof(REAL));
    }
    g = start;
    for (int64_t i = first; i < next; i++, g += n) {
      double factor = factors ? factors[i] : 1, sum = (double)NAME(row_sum)(g, n);
      if (factor < 0) {
        memset(g, 0, (size_t)n * sizeof(REAL));
        continue;
      }
      if (factors) loss += factor * log(sum);
      else if ((product *= sum) > 1e150) loss += log(product), product = 1;
      double share = factor * each;
      REAL scale = (REAL)(share / sum);
      for (int64_t j = 0; j < n; j++) g[j] *= scale;
      g[class[i]] -= (REAL)share;
    }
  }
  C->sums[part] = loss + log(product);
}

/* ------------------------------------------------------------------ Dense */

/* y (rows, N) = x (rows, K) @ the packed weights + b; a few rows at a time stay in the cache. */
static void NAME(rows_times)(const call_t *C, int part, const void *x, int64_t K, int64_t N,
                             const void *b, void *y) {
  int64_t row = begin_of(C->rows, part, C->parts), end = begin_of(C->rows, part + 1, C->parts);
  for (; row < end; row += BLOCK_ROWS) {
    int64_t m = end - row < BLOCK_ROWS ? end - row : BLOCK_ROWS;
    NAME(product)((const REAL *)x + row * K, K, C->room, m, K, N, b, 0, (REAL *)y + row * N, N);
  }
}

static void NAME(affine)(void *pointer, int part) { /* y = x @ W + b */
  call_t *C = pointer;
  const void *x = C->v[0].buf, *W = C->v[1].buf, *b = C->v[2].buf;
  if (C->rows == 1) NAME(row_product)(x, W, C->N, 1, C->K, C->N, b, C->v[3].buf);
  else NAME(rows_times)(C, part, x, C->K, C->N, b, C->v[3].buf);
}

/* dW += x^T @ g and db += the sum over rows of g, for some columns of x; dx = g @ W^T. */
static void NAME(affine_back)(void *pointer, int part) {
  call_t *C = pointer;
  int64_t K = C->K, N = C->N, k = begin_of(K, part, C->parts), end = begin_of(K, part + 1, C->parts);
  REAL one = 1;
  place places[] = {{C->v[1].buf, 0, N, ROWS}, {C->v[0].buf, 0, K, ROWS}, {C->v[3].buf, 0, 0, ROWS},
                    {&one, 0, 0, ROWS}, {C->v[4].buf, 0, 0, ROWS}};
  outer_t outers[] = {{0, 0, N, 1, k, end - k, 2, k * N, N}, {0, 0, N, 3, 0, 1, 4, 0, N}};
  job J = {.places = places, .panel = (char *)C->panels + part * C->panel_size};
  for (int64_t row = 0; row < C->rows; row += J.rows) {
    J.rows = C->rows - row < CHUNK ? C->rows - row : CHUNK;
    NAME(outer)(&J, outers, outers + 1 + (part == 0 && C->v[4].buf), 0, 1);
    places[0].p = (REAL *)places[0].p + J.rows * N;
    places[1].p = (REAL *)places[1].p + J.rows * K;
  }
  if (C->v[5].buf) NAME(rows_times)(C, part, C->v[1].buf, N, K, NULL, C->v[5].buf);
}

/* ------------------------------------------------------------------ optimizers */

static void NAME(squares)(void *pointer, int part) { /* their sum, in double precision */
  call_t *C = pointer;
  const REAL *x = C->v[0].buf;
  double sums[16] = {0}, sum = 0;
  int64_t k = begin_of(C->rows, part, C->parts), end = begin_of(C->rows, part + 1, C->parts);
  for (; k + 16 <= end; k += 16)
    for (int v = 0; v < 16; v++) sums[v] += (double)x[k + v] * (double)x[k + v];
  for (; k < end; k++) sum += (double)x[k] * (double)x[k];
  for (int v = 0; v < 16; v++) sum += sums[v];
  C->sums[part] = sum;
}

/* m = beta1 m + g, v = beta2 v + g^2, value -= rate m / (sqrt(v) + epsilon). */
static void NAME(adam)(void *pointer, int part) {
  call_t *C = pointer;
  REAL *restrict x = C->v[0].buf, *restrict m = C->v[2].buf, *restrict v = C->v[3].buf;
  const REAL *restrict g = C->v[1].buf;
  const REAL beta1 = (REAL)C->numbers[4], beta2 = (REAL)C->numbers[5];
  const REAL rate = (REAL)C->numbers[6], epsilon = (REAL)C->numbers[7];
  int64_t end = begin_of(C->rows, part + 1, C->parts);
  for (int64_t k = begin_of(C->rows, part, C->parts); k < end; k++) {
    m[k] = m[k] * beta1 + g[k];
    v[k] = v[k] * beta2 + g[k] * g[k];
    REAL root = IS32 ? (REAL)sqrtf((float)v[k]) : (REAL)sqrt((double)v[k]);
    x[k] -= rate * (m[k] / (root + epsilon));
  }
}
