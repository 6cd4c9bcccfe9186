// Layers of tokens: each row goes through without meeting another one, a block of rows at a time.
//
//   layer_norm   y = norm(x)
//   linear       y = x' * W + bias [+ y],  x' = x or norm(x)
//   perceptron   y = x + gelu(norm(x) * W + bias) * W2 + bias2,  y may be x
//   merge        y = norm(corners of x) * W + bias, onto a grid half as fine (arXiv 2103.14030)
//
// Layer norms have no scale and shift of their own: both are part of W and bias. Widths are
// multiples of LINE. Long sums are cut: those of a chunk of hidden numbers, or of a corner, are
// added up on their own, or rounding would grow with the whole length. Their weights are packed one
// after the other.
#include "gelu.h"
#include "gemm.h"
#include "threads.h"
#include "tokens.h"

typedef struct {
  long threads, rows;           // rows: tokens of x; of y where it is coarser
  long inputs, hidden, outputs; // widths as stored; merge: `inputs` of one corner
  long channels;                // that the norm counts; 0: no norm
  long chunk;                   // perceptron: hidden numbers at a time
  long height, width;           // merge: of y's grid
  const float *x, *weights, *bias, *weights2, *bias2;
  float *y;
  long add;       // linear: y += instead of y =
  long block;     // rows at a time
  float *scratch; // [threads][rows_scratch]
} rows_layer_t;

enum { CORNERS = 6 };

// Floats of scratch memory that a thread needs: a block's rows as products read them, hidden rows,
// a product, their sum.
long rows_scratch(const rows_layer_t *L) {
  return L->block * ((L->height ? CORNERS : 1) * L->inputs + L->chunk + 2 * L->outputs);
}

typedef void block_fn(const rows_layer_t *, long first, long n, float *own);
typedef struct {
  const rows_layer_t *L;
  block_fn *block;
  long next;
} job_t;
static void rows_share(void *given, const member_t *me) {
  job_t *j = given;
  const rows_layer_t *L = j->L;
  const long blocks = (L->rows + L->block - 1) / L->block;
  float *own = L->scratch + me->number * rows_scratch(L);
  for (long b; (b = take(&j->next, 1)) < blocks;) {
    const long first = b * L->block, left = L->rows - first;
    j->block(L, first, left < L->block ? left : L->block, own);
  }
}
static void run(const rows_layer_t *L, block_fn *block) {
  job_t j = {L, block, 0};
  parallel(L->threads, rows_share, &j);
}

static void norm_rows(const rows_layer_t *L, long first, long n, float *out) {
  for (long i = 0; i < n; i++)
    norm_row(L->x + (first + i) * L->inputs, L->channels, L->inputs, out + i * L->inputs);
}

static void layer_norm_block(const rows_layer_t *L, long first, long n, float *own) {
  (void)own;
  for (long i = first; i < first + n; i++) {
    norm_row(L->x + i * L->inputs, L->channels, L->inputs, L->y + i * L->inputs);
    memset(L->y + i * L->inputs + L->channels, 0, (size_t)(L->inputs - L->channels) * sizeof *L->y);
  }
}
void layer_norm(const rows_layer_t *L) { run(L, layer_norm_block); }

static void linear_block(const rows_layer_t *L, long first, long n, float *own) {
  const float *x = L->x + first * L->inputs;
  float *product = own + L->block * L->inputs;
  if (L->channels) {
    norm_rows(L, first, n, own);
    x = own;
  }
  gemm(n, L->inputs, L->outputs, x, L->weights, product, x);
  finish_rows(product, L->bias, n, L->outputs, L->add, L->y + first * L->outputs);
}
void linear(const rows_layer_t *L) { run(L, linear_block); }

// The sum over a part of W's rows: total = a * W, or total += a * W by way of `product`.
static void add_product(long n, long inputs, long outputs, const float *a, const float *W,
                        int first, float *product, float *total) {
  gemm(n, inputs, outputs, a, W, first ? total : product, a);
  if (!first)
    for (long i = 0; i < n * outputs; i += LANES)
      store(total + i, load(total + i) + load(product + i));
}

static void perceptron_block(const rows_layer_t *L, long first, long n, float *own) {
  float *hidden = own + L->block * L->inputs, *product = hidden + L->block * L->chunk;
  float *total = product + L->block * L->outputs;
  norm_rows(L, first, n, own);
  for (long h = 0; h < L->hidden; h += L->chunk) {
    const long width = L->hidden - h < L->chunk ? L->hidden - h : L->chunk;
    gemm(n, L->inputs, width, own, L->weights + h * L->inputs, hidden, hidden);
    for (long i = 0; i < n; i++)
      for (long c = 0; c < width; c += LANES)
        store(hidden + i * width + c, gelu(load(hidden + i * width + c) + load(L->bias + h + c)));
    add_product(n, width, L->outputs, hidden, L->weights2 + h * L->outputs, h == 0, product, total);
  }
  float *y = L->y + first * L->outputs;
  if (L->y != L->x) memcpy(y, L->x + first * L->inputs, (size_t)(n * L->outputs) * sizeof *y);
  finish_rows(total, L->bias2, n, L->outputs, 1, y);
}
void perceptron(const rows_layer_t *L) { run(L, perceptron_block); }

// The published network gathers eight corners of each 2^3 block of tokens, 001 and 010 twice, 011
// and 110 never. Six are gathered here: a corner's two columns of W are added up, and the norm's
// sums count it twice.
static const int CORNER[CORNERS][3] = {{0, 0, 0}, {1, 0, 0}, {0, 1, 0},
                                       {0, 0, 1}, {1, 0, 1}, {1, 1, 1}};
static const float TIMES[CORNERS] = {1, 1, 2, 2, 1, 1};

// Corners of y's token i -> out[corner], `step` floats apart.
static void corners_row(const rows_layer_t *L, long i, long step, float *out) {
  const long z = i / (L->width * L->height), y = i / L->width % L->height, x = i % L->width;
  const long count = 8 * L->channels;
  const float *corner[CORNERS];
  float total = 0, squares = 0;
  for (int k = 0; k < CORNERS; k++) {
    const long at = ((2 * z + CORNER[k][0]) * 2 * L->height + 2 * y + CORNER[k][1]) * 2 * L->width +
                    2 * x + CORNER[k][2];
    corner[k] = L->x + at * L->inputs;
    total += TIMES[k] * sum_row(corner[k], L->channels);
  }
  const float mean = total / (float)count;
  for (int k = 0; k < CORNERS; k++) squares += TIMES[k] * squares_row(corner[k], mean, L->channels);
  const float factor = 1 / sqrtf(squares / (float)count + NORM_EPS);
  for (int k = 0; k < CORNERS; k++) centre_row(corner[k], mean, factor, L->inputs, out + k * step);
}
static void merge_block(const rows_layer_t *L, long first, long n, float *own) {
  const long step = L->block * L->inputs;
  float *product = own + CORNERS * step, *total = product + L->block * L->outputs;
  for (long i = 0; i < n; i++) corners_row(L, first + i, step, own + i * L->inputs);
  for (int k = 0; k < CORNERS; k++)
    add_product(n, L->inputs, L->outputs, own + k * step, L->weights + k * L->inputs * L->outputs,
                k == 0, product, total);
  finish_rows(total, L->bias, n, L->outputs, 0, L->y + first * L->outputs);
}
void merge(const rows_layer_t *L) { run(L, merge_block); }
