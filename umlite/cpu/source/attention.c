// Shifted-window attention (Swin, arXiv 2103.14030) over a grid of tokens, straight from the grid
// and back to it.
//
//   y[query] = sum over a window's keys of p * v[key]
//   p = softmax(q . k + bias[head][query][key] + mask)
//
// The grid is padded at its ends to whole windows and rolled back by `shift`; token t of a window
// then lies where window and t say, and nothing is moved in memory. Padded tokens are keys like
// others, with the same numbers everywhere, and as queries they are left out. After a roll a window
// at the end holds up to eight regions that are no neighbours: the mask is MASKED between them.
// Scores are exponents of two: q and bias carry log2(e), q also the 1 / sqrt(dim).
//
// Piece of work: one head of one window. Scores of ROWS queries stay in L1 from their product to
// their use.
#include "exp2.h"
#include "gemm.h"
#include "threads.h"

#define MASKED (-100 * 1.44269504f)
enum { REGIONS = 8, AHEAD = 24 };

typedef struct {
  long threads;
  long grid[3], side[3]; // tokens; tokens of a window
  long shift[3];         // of the roll, 0 where an axis is one window
  long heads, dim;       // dim: of a head as stored, a multiple of LINE
  const float *qkv;      // [grid][3][heads][dim]
  const float *padding;  // [3][heads][dim], of a padded token
  const float *bias;     // [heads][side^3][side^3 rounded up to LINE], very low beyond side^3
  float *y;              // [grid][heads][dim]
  float *scratch;        // [threads][attention_scratch], lines
} attention_t;

// A window's tokens.
typedef struct {
  int queries; // how many tokens are no padding
  int regions; // 1: the window holds more than one region
  int *token;  // [count] index in the grid or -1
  int *region; // [count]
  int *query;  // [queries] index in the window
} tokens_t;

// One head of a window, as the products read it.
typedef struct {
  long count, keys;    // tokens of a window; rounded up to LINE
  float *transposed_k; // [keys / LINE][dim][LINE]
  float *v;            // [dim / LINE][count][LINE]
  float *q;            // [queries, a few more][dim]
  float *scores;       // [ROWS][keys]
  float *out;          // [ROWS][dim]
  float *masks;        // [REGIONS][keys]
} work_t;

static long rounded(long n) { return (n + LINE - 1) / LINE * LINE; }
static long count_of(const attention_t *L) { return L->side[0] * L->side[1] * L->side[2]; }
static long windows_of(const attention_t *L, int axis) {
  return (L->grid[axis] + L->side[axis] - 1) / L->side[axis];
}

// Floats of scratch memory that a thread needs.
long attention_scratch(const attention_t *L) {
  const long keys = rounded(count_of(L));
  return keys * (3 * L->dim + ROWS + REGIONS + 3) + 2 * ROWS * L->dim;
}
static work_t share_out(const attention_t *L, float *own, tokens_t *of) {
  work_t w;
  w.count = count_of(L);
  w.keys = rounded(w.count);
  w.transposed_k = own;
  w.v = w.transposed_k + w.keys * L->dim;
  w.q = w.v + w.keys * L->dim;
  w.scores = w.q + (w.keys + ROWS) * L->dim;
  w.out = w.scores + ROWS * w.keys;
  w.masks = w.out + ROWS * L->dim;
  of->token = (int *)(w.masks + REGIONS * w.keys);
  of->region = of->token + w.keys;
  of->query = of->region + w.keys;
  // Keys beyond count: zeros, masks too.
  memset(w.transposed_k, 0, (size_t)(w.keys * L->dim) * sizeof(float));
  memset(w.masks, 0, (size_t)(REGIONS * w.keys) * sizeof(float));
  return w;
}

// Tokens and regions of a window.
static void find_tokens(const attention_t *L, long window, tokens_t *of) {
  const long *grid = L->grid, *side = L->side;
  const long at[3] = {window / (windows_of(L, 1) * windows_of(L, 2)),
                      window / windows_of(L, 2) % windows_of(L, 1), window % windows_of(L, 2)};
  long start[3], padded[3]; // place of the first token before the roll, in the padded grid
  long cut[3];              // where the region changes
  of->queries = of->regions = 0;
  for (int a = 0; a < 3; a++) {
    padded[a] = windows_of(L, a) * side[a];
    start[a] = at[a] * side[a] + L->shift[a];
    const int last = L->shift[a] && at[a] + 1 == windows_of(L, a);
    cut[a] = last ? side[a] - L->shift[a] : side[a];
    of->regions |= last;
  }
  long t = 0;
  for (long i = 0; i < side[0]; i++) {
    const long z = (start[0] + i) % padded[0];
    for (long j = 0; j < side[1]; j++) {
      const long y = (start[1] + j) % padded[1];
      for (long k = 0; k < side[2]; k++, t++) {
        const long x = start[2] + k < padded[2] ? start[2] + k : start[2] + k - padded[2];
        const int inside = z < grid[0] && y < grid[1] && x < grid[2];
        of->token[t] = inside ? (int)((z * grid[1] + y) * grid[2] + x) : -1;
        of->region[t] = 4 * (i >= cut[0]) + 2 * (j >= cut[1]) + (k >= cut[2]);
        if (inside) of->query[of->queries++] = (int)t;
      }
    }
  }
}

// Queries, keys and values of one head of a window.
static void gather(const attention_t *L, const tokens_t *of, long head, const work_t *w) {
  const long third = L->heads * L->dim;
  for (long t = 0; t < w->count; t++) {
    // Scattered: hardware does not foresee them.
    if (t + AHEAD < w->count && of->token[t + AHEAD] >= 0)
      for (long part = 0; part < 3; part++)
        __builtin_prefetch(L->qkv + of->token[t + AHEAD] * 3 * third + part * third +
                           head * L->dim);
    const float *row =
        (of->token[t] < 0 ? L->padding : L->qkv + of->token[t] * 3 * third) + head * L->dim;
    float *k = w->transposed_k + t / LINE * LINE * L->dim + t % LINE;
    for (long c = 0; c < L->dim; c++) k[c * LINE] = row[third + c];
    for (long c = 0; c < L->dim; c += LINE)
      memcpy(w->v + (c / LINE * w->count + t) * LINE, row + 2 * third + c, LINE * sizeof *row);
  }
  for (long i = 0; i < of->queries; i++) {
    const float *row = L->qkv + of->token[of->query[i]] * 3 * third + head * L->dim;
    memcpy(w->q + i * L->dim, row, (size_t)L->dim * sizeof *row);
  }
  for (int r = 0; r < (of->regions ? REGIONS : 1); r++)
    for (long t = 0; t < w->count; t++) w->masks[r * w->keys + t] = of->region[t] == r ? 0 : MASKED;
}

// scores[i][j] = bias[i][j] [+ mask[i][j]] + q[i] . k[j] for ROWS queries and all keys; largest[i]:
// lane by lane.
INLINE void score(const long dim, const int masked, const work_t *w, const float *q,
                  const float *const bias[ROWS], const float *const mask[ROWS], vec largest[ROWS]) {
  const long keys = w->keys;
  const float *k = w->transposed_k;
  float *scores = w->scores;
  UNROLL(i, ROWS) largest[i] = splat(-1e30f);
  for (long j = 0; j < keys; j += LINE, k += LINE * dim) {
    vec sums[ROWS][VECS];
    UNROLL(i, ROWS)
      UNROLL(h, VECS) {
        sums[i][h] = load(bias[i] + j + h * LANES);
        if (masked) sums[i][h] += load(mask[i] + j + h * LANES);
      }
    UNROLL(c, dim) {
      vec line[VECS];
      UNROLL(h, VECS) line[h] = load(k + c * LINE + h * LANES);
      UNROLL(i, ROWS) {
        const vec x = splat(q[i * dim + c]);
        UNROLL(h, VECS) sums[i][h] = fma_(x, line[h], sums[i][h]);
      }
    }
    UNROLL(i, ROWS)
      UNROLL(h, VECS) {
        store(scores + i * keys + j + h * LANES, sums[i][h]);
        largest[i] = max_(largest[i], sums[i][h]);
      }
  }
}
#define SCORE_ARGS                                                                               \
  const work_t *w, const float *q, const float *const bias[ROWS], const float *const mask[ROWS], \
      vec largest[ROWS]
NOINLINE void score_16(SCORE_ARGS) { score(16, 0, w, q, bias, mask, largest); }
NOINLINE void score_16_masked(SCORE_ARGS) { score(16, 1, w, q, bias, mask, largest); }
NOINLINE void score_any(long dim, SCORE_ARGS) { score(dim, 1, w, q, bias, mask, largest); }

// A row of scores -> 2^(score - largest), in place. Returns their sum.
NOINLINE float exponentials(float *s, vec largest, long keys) {
  vec total[2] = {zero(), zero()};
  float top = largest[0];
  for (int i = 1; i < LANES; i++) top = largest[i] > top ? largest[i] : top;
  for (long j = 0; j < keys; j += LINE)
    UNROLL(h, VECS) {
      const vec p = exp2_(load(s + j + h * LANES) - splat(top));
      store(s + j + h * LANES, p);
      total[h % 2] += p;
    }
  return sum(total[0] + total[1]);
}

// n <= ROWS queries of a window from `first` on; in the place of the rest, the last one once more.
static void attend(const attention_t *L, const tokens_t *of, long head, long first, long n,
                   const work_t *w) {
  const float *q = w->q + first * L->dim, *bias[ROWS], *mask[ROWS];
  vec largest[ROWS];
  float sums[ROWS];
  for (long i = 0; i < ROWS; i++) {
    const long query = of->query[first + (i < n ? i : n - 1)];
    bias[i] = L->bias + (head * w->count + query) * w->keys;
    mask[i] = w->masks + of->region[query] * w->keys;
  }
  if (L->dim == 16) (of->regions ? score_16_masked : score_16)(w, q, bias, mask, largest);
  else score_any(L->dim, w, q, bias, mask, largest);
  for (long i = 0; i < n; i++) sums[i] = exponentials(w->scores + i * w->keys, largest[i], w->keys);
  for (long c = 0; c < L->dim; c += LINE)
    kernel_last_panel(n, w->count, w->scores, w->keys, w->v + c * w->count, w->out + c, L->dim);
  for (long i = 0; i < n; i++) {
    float *y = L->y + (of->token[of->query[first + i]] * L->heads + head) * L->dim;
    for (long c = 0; c < L->dim; c += LANES)
      store(y + c, load(w->out + i * L->dim + c) / splat(sums[i]));
  }
}

typedef struct {
  const attention_t *L;
  long next;
} job_t;
static void windows_share(void *given, const member_t *me) {
  job_t *j = given;
  const attention_t *L = j->L;
  const long windows = windows_of(L, 0) * windows_of(L, 1) * windows_of(L, 2);
  tokens_t of;
  const work_t w = share_out(L, L->scratch + me->number * attention_scratch(L), &of);
  // Head by head: its bias stays in the cache.
  for (long item; (item = take(&j->next, 1)) < windows * L->heads;) {
    const long head = item / windows;
    find_tokens(L, item % windows, &of);
    gather(L, &of, head, &w);
    for (long first = 0; first < of.queries; first += ROWS)
      attend(L, &of, head, first, of.queries - first < ROWS ? of.queries - first : ROWS, &w);
  }
}
void attention(const attention_t *L) {
  job_t j = {L, 0};
  parallel(L->threads, windows_share, &j);
}
