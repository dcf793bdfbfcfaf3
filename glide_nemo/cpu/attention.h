// Causal attention with grouped queries and its gradient, of small products whose sums stay in registers.
//
// A BLAS lays both operands of a product out anew, which for products this small costs more than they do. Here keys and
// values are laid out once for all queries that see them, and no product goes further than what a query sees.
// Source: Dao, arXiv 2307.08691, algorithms 1 and 2, with whole rows of scores: up to a few thousand they stay in a
// core's cache. Shapes: S = sequence, B = batch, N = attention heads, G = query groups, D = head dimension.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "rows.h"

namespace {

// Of a product's result in registers: 12 sums of the 16 that AVX2 has, 24 of the 32 of AVX-512.
constexpr int64_t TILE = W >= 16 ? 12 : 6;  // rows
constexpr int VECTORS = 2;
constexpr int64_t COLUMNS = VECTORS * W;
constexpr int64_t QUERIES = 48;  // rows of scores that the gradients of keys and values are summed over at once

// A matrix whose value (row, k) lies at[row * along_row + k * along_k].
struct Matrix {
  float* at;
  int64_t along_row, along_k = 1;
  Matrix from(int64_t row) const { return {at + row * along_row, along_row, along_k}; }
  Matrix transposed() const { return {at, along_k, along_row}; }
};

Matrix head(const Tensor& t, int64_t b, int64_t n) {
  return {const_cast<float*>(t.const_data_ptr<float>()) + b * t.stride(1) + n * t.stride(2), t.stride(0)};
}

// The right-hand side of products: (depth, columns) in panels of COLUMNS, each in one piece, zeros beyond the last.
struct Panels {
  int64_t depth, columns;
  std::vector<float> values;

  Panels(int64_t depth_, int64_t columns_)
      : depth(depth_), columns(columns_), values((columns + COLUMNS - 1) / COLUMNS * COLUMNS * depth) {}

  // From the first `rows` rows of a matrix, times a factor.
  void fill(const Matrix& from, int64_t rows, float factor = 1.f) {
    for (int64_t first = 0; first < columns; first += COLUMNS) {
      const int64_t width = std::min(COLUMNS, columns - first);
      float* to = values.data() + first * depth;
      for (int64_t k = 0; k < rows; ++k)
        for (int64_t i = 0; i < width; ++i)
          to[k * COLUMNS + i] = from.at[k * from.along_row + (first + i) * from.along_k] * factor;
    }
  }
};

// R rows of COLUMNS values: to = a panel over `depth`, or to += it. The panel's `width` columns are stored.
template <int R>
void multiply(const Matrix& a, const float* panel, int64_t depth, const Matrix& to, int64_t width, bool add) {
  Vec sums[R][VECTORS];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) sums[r][v] = Vec(0.f);
  for (int64_t k = 0; k < depth; ++k) {
    Vec b[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) b[v] = Vec::loadu(panel + k * COLUMNS + v * W);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec x(a.at[r * a.along_row + k * a.along_k]);
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) sums[r][v] = at::vec::fmadd(x, b[v], sums[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) {
      float* row = to.at + r * to.along_row + v * W;
      const int64_t left = std::min(width - v * W, W);
      if (left > 0) store(row, add ? load(row, left) + sums[r][v] : sums[r][v], left);
    }
}

template <int R>
void multiply_rows(int64_t rows, const Matrix& a, const float* panel, int64_t depth, const Matrix& to, int64_t width,
                   bool add) {
  if (rows == R) return multiply<R>(a, panel, depth, to, width, add);
  if constexpr (R > 1) multiply_rows<R - 1>(rows, a, panel, depth, to, width, add);
}

// `rows` rows, at most TILE, of the first `columns` columns: to = a b over the depths from `begin` to `end`, or to += it.
void product(int64_t rows, int64_t columns, const Matrix& a, const Panels& b, int64_t begin, int64_t end,
             const Matrix& to, bool add = false) {
  const Matrix rest{a.at + begin * a.along_k, a.along_row, a.along_k};
  for (int64_t first = 0; first < columns; first += COLUMNS) {
    const float* panel = b.values.data() + first * b.depth + begin * COLUMNS;
    multiply_rows<TILE>(rows, rest, panel, end - begin, {to.at + first, to.along_row},
                        std::min(COLUMNS, columns - first), add);
  }
}

void check_attention(const Tensor& q, const Tensor& k, const Tensor& v) {
  for (const Tensor* t : {&q, &k, &v})
    TORCH_CHECK(t->scalar_type() == at::kFloat && t->dim() == 4 && t->stride(3) == 1,
                "query, key and value must be (S, B, heads, D) in fp32");
  TORCH_CHECK(q.size(2) % k.size(2) == 0 && q.size(0) == k.size(0), "query groups must divide the heads");
}

// query: (S, B, N, D), key and value: (S, B, G, D). Returns the context (S, B, N, D) and the log of each query's
// normaliser, (B, N, S).
std::tuple<Tensor, Tensor> attention(const Tensor& query, const Tensor& key, const Tensor& value, double scale) {
  check_attention(query, key, value);
  const int64_t S = query.size(0), B = query.size(1), N = query.size(2), D = query.size(3), heads = N / key.size(2);
  Tensor out = at::empty({S, B, N, D}, query.options()), logs = at::empty({B, N, S}, query.options());
  float* log = logs.data_ptr<float>();
  at::parallel_for(0, B * N, 1, [&](int64_t begin, int64_t end) {
    Panels keys(D, S), values(S, D);
    std::vector<float> buffer(TILE * S);
    const Matrix scores{buffer.data(), S};
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / N, n = task % N;
      const Matrix q = head(query, b, n), o = head(out, b, n);
      if (task == begin || n % heads == 0) {
        keys.fill(head(key, b, n / heads).transposed(), D, scale);
        values.fill(head(value, b, n / heads), S);
      }
      for (int64_t first = 0; first < S; first += TILE) {
        const int64_t m = std::min(TILE, S - first), seen = first + m;
        product(m, seen, q.from(first), keys, 0, D, scores);
        for (int64_t i = 0; i < m; ++i) {
          float* row = scores.at + i * S;
          const int64_t own = first + i + 1;  // a query sees itself and what is before it
          log[task * S + first + i] = softmax_row(row, own);
          std::fill(row + own, row + seen, 0.f);
        }
        product(m, D, scores, values, 0, seen, o.from(first));
      }
    }
  });
  return {out, logs};
}

// Scores of one query become its probabilities, and the gradients of those the gradients of scores.
inline void softmax_gradient_row(float* row, float* drow, int64_t own, float log, float delta, float scale) {
  const Vec shift(log), less(delta), s(scale);
  over_row(own, [&](int64_t x, int64_t w) {
    const Vec e = (load(row + x, w) - shift).exp();
    store(row + x, e, w);
    store(drow + x, e * (load(drow + x, w) - less) * s, w);
  });
}

// Gradients of query, key and value. The probabilities are computed again from `logs`.
std::tuple<Tensor, Tensor, Tensor> attention_gradient(
    const Tensor& grad, const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& out,
    const Tensor& logs, double scale) {
  check_attention(query, key, value);
  check(grad, "grad");
  const int64_t S = query.size(0), B = query.size(1), N = query.size(2), D = query.size(3);
  const int64_t G = key.size(2), heads = N / G;
  Tensor of_query = at::empty({S, B, N, D}, query.options());
  Tensor of_key = at::zeros({S, B, G, D}, query.options()), of_value = at::zeros({S, B, G, D}, query.options());
  const float* log = logs.const_data_ptr<float>();
  at::parallel_for(0, B * G, 1, [&](int64_t begin, int64_t end) {
    Panels keys_across(D, S), values_across(D, S), keys(S, D), some_queries(QUERIES, D), some_grads(QUERIES, D);
    std::vector<float> buffer(2 * QUERIES * S);
    const Matrix p{buffer.data(), S}, dp{buffer.data() + QUERIES * S, S};
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / G, g = task % G;
      const Matrix k = head(key, b, g), v = head(value, b, g), dk = head(of_key, b, g), dv = head(of_value, b, g);
      keys_across.fill(k.transposed(), D, scale);
      values_across.fill(v.transposed(), D);
      keys.fill(k, S);
      for (int64_t n = g * heads; n < (g + 1) * heads; ++n) {
        const Matrix q = head(query, b, n), o = head(out, b, n), d = head(grad, b, n), dq = head(of_query, b, n);
        for (int64_t block = 0; block < S; block += QUERIES) {
          const int64_t count = std::min(QUERIES, S - block);
          for (int64_t first = block; first < block + count; first += TILE) {
            const int64_t m = std::min(TILE, block + count - first), seen = first + m, at = first - block;
            product(m, seen, q.from(first), keys_across, 0, D, p.from(at));
            product(m, seen, d.from(first), values_across, 0, D, dp.from(at));
            for (int64_t i = 0; i < m; ++i) {
              const float *of_o = d.from(first + i).at, *its = o.from(first + i).at;
              Vec along(0.f);
              over_row(D, [&](int64_t x, int64_t w) { along = at::vec::fmadd(load(of_o + x, w), load(its + x, w), along); });
              float *row = p.from(at + i).at, *drow = dp.from(at + i).at;
              const int64_t own = first + i + 1;
              softmax_gradient_row(row, drow, own, log[(b * N + n) * S + first + i], sum(along), scale);
              std::fill(row + own, row + block + count, 0.f);
              std::fill(drow + own, drow + block + count, 0.f);
            }
            product(m, D, dp.from(at), keys, 0, seen, dq.from(first));
          }
          some_queries.fill(q.from(block), count);
          some_grads.fill(d.from(block), count);
          for (int64_t first = 0; first < block + count; first += TILE) {  // keys, and the queries that see them
            const int64_t m = std::min(TILE, block + count - first), unseen = std::max<int64_t>(0, first - block);
            product(m, D, p.transposed().from(first), some_grads, unseen, count, dv.from(first), true);
            product(m, D, dp.transposed().from(first), some_queries, unseen, count, dk.from(first), true);
          }
        }
      }
    }
  });
  return {of_query, of_key, of_value};
}

}  // namespace
