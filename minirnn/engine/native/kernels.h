/* The machine for one dtype and one instruction set.
   machine.c includes this file once for each combination, with REAL, VBYTES (of a vector register)
   and SUFFIX, which NAME(x) hangs on every name. */

#define vec NAME(vec)
#define ivec NAME(ivec)
#define uvec NAME(uvec)
typedef REAL vec __attribute__((vector_size(VBYTES), aligned(sizeof(REAL)), may_alias));
typedef __typeof__((vec){0} < (vec){0}) ivec; /* what a comparison gives: 0 or -1 */
typedef __typeof__(__builtin_choose_expr(sizeof(REAL) == 4, (uint32_t)0, (uint64_t)0)) NAME(uint);
typedef NAME(uint) uvec __attribute__((vector_size(VBYTES)));
#define VL ((int64_t)(VBYTES / sizeof(REAL)))
#define NR (2 * VL)                  /* columns of one panel of packed weights */
#define MR (VBYTES == 32 ? 6 : 8)    /* rows of one tile: its sums fill the vector registers */
#define DEPTH (16384 / (int64_t)(NR * sizeof(REAL)))
#define IS32 (sizeof(REAL) == 4)
#define C32(a, b) ((REAL)(IS32 ? (a) : (b)))

/* ------------------------------------------------------------------ vectors and their maths */

INL vec NAME(load)(const REAL *p) { return *(const vec *)p; }
INL void NAME(store)(REAL *p, vec v) { *(vec *)p = v; }
INL vec NAME(part)(const REAL *p, int64_t n) { /* the first n numbers, then zeros */
  vec v = {0};
  memcpy(&v, p, (size_t)n * sizeof(REAL));
  return v;
}
INL vec NAME(splat)(REAL x) { return x - (vec){0}; }
INL vec NAME(chosen)(ivec c, vec a, vec b) { return (vec)(((ivec)a & c) | ((ivec)b & ~c)); }
INL vec NAME(as_numbers)(ivec c) { return (vec)((ivec)NAME(splat)(1) & c); }
#define choose NAME(chosen)
#define truth NAME(as_numbers)

INL vec NAME(magnitude)(vec x) { return (vec)((ivec)x & ~(ivec)NAME(splat)((REAL)-0.0)); }
INL vec NAME(maximum)(vec a, vec b) { return choose((a >= b) | (a != a), a, b); }
INL vec NAME(minimum)(vec a, vec b) { return choose((a <= b) | (a != a), a, b); }

/* exp(y) = s (1 + p): s = 2^n with a whole n, and p = exp(r) - 1 by a polynomial in |r| <= log(2) / 2.
   Adding a large number rounds to a whole one, and leaves it in the low bits, to be shifted to
   where the exponent stands. `exact`, too, if y is large: then s is half of that, as 2^n may be too
   large itself, and log(2) is taken in two parts. */
INL vec NAME(reduced)(vec y, vec *s, const int exact) {
  const REAL large = C32(12582912.0 + 127, 6755399441055744.0 + 1023);
  vec shifted = y * C32(1.44269504, 1.4426950408889634) + large, whole = shifted - large, r, p;
  if (exact) {
    r = y - whole * C32(0.693359375, 6.93145751953125e-1);
    r = r - whole * C32(-2.12194440e-4, 1.42860682030941723212e-6);
  } else {
    r = y - whole * C32(0.69314718, 0.6931471805599453);
  }
  *s = (vec)(((uvec)shifted - (exact ? 1 : 0)) << (IS32 ? 23 : 52));
  if (IS32) {
    p = 1.38146018e-3f * r + 8.36871522e-3f;
  } else {
    p = (REAL)1.6059043836821613e-10 * r + (REAL)2.08767569878681e-09;
    p = p * r + (REAL)2.505210838544172e-08;
    p = p * r + (REAL)2.755731922398589e-07;
    p = p * r + (REAL)2.7557319223985893e-06;
    p = p * r + (REAL)2.48015873015873e-05;
    p = p * r + (REAL)1.984126984126984e-04;
    p = p * r + (REAL)1.388888888888889e-03;
    p = p * r + (REAL)8.333333333333333e-03;
  }
  p = p * r + C32(4.16683879e-2, 4.1666666666666664e-02);
  p = p * r + C32(1.66665206e-1, 1.6666666666666666e-01);
  p = p * r + C32(0.499999934, 0.5);
  return p * r * r + r;
}
INL vec NAME(clamped)(vec x, REAL least, REAL most) { /* NaN stays */
  x = choose(x > most, NAME(splat)(most), x);
  return choose(x < least, NAME(splat)(least), x);
}
INL vec NAME(exponential)(vec x) {
  const REAL most = C32(89, 710), least = C32(-87.3, -708.3);
  vec s, p = NAME(reduced)(NAME(clamped)(x, least, most), &s, 1);
  return choose(x < least, (vec){0}, (s * p + s) * 2);
}
INL vec NAME(logistic)(vec x) { /* 1 / (1 + exp(-x)) */
  vec s, p = NAME(reduced)(NAME(clamped)(-x, -C32(80, 700), C32(80, 700)), &s, 0);
  return 1 / (s * p + (s + 1));
}
INL vec NAME(tangent)(vec x) { /* tanh(a) = e / (2 - e) with e = 1 - exp(-2 a) */
  const ivec sign = (ivec)NAME(splat)((REAL)-0.0);
  const REAL most = C32(10, 20);
  vec a = NAME(magnitude)(x), s;
  a = choose(a > most, NAME(splat)(most), a);
  vec p = NAME(reduced)(-2 * a, &s, 0), e = (1 - s) - s * p;
  return (vec)((ivec)(e / (2 - e)) | ((ivec)x & sign));
}
INL vec NAME(each)(double (*f)(double), vec x) {
  for (int i = 0; i < VL; i++) x[i] = (REAL)f((double)x[i]);
  return x;
}
INL vec NAME(root)(vec x) {
  for (int i = 0; i < VL; i++) x[i] = (REAL)(IS32 ? sqrtf((float)x[i]) : sqrt((double)x[i]));
  return x;
}
INL vec NAME(raise)(vec x, vec y) {
  for (int i = 0; i < VL; i++) x[i] = (REAL)pow((double)x[i], (double)y[i]);
  return x;
}
INL vec NAME(sign)(vec x) { return choose(x != x, x, truth(x > 0) - truth(x < 0)); }

/* ------------------------------------------------------------------ products */

/* W (K, N), of any strides, into panels (N / NR, K, NR), with zeros behind the last column. */
static void NAME(pack)(const void *weights, int64_t K, int64_t N, int64_t rs, int64_t cs, void *to) {
  const REAL *W = weights;
  REAL *P = to;
  for (int64_t j = 0; j < N; j += NR, P += K * NR) {
    int64_t w = N - j < NR ? N - j : NR;
    if (cs == 1 && w == NR) {
      for (int64_t k = 0; k < K; k++)
        for (int64_t v = 0; v < NR; v += VL) NAME(store)(P + k * NR + v, NAME(load)(W + k * rs + j + v));
      continue;
    }
    for (int64_t k0 = 0; k0 < K; k0 += 16) { /* few rows at a time stay in the cache */
      int64_t k1 = k0 + 16 < K ? k0 + 16 : K;
      for (int64_t v = 0; v < NR; v++)
        for (int64_t k = k0; k < k1; k++) P[k * NR + v] = v < w ? W[k * rs + (j + v) * cs] : 0;
    }
  }
}

/* C (M rows, NR) = D + A (M rows, K) @ P (K, NR); no D: zeros. ra, ca, rd, rc are distances. Unrolled,
   the sums stay in registers to the end. */
#define FOR_ROWS(M) _Pragma("GCC unroll 8") for (int i = 0; i < M; i++)
#define TILE(M)                                                                                  \
  static NOINLINE void NAME(tile##M)(const REAL *A, int64_t ra, int64_t ca, const REAL *P,       \
                                     int64_t K, const REAL *D, int64_t rd, REAL *C, int64_t rc) { \
    vec c[M][2];                                                                                 \
    FOR_ROWS(M) {                                                                                \
      c[i][0] = D ? NAME(load)(D + i * rd) : (vec){0};                                           \
      c[i][1] = D ? NAME(load)(D + i * rd + VL) : (vec){0};                                      \
    }                                                                                            \
    for (int64_t k = 0; k < K; k++, P += NR, A += ca) {                                          \
      vec p0 = NAME(load)(P), p1 = NAME(load)(P + VL);                                           \
      FOR_ROWS(M) {                                                                              \
        REAL a = A[i * ra];                                                                      \
        c[i][0] += a * p0;                                                                       \
        c[i][1] += a * p1;                                                                       \
      }                                                                                          \
    }                                                                                            \
    FOR_ROWS(M) {                                                                                \
      NAME(store)(C + i * rc, c[i][0]);                                                          \
      NAME(store)(C + i * rc + VL, c[i][1]);                                                     \
    }                                                                                            \
  }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8)
typedef void (*NAME(tile_t))(const REAL *, int64_t, int64_t, const REAL *, int64_t, const REAL *,
                             int64_t, REAL *, int64_t);
static const NAME(tile_t) NAME(tiles)[] = {
    NAME(tile1), NAME(tile2), NAME(tile3), NAME(tile4),
    NAME(tile5), NAME(tile6), NAME(tile7), NAME(tile8)};

/* C (rows, N) = D + A (rows, K) @ the packed P, for BLOCK_ROWS at most. DEPTH rows of a panel stay
   in the first cache; so do those of A, copied if at their distance they would drive out one another. */
static void NAME(product)(const REAL *A, int64_t ra, const REAL *P, int64_t rows, int64_t K,
                          int64_t N, const REAL *D, int64_t rd, REAL *C, int64_t rc) {
  REAL copy[BLOCK_ROWS * (DEPTH + 16)];
  int64_t tiles = (rows + MR - 1) / MR, depth, far = ra * (int64_t)sizeof(REAL) % 1024 == 0;
  for (int64_t k = 0; k < K; k += depth, D = C, rd = rc) {
    const REAL *from = A + k, *panel = P + k * NR;
    int64_t rf = ra;
    depth = K - k < DEPTH ? K - k : DEPTH;
    if (far && N > 2 * NR) {
      for (int64_t r = 0; r < rows; r++)
        memcpy(copy + r * (DEPTH + 16), from + r * ra, (size_t)depth * sizeof(REAL));
      from = copy, rf = DEPTH + 16;
    }
    for (int64_t j = 0; j < N; j += NR, panel += K * NR) {
      int64_t w = N - j < NR ? N - j : NR;
      for (int64_t i = 0, r = 0, m; i < tiles; i++, r += m) {
        m = (rows - r + tiles - i - 1) / (tiles - i);
        const REAL *a = from + r * rf, *d = D ? D + r * rd + j : 0;
        REAL *c = C + r * rc + j;
        if (w == NR) {
          NAME(tiles)[m - 1](a, rf, 1, panel, depth, d, rd, c, rc);
          continue;
        }
        REAL edge[8 * NR]; /* the last panel, of fewer columns */
        for (int64_t q = 0; q < m; q++)
          for (int64_t v = 0; v < NR; v++) edge[q * NR + v] = d && v < w ? d[q * rd + v] : 0;
        NAME(tiles)[m - 1](a, rf, 1, panel, depth, edge, NR, edge, NR);
        for (int64_t q = 0; q < m; q++)
          for (int64_t v = 0; v < w; v++) c[q * rc + v] = edge[q * NR + v];
      }
    }
  }
}

/* C (N) += A (R) @ W (R, N), rows of W as they lie in memory; C stays in the first cache. */
INL void NAME(add_rows)(const REAL *A, const REAL *W, int64_t rs, int64_t N, REAL *C, const int R) {
  int64_t j = 0;
  for (; j + 2 * VL <= N; j += 2 * VL) {
    vec c0 = NAME(load)(C + j), c1 = NAME(load)(C + j + VL);
    for (int i = 0; i < R; i++) {
      c0 += A[i] * NAME(load)(W + i * rs + j);
      c1 += A[i] * NAME(load)(W + i * rs + j + VL);
    }
    NAME(store)(C + j, c0);
    NAME(store)(C + j + VL, c1);
  }
  for (; j < N; j++)
    for (int i = 0; i < R; i++) C[j] += A[i] * W[i * rs + j];
}

/* One row: C (N) = D + A (K) @ W, weights as they lie; packing them would cost as much. */
static void NAME(row_product)(const REAL *A, const REAL *W, int64_t rs, int64_t cs, int64_t K,
                              int64_t N, const REAL *D, REAL *C) {
  if (cs == 1) {
    int64_t k = 0;
    for (int64_t j = 0; j < N; j++) C[j] = D ? D[j] : 0;
    for (; k + 4 <= K; k += 4) NAME(add_rows)(A + k, W + k * rs, rs, N, C, 4);
    for (; k < K; k++) NAME(add_rows)(A + k, W + k * rs, rs, N, C, 1);
    return;
  }
  for (int64_t j = 0; j < N; j += 4) { /* columns are contiguous, or nothing is: four dot products at a time */
    int64_t m = N - j < 4 ? N - j : 4, k = 0;
    vec c[4] = {{0}, {0}, {0}, {0}};
    REAL s[4] = {0, 0, 0, 0};
    const REAL *w[4];
    for (int64_t i = 0; i < 4; i++) w[i] = W + (j + (i < m ? i : 0)) * cs;
    if (rs == 1)
      for (; k + VL <= K; k += VL) {
        vec a = NAME(load)(A + k);
        for (int i = 0; i < 4; i++) c[i] += a * NAME(load)(w[i] + k);
      }
    for (; k < K; k++)
      for (int i = 0; i < 4; i++) s[i] += A[k] * w[i][k * rs];
    for (int64_t i = 0; i < m; i++) {
      for (int v = 0; v < VL; v++) s[i] += c[i][v];
      C[j + i] = s[i] + (D ? D[j + i] : 0);
    }
  }
}

/* G (K, N) += A^T D over the rows of some steps: gradients of weights, put off to one product.
   D is packed once for all products that share it. */
static void NAME(outer)(const job *J, const outer_t *first, const outer_t *end, int64_t t0,
                        int64_t steps) {
  int64_t R = steps * J->rows, N = first->n;
  REAL *P = J->panel, *Q = P + R * NR;
  const place *pd = &J->places[first->d];
  const REAL *D = (const REAL *)pd->p + (pd->mode == RING ? 0 : t0) * pd->ts + first->d_off;
  REAL sum[8 * NR];
  for (int64_t j = 0; j < N; j += NR) {
    int64_t w = N - j < NR ? N - j : NR;
    for (int64_t t = 0; t < steps; t++)
      for (int64_t s = 0; s < J->rows; s++) {
        const REAL *d = D + t * pd->ts + s * pd->rs + j;
        REAL *p = P + (t * J->rows + s) * NR;
        if (w == NR) {
          __builtin_prefetch(d + NR); /* of the next panel */
          NAME(store)(p, NAME(load)(d));
          NAME(store)(p + VL, NAME(load)(d + VL));
        } else {
          for (int64_t v = 0; v < NR; v++) p[v] = v < w ? d[v] : 0;
        }
      }
    REAL *q = Q;
    for (const outer_t *o = first; o < end; o++) {
      const place *pa = &J->places[o->a];
      const REAL *A = (const REAL *)pa->p + (pa->mode == RING ? 0 : t0) * pa->ts + o->a_off;
      REAL *G = (REAL *)J->places[o->grad].p + o->grad_off;
      int64_t tiles = (o->k + MR - 1) / MR;
      for (int64_t i = 0, k = 0; i < tiles; i++) {
        int64_t m = (o->k - k + tiles - i - 1) / (tiles - i);
        if (j == 0) /* gather the columns k .. k + m of A, once */
          for (int64_t t = 0; t < steps; t++) {
            const REAL *a = A + t * pa->ts + k;
            REAL *to = q + t * J->rows * m;
            for (int64_t s = 0; s < J->rows; s++, a += pa->rs, to += m)
              if (MR <= 2 * VL && k + 2 * VL <= o->k) { /* m or more: what comes next overwrites */
                __builtin_prefetch(a + 64 / sizeof(REAL));
                NAME(store)(to, NAME(load)(a));
                if (VL < MR) NAME(store)(to + VL, NAME(load)(a + VL));
              } else {
                for (int64_t v = 0; v < m; v++) to[v] = a[v];
              }
          }
        for (int64_t v = 0; v < m; v++) __builtin_prefetch(G + (k + v) * o->grad_rs + j, 1);
        NAME(tiles)[m - 1](q, 1, m, P, R, 0, 0, sum, NR);
        for (int64_t v = 0; v < m; v++, k++) {
          REAL *g = G + k * o->grad_rs + j;
          if (w == NR) {
            NAME(store)(g, NAME(load)(g) + NAME(load)(sum + v * NR));
            NAME(store)(g + VL, NAME(load)(g + VL) + NAME(load)(sum + v * NR + VL));
          } else {
            for (int64_t c = 0; c < w; c++) g[c] += sum[v * NR + c];
          }
        }
        q += m * R;
      }
    }
  }
}

/* ------------------------------------------------------------------ elementwise instructions */

typedef struct {
  const REAL *p;   /* the first row */
  int64_t rs, inc; /* to the next row; to the next vector: 0 for a constant */
  int thin;        /* one number a row stands for all columns */
} NAME(source);

#define EACH(EXPR)                                                                               \
  for (int64_t r = 0; r < rows; r++) {                                                           \
    const REAL *pa = A.p + r * A.rs, *pb = B.p + r * B.rs, *pc = C.p + r * C.rs;                 \
    REAL *pd = D + r * drs;                                                                      \
    vec ta, tb, tc;                                                                              \
    if (A.thin) ta = NAME(splat)(*pa), pa = (const REAL *)&ta;                                   \
    if (B.thin) tb = NAME(splat)(*pb), pb = (const REAL *)&tb;                                   \
    if (C.thin) tc = NAME(splat)(*pc), pc = (const REAL *)&tc;                                   \
    int64_t left = n;                                                                            \
    for (; left >= VL; left -= VL, pa += A.inc, pb += B.inc, pc += C.inc, pd += VL) {            \
      vec a = NAME(load)(pa), b = NAME(load)(pb), c = NAME(load)(pc);                            \
      (void)a, (void)b, (void)c;                                                                 \
      NAME(store)(pd, EXPR);                                                                     \
    }                                                                                            \
    if (left) {                                                                                  \
      vec a = NAME(part)(pa, A.inc ? left : VL), b = NAME(part)(pb, B.inc ? left : VL);          \
      vec c = NAME(part)(pc, C.inc ? left : VL);                                                 \
      (void)a, (void)b, (void)c;                                                                 \
      vec e = EXPR;                                                                              \
      memcpy(pd, &e, (size_t)left * sizeof(REAL));                                               \
    }                                                                                            \
  }                                                                                              \
  break;

/* One number from all those of a row: NaN where there is one. Four vectors at a time need not wait
   for one another. */
#define FOLD(NAMED, START, COMBINE)                                                              \
  INL REAL NAME(NAMED)(const REAL *p, int64_t n) {                                               \
    vec a = NAME(splat)(START), b, four[4] = {a, a, a, a};                                       \
    int64_t j = 0;                                                                               \
    for (; j + 4 * VL <= n; j += 4 * VL) FOR_ROWS(4) {                                           \
      a = four[i], b = NAME(load)(p + j + i * VL), four[i] = COMBINE;                            \
    }                                                                                            \
    a = four[0];                                                                                 \
    FOR_ROWS(3) b = four[i + 1], a = COMBINE;                                                    \
    for (; j + VL <= n; j += VL) b = NAME(load)(p + j), a = COMBINE;                             \
    vec all = a;                                                                                 \
    a = NAME(splat)(START);                                                                      \
    for (; j < n; j++) b = NAME(splat)(p[j]), a = COMBINE;                                       \
    for (int v = 0; v < VL && n >= VL; v++) b = NAME(splat)(all[v]), a = COMBINE;                \
    return a[0];                                                                                 \
  }
FOLD(row_sum, 0, a + b)
FOLD(row_most, (REAL)-INFINITY, NAME(maximum)(a, b))
FOLD(row_least, (REAL)INFINITY, NAME(minimum)(a, b))
#define FOLD_EACH(NAMED)                                                                         \
  for (int64_t r = 0; r < rows; r++) D[r * drs] = NAME(NAMED)(A.p + r * A.rs, n);                \
  break;

INL REAL *NAME(find)(const job *J, const operand *o, int64_t t, int64_t s, int64_t q,
                     int64_t width, int64_t *rs) {
  const place *P = &J->places[o->slot];
  if (P->mode == LOCAL) {
    *rs = width;
    return (REAL *)P->p + o->off;
  }
  *rs = P->rs;
  if (P->mode == RING) t -= J->t0;
  return (REAL *)P->p + t * P->ts + (P->mode == OF_BLOCK ? q : s) * P->rs + o->off;
}

INL NAME(source) NAME(fetch)(const job *J, const operand *o, int64_t t, int64_t s, int64_t q,
                             int64_t width, int *flat) {
  NAME(source) S = {(const REAL *)J->constants, 0, 0, 0};
  if (o->kind == NONE) return S;
  if (o->kind == CONST) {
    S.p += o->off * VL;
    return S;
  }
  S.thin = o->kind == THIN;
  S.p = NAME(find)(J, o, t, s, q, S.thin ? 1 : width, &S.rs);
  S.inc = S.thin ? 0 : VL;
  *flat = *flat && S.rs == width && !S.thin;
  return S;
}

/* Run instructions on m rows from row s on, which is row q of its block. */
static void NAME(strip)(const job *J, const instruction *I, const instruction *end, int64_t t,
                        int64_t s, int64_t q, int64_t m) {
  for (; I < end; I++) {
    int64_t rows = m, n = I->w, drs;
    int flat = I->op < FIRST_FOLD;
    NAME(source) A = NAME(fetch)(J, &I->a, t, s, q, n, &flat);
    NAME(source) B = NAME(fetch)(J, &I->b, t, s, q, n, &flat);
    NAME(source) C = NAME(fetch)(J, &I->c, t, s, q, n, &flat);
    REAL *D = NAME(find)(J, &I->d, t, s, q, I->op < FIRST_FOLD ? n : 1, &drs);
    if (flat && drs == n) n *= rows, rows = 1; /* the rows lie one behind the other */
    switch (I->op) {
      case ID: EACH(a)
      case ADD: EACH(a + b)
      case SUB: EACH(a - b)
      case MUL: EACH(a * b)
      case DIV: EACH(a / b)
      case NEG: EACH(-a)
      case ABS: EACH(NAME(magnitude)(a))
      case SIGN: EACH(NAME(sign)(a))
      case MAX: EACH(NAME(maximum)(a, b))
      case MIN: EACH(NAME(minimum)(a, b))
      case GT: EACH(truth(a > b))
      case GE: EACH(truth(a >= b))
      case EQ: EACH(truth(a == b))
      case NE: EACH(truth(a != b))
      case WHERE: EACH(choose(a != 0, b, c))
      case MULADD: EACH(a * b + c)
      case SUBMUL: EACH(c - a * b)
      case MULREST: EACH(a * (b - c))
      case MULREST2: EACH(a * (b - c * c))
      case MULMULREST: EACH(a * b * (c - b))
      case SIGMOID: EACH(NAME(logistic)(a))
      case TANH: EACH(NAME(tangent)(a))
      case EXP: EACH(NAME(exponential)(a))
      case SQRT: EACH(NAME(root)(a))
      case POW: EACH(NAME(raise)(a, b))
      case LOG: EACH(NAME(each)(log, a))
      case LOG1P: EACH(NAME(each)(log1p, a))
      case EXPM1: EACH(NAME(each)(expm1, a))
      case SIN: EACH(NAME(each)(sin, a))
      case COS: EACH(NAME(each)(cos, a))
      case ARCTAN: EACH(NAME(each)(atan, a))
      case SUM: FOLD_EACH(row_sum)
      case ROWMAX: FOLD_EACH(row_most)
      case ROWMIN: FOLD_EACH(row_least)
      case GATHER: /* d += the sum of all rows */
        for (; n >= VL; n -= VL, D += VL, A.p += VL) {
          vec total = NAME(load)(D);
          for (int64_t r = 0; r < rows; r++) total += NAME(load)(A.p + r * A.rs);
          NAME(store)(D, total);
        }
        for (int64_t r = 0; r < rows; r++)
          for (int64_t j = 0; j < n; j++) D[j] += A.p[r * A.rs + j];
        break;
    }
  }
}

/* ------------------------------------------------------------------ the time loop */

static void NAME(fill_constants)(job *J) {
  REAL *p = (REAL *)J->constants;
  for (int64_t i = 0; i < J->program->constant_count; i++) {
    const constant *c = &J->program->constants[i];
    double x = c->power > 0 ? c->value * (double)J->batch
             : c->power < 0 ? c->value / (double)J->batch : c->value;
    for (int v = 0; v < VL; v++) *p++ = (REAL)x;
  }
}

static void NAME(pack_all)(job *J) {
  REAL *P = (REAL *)J->packs;
  for (const instruction *I = J->table->code; I < J->table->code + J->table->count; I++)
    if (I->op == PRODUCT && J->rows > 1) {
      NAME(pack)((REAL *)J->places[I->b.slot].p + I->b.off, I->k, I->w, I->rs, I->cs, P);
      P += I->k * ((I->w + NR - 1) / NR) * NR;
    }
}

static void NAME(one_step)(job *J, int64_t t) {
  const instruction *I = J->table->code;
  for (int64_t s = 0; s < J->rows; s += BLOCK_ROWS) {
    int64_t m = J->rows - s < BLOCK_ROWS ? J->rows - s : BLOCK_ROWS;
    const REAL *P = (const REAL *)J->packs;
    for (const stage *g = J->table->stages; g < J->table->stages + J->table->stage_count; g++) {
      if (g->strip) {
        for (int64_t q = 0; q < m; q += g->strip)
          NAME(strip)(J, I + g->first, I + g->end, t, s + q, q, m - q < g->strip ? m - q : g->strip);
        continue;
      }
      for (const instruction *i = I + g->first; i < I + g->end; i++) {
        int64_t ra, rc, rd = 0;
        const REAL *a = NAME(find)(J, &i->a, t, s, 0, i->k, &ra), *d = 0;
        REAL *c = NAME(find)(J, &i->d, t, s, 0, i->w, &rc);
        if (i->c.kind != NONE) d = NAME(find)(J, &i->c, t, s, 0, i->w, &rd);
        if (J->rows == 1) {
          const REAL *W = (const REAL *)J->places[i->b.slot].p + i->b.off;
          NAME(row_product)(a, W, i->rs, i->cs, i->k, i->w, d, c);
        } else {
          NAME(product)(a, ra, P, m, i->k, i->w, d, rd, c, rc);
          P += i->k * ((i->w + NR - 1) / NR) * NR;
        }
      }
    }
  }
}

/* What a step computed as next is what the one before or after it begins with. */
static void NAME(swap)(job *J, int kind) {
  int64_t n = J->program->state_count;
  place *first = J->places + FIRST_STATE + (kind == STATE ? 0 : 2 * n);
  for (int64_t i = 0; i < n; i++) {
    void *p = first[i].p;
    first[i].p = first[i + n].p;
    first[i + n].p = p;
  }
}

static REAL *NAME(at)(const job *J, int64_t slot, int64_t t, int64_t row) {
  const place *p = &J->places[slot];
  return (REAL *)p->p + t * p->ts + row * p->rs;
}

static int NAME(is_masked)(const job *J, int64_t t, int64_t row) {
  const place *p = &J->places[MASK];
  return !((const char *)p->p)[t * p->ts + row * p->rs];
}

/* What is given for masked rows may be anything, NaN too: take a copy with zeros in them. */
static REAL *NAME(without_padding)(job *J, int slot, REAL *copy) {
  int64_t w = J->program->slots[slot].width;
  place p = {copy, J->rows * w, w, ROWS};
  for (int64_t t = 0; t < J->time; t++)
    for (int64_t r = 0; r < J->rows; r++, copy += w) {
      if (NAME(is_masked)(J, t, r)) memset(copy, 0, (size_t)w * sizeof(REAL));
      else memcpy(copy, NAME(at)(J, slot, t, r), (size_t)w * sizeof(REAL));
    }
  J->places[slot] = p;
  return copy;
}

/* Of a masked row, hold the states, or the gradients on them, that a step begins with; once it is
   taken, hand them on in place of its results. The gradient that goes into the cell is zero. */
static void NAME(hold_masked)(job *J, int64_t t, int taken) {
  const int64_t n = J->program->state_count, first = FIRST_STATE + (J->back ? 2 * n : 0);
  const slot *slots = J->program->slots;
  const int out = J->back ? GRAD_X : Y;
  REAL *held = J->held;
  for (int64_t r = 0; r < J->rows; r++) {
    if (!NAME(is_masked)(J, t, r)) continue;
    for (int64_t i = first; i < first + n; held += slots[i++].width) {
      size_t bytes = (size_t)slots[i].width * sizeof(REAL);
      if (taken) memcpy(NAME(at)(J, i + n, t, r), held, bytes);
      else memcpy(held, NAME(at)(J, i, t, r), bytes);
      if (!taken && J->back) memset(NAME(at)(J, i, t, r), 0, bytes);
    }
    if (taken && J->places[out].p)
      memset(NAME(at)(J, out, t, r), 0, (size_t)slots[out].width * sizeof(REAL));
  }
}

INL void NAME(masked_step)(job *J, int64_t t) {
  if (J->masked) NAME(hold_masked)(J, t, 0);
  NAME(one_step)(J, t);
  if (J->masked) NAME(hold_masked)(J, t, 1);
}

static void NAME(forward)(job *J) {
  NAME(fill_constants)(J);
  NAME(pack_all)(J);
  if (J->masked) NAME(without_padding)(J, X, J->copies);
  for (int64_t t = 0; t < J->time; t++) {
    NAME(masked_step)(J, t);
    if (!J->keep) NAME(swap)(J, STATE);
  }
}

static void NAME(backward)(job *J) {
  const program *P = J->program;
  NAME(fill_constants)(J);
  NAME(pack_all)(J);
  if (J->masked) NAME(without_padding)(J, GRAD_Y, NAME(without_padding)(J, X, J->copies));
  for (int64_t t1 = J->time; t1 > 0; t1 -= J->chunk) { /* the chunk t0 .. t1 */
    J->t0 = t1 > J->chunk ? t1 - J->chunk : 0;
    for (int64_t t = t1 - 1; t >= J->t0; t--) {
      NAME(masked_step)(J, t);
      NAME(swap)(J, GRAD_STATE);
    }
    for (int64_t i = 0, k = 0; i < P->outer_count; i = k) { /* those of one d together */
      while (k < P->outer_count && P->outers[k].d == P->outers[i].d &&
             P->outers[k].d_off == P->outers[i].d_off && P->outers[k].n == P->outers[i].n)
        k++;
      NAME(outer)(J, P->outers + i, P->outers + k, J->t0, t1 - J->t0);
    }
  }
}

static void NAME(add)(void *to, const void *from, int64_t n) {
  for (int64_t i = 0; i < n; i++) ((REAL *)to)[i] += ((const REAL *)from)[i];
}

#include "step.h"

static const backend NAME(backend) = {
    NAME(forward), NAME(backward), NAME(add), NAME(pack), NAME(cross_entropy), NAME(affine),
    NAME(affine_back), NAME(squares), NAME(adam), NR, VL};

#undef REAL
#undef SUFFIX
