/* What stands behind the time loop in a training step: softmax cross-entropy, Dense, Adam.
   kernels.h includes this file at its end, so once for each dtype and instruction set. */

/* ------------------------------------------------------------------ softmax cross-entropy */

INL REAL NAME(largest)(const REAL *x, int64_t n) { /* NaN where there is one */
  int64_t k = 1;
  REAL top = x[0];
  if (n >= VL) {
    vec most = NAME(load)(x);
    for (k = VL; k + VL <= n; k += VL) most = NAME(maximum)(most, NAME(load)(x + k));
    for (int v = 0; v < VL; v++) top = most[v] > top || most[v] != most[v] ? most[v] : top;
  }
  for (; k < n; k++) top = x[k] > top || x[k] != x[k] ? x[k] : top;
  return top;
}

INL REAL NAME(total)(const REAL *x, int64_t n) {
  int64_t k = 0;
  vec sums = {0};
  REAL sum = 0;
  for (; k + VL <= n; k += VL) sums += NAME(load)(x + k);
  if (k)
    for (int v = 0; v < VL; v++) sum += sums[v];
  for (; k < n; k++) sum += x[k];
  return sum;
}

/* The mean over rows of n logits of log(sum exp(x)) - x[class], and its gradient. With `factors`,
   each row counts so much, one below 0 not at all; `weight` is the sum of the others. */
static double NAME(cross_entropy)(const void *logits, const int64_t *class, const double *factors,
                                  double weight, int64_t rows, int64_t n, void *gradient) {
  double loss = 0;
  int64_t block = n < 512 ? 512 / n : 1; /* rows whose exponentials are taken together */
  for (int64_t first = 0; first < rows; first += block) {
    int64_t end = first + block < rows ? first + block : rows, size = (end - first) * n, k = 0;
    const REAL *x = (const REAL *)logits + first * n;
    REAL *start = (REAL *)gradient + first * n, *g = start;
    for (int64_t i = first; i < end; i++, x += n, g += n) {
      double factor = factors ? factors[i] : 1;
      REAL top = factor < 0 ? 0 : NAME(largest)(x, n);
      for (int64_t j = 0; j < n; j++) g[j] = factor < 0 ? 0 : x[j] - top;
      if (factor >= 0) loss -= factor * (double)g[class[i]];
    }
    for (; k + VL <= size; k += VL) NAME(store)(start + k, NAME(exponential)(NAME(load)(start + k)));
    if (k < size) {
      vec e = NAME(exponential)(NAME(part)(start + k, size - k));
      memcpy(start + k, &e, (size_t)(size - k) * sizeof(REAL));
    }
    g = start;
    for (int64_t i = first; i < end; i++, g += n) {
      double factor = factors ? factors[i] : 1, sum = (double)NAME(total)(g, n);
      if (factor < 0) {
        memset(g, 0, (size_t)n * sizeof(REAL));
        continue;
      }
      loss += factor * log(sum);
      REAL share = (REAL)(factor / weight), scale = (REAL)(factor / weight / sum);
      for (int64_t j = 0; j < n; j++) g[j] *= scale;
      g[class[i]] -= share;
    }
  }
  return loss / weight;
}

/* ------------------------------------------------------------------ Dense */

/* y (rows, N) = x (rows, K) @ W (K, N), of any strides, + b; `panels` has room for W, packed. */
static void NAME(affine)(const void *input, const void *W, int64_t rs, int64_t cs, const void *b,
                         int64_t rows, int64_t K, int64_t N, void *y, void *panels) {
  if (rows == 1) {
    NAME(row_product)(input, W, rs, cs, K, N, b, y);
    return;
  }
  const REAL *x = input, *P = panels;
  int64_t whole = N / NR * NR, w = N - whole; /* columns in whole panels, and behind them */
  NAME(pack)(W, K, N, rs, cs, panels);
  if (whole) NAME(product)(x, K, P, rows, K, whole, b, 0, y, N);
  if (!w) return;
  REAL start[NR] = {0}, edge[8 * NR], *out = (REAL *)y + whole;
  if (b) memcpy(start, (const REAL *)b + whole, (size_t)w * sizeof(REAL));
  for (int64_t i = 0; i < rows; i += MR) {
    int64_t m = rows - i < MR ? rows - i : MR;
    NAME(tiles)[m - 1](x + i * K, K, 1, P + whole * K, K, start, 0, edge, NR);
    for (int64_t q = 0; q < m; q++)
      for (int64_t v = 0; v < w; v++) out[(i + q) * N + v] = edge[q * NR + v];
  }
}

/* dW (K, N) += x^T @ g and db (N) += the sum over rows of g (rows, N); `panel` has room for
   CHUNK rows of one panel. */
static void NAME(affine_gradients)(const void *x, const void *g, int64_t rows, int64_t K, int64_t N,
                                   void *dW, void *db, void *panel) {
  /* Of x and g one goes in panels, the other number by number: as makes fewer tiles. */
  int64_t tiles = (K + MR - 1) / MR * ((N + NR - 1) / NR);
  int turned = (N + MR - 1) / MR * ((K + NR - 1) / NR) < tiles;
  const REAL *one = turned ? g : x, *other = turned ? x : g;
  int64_t A = turned ? N : K, B = turned ? K : N;
  REAL sum[8 * NR], *G = dW;
  for (int64_t first = 0; first < rows; first += CHUNK) {
    int64_t R = rows - first < CHUNK ? rows - first : CHUNK;
    for (int64_t j = 0; j < B; j += NR) {
      int64_t w = B - j < NR ? B - j : NR;
      const REAL *P = other + first * B;
      if (B != NR) NAME(pack)(P + j, R, w, B, 1, panel), P = panel;
      for (int64_t i = 0; i < A; i += MR) {
        int64_t m = A - i < MR ? A - i : MR;
        NAME(tile_t) tile = NAME(tiles)[m - 1];
        const REAL *a = one + first * A + i;
        tile(a, 1, A, P, R, 0, 0, sum, NR);
        for (int64_t q = 0; q < m; q++) {
          REAL *to = turned ? G + j * N + i + q : G + (i + q) * N + j, *from = sum + q * NR;
          int64_t next = turned ? N : 1;
          if (w == NR && !turned) {
            NAME(store)(to, NAME(load)(to) + NAME(load)(from));
            NAME(store)(to + VL, NAME(load)(to + VL) + NAME(load)(from + VL));
          } else {
            for (int64_t v = 0; v < w; v++) to[v * next] += from[v];
          }
        }
      }
    }
  }
  for (int64_t first = 0; db && first < rows; first += 32) { /* in parts: less is lost in rounding */
    const REAL *row = (const REAL *)g + first * N;
    int64_t R = rows - first < 32 ? rows - first : 32, j = 0;
    REAL *to = db;
    for (; j + VL <= N; j += VL) {
      vec part = {0};
      for (int64_t i = 0; i < R; i++) part += NAME(load)(row + i * N + j);
      NAME(store)(to + j, NAME(load)(to + j) + part);
    }
    for (; j < N; j++) {
      REAL part = 0;
      for (int64_t i = 0; i < R; i++) part += row[i * N + j];
      to[j] += part;
    }
  }
}

/* ------------------------------------------------------------------ optimizers */

static double NAME(squares)(const void *vector, int64_t n) { /* their sum, in double precision */
  const REAL *x = vector;
  double sums[16] = {0}, sum = 0;
  int64_t k = 0;
  for (; k + 16 <= n; k += 16)
    for (int v = 0; v < 16; v++) sums[v] += (double)x[k + v] * (double)x[k + v];
  for (; k < n; k++) sum += (double)x[k] * (double)x[k];
  for (int v = 0; v < 16; v++) sum += sums[v];
  return sum;
}

/* m = beta1 m + g, v = beta2 v + g^2, value -= rate m / (sqrt(v) + epsilon). */
static void NAME(adam)(void *values, const void *gradient, void *first, void *second, int64_t n,
                       const double *numbers) {
  REAL *restrict x = values, *restrict m = first, *restrict v = second;
  const REAL *restrict g = gradient;
  const REAL beta1 = (REAL)numbers[0], beta2 = (REAL)numbers[1];
  const REAL rate = (REAL)numbers[2], epsilon = (REAL)numbers[3];
  for (int64_t k = 0; k < n; k++) {
    m[k] = m[k] * beta1 + g[k];
    v[k] = v[k] * beta2 + g[k] * g[k];
    REAL root = IS32 ? (REAL)sqrtf((float)v[k]) : (REAL)sqrt((double)v[k]);
    x[k] -= rate * (m[k] / (root + epsilon));
  }
}
