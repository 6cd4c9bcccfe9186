// Weights as the kernels read them:  w [outputs][inputs][r^3] -> U [A^3][N / LINE][K][LINE],  U = G
// w along each axis, with K and N the channels rounded up to whole lines (zeros beyond). The sums
// are in double, the result in float.
//
// G follows from the points p of the transform (Toom-Cook): G[j][k] = p_j^k / prod_{l != j}(p_j -
// p_l), the last row takes the highest tap. A direct convolution is the case A = r, G = 1.
#include "layer.h"
#include "transforms.h"

enum { MOST_POINTS = 6, MOST_TAPS = 3 };
typedef struct {
  long id;
  int A, r;
  double points[5]; // all but infinity
} rule_t;
static const rule_t RULES[] = {
    {43, 6, 3, {0, A43, -A43, B43, -B43}},
    {42, 5, 2, {0, A42, -A42, B42}},
    {1, 1, 1, {0}},
    {2, 2, 2, {0}},
    {3, 3, 3, {0}},
    {23, 4, 3, {0}},
    {22, 3, 2, {0}},
};
static const double G23[] = {1, 0, 0, .5, .5, .5, .5, -.5, .5, 0, 0, 1}, G22[] = {1, 0, 1, 1, 0, 1};

static const rule_t *rule_of(long id) {
  for (unsigned i = 0; i < sizeof RULES / sizeof *RULES; i++)
    if (RULES[i].id == id) return RULES + i;
  return NULL;
}
static void make_G(const rule_t *rule, double *G) {
  const int A = rule->A, r = rule->r;
  if (rule->id == 23) memcpy(G, G23, sizeof G23);
  else if (rule->id == 22) memcpy(G, G22, sizeof G22);
  else
    for (int j = 0; j < A; j++) {
      double v = 1;
      if (A > r && j < A - 1)
        for (int l = 0; l < A - 1; l++)
          if (l != j) v /= rule->points[j] - rule->points[l];
      for (int k = 0; k < r; k++) {
        G[j * r + k] = A == r ? j == k : j < A - 1 ? v : k == r - 1;
        if (j < A - 1) v *= rule->points[j];
      }
    }
}
// o[p][line] = G s along each axis, for one input channel and LINE output channels.
static void transform_line(int A, int r, const double *G, double (*s)[LINE], float (*o)[LINE]) {
  double t1[MOST_POINTS * MOST_TAPS * MOST_TAPS][LINE],
      t2[MOST_POINTS * MOST_POINTS * MOST_TAPS][LINE];
  memset(t1, 0, sizeof t1);
  memset(t2, 0, sizeof t2);
  for (int a = 0; a < A; a++)
    for (int i = 0; i < r; i++)
      for (int q = 0; q < r * r; q++)
        for (int l = 0; l < LINE; l++) t1[a * r * r + q][l] += G[a * r + i] * s[i * r * r + q][l];
  for (int a = 0; a < A; a++)
    for (int b = 0; b < A; b++)
      for (int i = 0; i < r; i++)
        for (int q = 0; q < r; q++)
          for (int l = 0; l < LINE; l++)
            t2[(a * A + b) * r + q][l] += G[b * r + i] * t1[(a * r + i) * r + q][l];
  for (int ab = 0; ab < A * A; ab++)
    for (int c = 0; c < A; c++) {
      double v[LINE] = {0};
      for (int i = 0; i < r; i++)
        for (int l = 0; l < LINE; l++) v[l] += G[c * r + i] * t2[ab * r + i][l];
      for (int l = 0; l < LINE; l++) o[ab * A + c][l] = (float)v[l];
    }
}
// Floats of U, or 0 for an unknown kernel.
long packed_floats(long kernel, long outputs, long inputs) {
  const rule_t *rule = rule_of(kernel);
  const long K = (inputs + LINE - 1) / LINE * LINE, N = (outputs + LINE - 1) / LINE * LINE;
  return rule ? rule->A * rule->A * rule->A * K * N : 0;
}
typedef struct {
  const rule_t *rule;
  const double *w;
  const long *strides;
  float *U;
  long outputs, inputs;
  double G[MOST_POINTS * MOST_TAPS];
  long next;
} job_t;
static void lines_share(void *given, const member_t *me) {
  job_t *j = given;
  const int A = j->rule->A, r = j->rule->r, taps = r * r * r, points = A * A * A;
  const long K = (j->inputs + LINE - 1) / LINE * LINE, panels = (j->outputs + LINE - 1) / LINE;
  (void)me;
  for (long i; (i = take(&j->next, 1)) < panels * K;) {
    const long panel = i / K, in = i % K;
    double s[MOST_TAPS * MOST_TAPS * MOST_TAPS][LINE];
    float o[MOST_POINTS * MOST_POINTS * MOST_POINTS][LINE];
    for (int l = 0; l < LINE; l++) {
      const long out = panel * LINE + l;
      for (int q = 0; q < taps; q++)
        s[q][l] = out < j->outputs && in < j->inputs
                      ? j->w[out * j->strides[0] + in * j->strides[1] + q * j->strides[2]]
                      : 0;
    }
    transform_line(A, r, j->G, s, o);
    for (long p = 0; p < points; p++)
      memcpy(j->U + ((p * panels + panel) * K + in) * LINE, o[p], sizeof o[p]);
  }
}
// strides: of w, in doubles, per output, input and tap. Returns 0, or 1 on an unknown kernel.
int pack(long kernel, long outputs, long inputs, const double *w, const long strides[3], float *U,
         long threads) {
  const rule_t *rule = rule_of(kernel);
  if (!rule) return 1;
  job_t j = {
      .rule = rule, .w = w, .strides = strides, .U = U, .outputs = outputs, .inputs = inputs};
  make_G(rule, j.G);
  parallel(threads, lines_share, &j);
  return 0;
}
