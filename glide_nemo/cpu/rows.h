// Rows of fp32 values, as many at once as a processor's registers hold.
#pragma once

#include <ATen/cpu/vec/vec.h>
#include <torch/extension.h>

#include <cmath>
#include <cstdint>
#include <limits>

namespace {

using at::Tensor;
using Vec = at::vec::Vectorized<float>;
constexpr int64_t W = Vec::size();

// One pass over a row of n values, W at a time; `f(begin, width)` is called for the rest too.
template <typename F>
inline void over_row(int64_t n, const F& f) {
  int64_t i = 0;
  for (; i + W <= n; i += W) f(i, W);
  if (i < n) f(i, n - i);
}

inline Vec load(const float* p, int64_t width) { return width == W ? Vec::loadu(p) : Vec::loadu(p, width); }
inline void store(float* p, const Vec& v, int64_t width) { v.store(p, static_cast<int>(width)); }

inline float sum(const Vec& v) {
  float lanes[W];
  v.store(lanes);
  float total = 0;
  for (float lane : lanes) total += lane;
  return total;
}

inline float larger(float a, float b) { return (b > a || std::isnan(b)) ? b : a; }

// Turns a row of n values into exp(row) / sum(exp(row)); returns log(sum(exp(row))).
inline float softmax_row(float* row, int64_t n) {
  const int64_t whole = n - n % W;
  Vec most(-std::numeric_limits<float>::infinity());
  for (int64_t i = 0; i < whole; i += W) most = at::vec::maximum(most, Vec::loadu(row + i));
  float lanes[W], largest = -std::numeric_limits<float>::infinity();
  most.store(lanes);
  for (float lane : lanes) largest = larger(largest, lane);
  for (int64_t i = whole; i < n; ++i) largest = larger(largest, row[i]);
  const Vec shift(largest);
  Vec sums(0.f);
  for (int64_t i = 0; i < whole; i += W) {
    const Vec e = (Vec::loadu(row + i) - shift).exp();
    e.store(row + i);
    sums = sums + e;
  }
  float total = sum(sums);
  if (whole < n) {
    store(row + whole, (load(row + whole, n - whole) - shift).exp(), n - whole);
    for (int64_t i = whole; i < n; ++i) total += row[i];
  }
  const Vec share(1.f / total);
  over_row(n, [&](int64_t i, int64_t w) { store(row + i, load(row + i, w) * share, w); });
  return std::log(total) + largest;
}

inline void check(const Tensor& t, const char* name) {
  TORCH_CHECK(t.scalar_type() == at::kFloat && t.is_contiguous(), name, " must be contiguous fp32");
}

}  // namespace
