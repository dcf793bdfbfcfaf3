// What a training step on a CPU does between its matrix products, in one pass over memory each: fp32, contiguous rows.
//
// torch composes these of elementary operations, each of which reads and writes an activation; here a row stays in
// registers or in a core's cache. Work is shared over torch's own threads, always cut in the same way, so that the same
// number of threads gives the same bits. Shapes: T = tokens, F = feed-forward width, H = hidden size, V = vocabulary,
// S = sequence, B = batch, N = attention heads, G = query groups, D = head dimension.
#include <ATen/Parallel.h>
#include <ATen/cpu/vec/vec.h>
#include <torch/extension.h>

#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

namespace {

using at::Tensor;
using Vec = at::vec::Vectorized<float>;
constexpr int64_t W = Vec::size();
constexpr int64_t QUERIES = 64;  // rows of scores that are computed at once

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

inline Vec sigmoid(const Vec& x) { return Vec(1.f) / (Vec(1.f) + x.neg().exp()); }

// Rows that are worth a thread of their own.
inline int64_t grain(int64_t width) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, width)); }

void check(const Tensor& t, const char* name) {
  TORCH_CHECK(t.scalar_type() == at::kFloat && t.is_contiguous(), name, " must be contiguous fp32");
}

inline float larger(float a, float b) { return (b > a || std::isnan(b)) ? b : a; }

// Turns a row of n values into exp(row) / sum(exp(row)); returns log(sum(exp(row))).
float softmax_row(float* row, int64_t n) {
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

// ---- SwiGLU: silu(gate) * up of (T, 2F), gate first -------------------------------------------------------------

Tensor swiglu(const Tensor& both) {
  check(both, "both");
  const int64_t F = both.size(-1) / 2, T = both.numel() / (2 * F);
  auto sizes = both.sizes().vec();
  sizes.back() = F;
  Tensor out = at::empty(sizes, both.options());
  const float* in = both.const_data_ptr<float>();
  float* to = out.data_ptr<float>();
  at::parallel_for(0, T, grain(2 * F), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *gate = in + 2 * F * t, *up = gate + F;
      over_row(F, [&](int64_t i, int64_t w) {
        const Vec g = load(gate + i, w);
        store(to + F * t + i, g * sigmoid(g) * load(up + i, w), w);
      });
    }
  });
  return out;
}

Tensor swiglu_gradient(const Tensor& both, const Tensor& grad) {
  check(both, "both");
  check(grad, "grad");
  const int64_t F = both.size(-1) / 2, T = both.numel() / (2 * F);
  Tensor out = at::empty_like(both);
  const float *in = both.const_data_ptr<float>(), *of = grad.const_data_ptr<float>();
  float* to = out.data_ptr<float>();
  at::parallel_for(0, T, grain(2 * F), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *gate = in + 2 * F * t, *up = gate + F;
      float *of_gate = to + 2 * F * t, *of_up = of_gate + F;
      over_row(F, [&](int64_t i, int64_t w) {
        const Vec g = load(gate + i, w), s = sigmoid(g), d = load(of + F * t + i, w);
        store(of_up + i, d * g * s, w);
        store(of_gate + i, d * load(up + i, w) * s * (Vec(1.f) + g * (Vec(1.f) - s)), w);
      });
    }
  });
  return out;
}

// ---- RMSNorm: x * scale * weight, scale = 1 / sqrt(mean(x^2) + eps) of each row ---------------------------------

std::tuple<Tensor, Tensor> rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  check(x, "x");
  check(weight, "weight");
  const int64_t H = x.size(-1), T = x.numel() / H;
  Tensor out = at::empty_like(x), scales = at::empty({T}, x.options());
  const float *in = x.const_data_ptr<float>(), *of = weight.const_data_ptr<float>();
  float *to = out.data_ptr<float>(), *scale = scales.data_ptr<float>();
  at::parallel_for(0, T, grain(H), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* row = in + H * t;
      Vec squares(0.f);
      over_row(H, [&](int64_t i, int64_t w) {
        const Vec v = load(row + i, w);
        squares = at::vec::fmadd(v, v, squares);
      });
      scale[t] = static_cast<float>(1.0 / std::sqrt(static_cast<double>(sum(squares)) / H + eps));
      const Vec s(scale[t]);
      over_row(H, [&](int64_t i, int64_t w) { store(to + H * t + i, load(row + i, w) * s * load(of + i, w), w); });
    }
  });
  return {out, scales};
}

std::tuple<Tensor, Tensor> rms_norm_gradient(
    const Tensor& grad, const Tensor& x, const Tensor& weight, const Tensor& scales) {
  check(grad, "grad");
  check(x, "x");
  const int64_t H = x.size(-1), T = x.numel() / H;
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), T));
  Tensor of_x = at::empty_like(x), of_weight = at::zeros({parts, H}, x.options());
  const float *dy = grad.const_data_ptr<float>(), *in = x.const_data_ptr<float>();
  const float *g = weight.const_data_ptr<float>(), *scale = scales.const_data_ptr<float>();
  float *dx = of_x.data_ptr<float>(), *dg = of_weight.data_ptr<float>();
  at::parallel_for(0, parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      float* sums = dg + H * part;
      for (int64_t t = T * part / parts; t < T * (part + 1) / parts; ++t) {
        const float *row = in + H * t, *d = dy + H * t;
        const Vec s(scale[t]);
        Vec along(0.f);  // sum over the row of grad * weight * normalized x
        over_row(H, [&](int64_t i, int64_t w) {
          const Vec product = load(d + i, w) * load(row + i, w) * s;
          store(sums + i, load(sums + i, w) + product, w);
          along = at::vec::fmadd(product, load(g + i, w), along);
        });
        const Vec mean(sum(along) / H);
        over_row(H, [&](int64_t i, int64_t w) {
          store(dx + H * t + i, (load(d + i, w) * load(g + i, w) - load(row + i, w) * s * mean) * s, w);
        });
      }
    }
  });
  return {of_x, of_weight.sum(0)};
}

// ---- Rotary positions: pairs (x[i], x[i + D/2]) turned by the angle of their position ---------------------------

// x: (S, B, N, D) with D contiguous; cos and sin: (S, D/2). `sign` -1 turns back.
Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin, double sign) {
  TORCH_CHECK(x.scalar_type() == at::kFloat && x.dim() == 4 && x.stride(3) == 1, "x must be (S, B, N, D) in fp32");
  check(cos, "cos");
  check(sin, "sin");
  const int64_t S = x.size(0), B = x.size(1), N = x.size(2), half = x.size(3) / 2;
  Tensor out = at::empty(x.sizes(), x.options());
  const float *in = x.const_data_ptr<float>(), *c = cos.const_data_ptr<float>(), *s = sin.const_data_ptr<float>();
  float* to = out.data_ptr<float>();
  const int64_t along_s = x.stride(0), along_b = x.stride(1), along_n = x.stride(2);
  at::parallel_for(0, S, grain(2 * B * N * half), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      for (int64_t b = 0; b < B; ++b)
        for (int64_t n = 0; n < N; ++n) {
          const float* first = in + p * along_s + b * along_b + n * along_n;
          float* turned = to + ((p * B + b) * N + n) * 2 * half;
          over_row(half, [&](int64_t i, int64_t w) {
            const Vec u = load(first + i, w), v = load(first + half + i, w);
            const Vec co = load(c + p * half + i, w), si = load(s + p * half + i, w) * Vec(static_cast<float>(sign));
            store(turned + i, u * co - v * si, w);
            store(turned + half + i, v * co + u * si, w);
          });
        }
  });
  return out;
}

// ---- Cross entropy over a vocabulary ----------------------------------------------------------------------------

// logits: (T, V), target: (T) int64. Returns the loss of each token and turns the logits into their softmax.
Tensor cross_entropy_(const Tensor& logits, const Tensor& target) {
  check(logits, "logits");
  TORCH_CHECK(target.scalar_type() == at::kLong && target.is_contiguous(), "target must be contiguous int64");
  const int64_t V = logits.size(-1), T = logits.numel() / V;
  Tensor loss = at::empty({T}, logits.options());
  const int64_t* of = target.const_data_ptr<int64_t>();
  float *in = logits.data_ptr<float>(), *l = loss.data_ptr<float>();
  at::parallel_for(0, T, grain(V), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* row = in + V * t;
      const float own = row[of[t]];
      l[t] = softmax_row(row, V) - own;
    }
  });
  return loss;
}

// Turns the softmax into the gradient of the logits, in place: (softmax - one-hot of target) * grad of each token.
void cross_entropy_gradient_(const Tensor& softmax, const Tensor& target, const Tensor& grad) {
  check(softmax, "softmax");
  check(grad, "grad");
  const int64_t V = softmax.size(-1), T = softmax.numel() / V;
  float* p = softmax.data_ptr<float>();
  const float* d = grad.const_data_ptr<float>();
  const int64_t* of = target.const_data_ptr<int64_t>();
  at::parallel_for(0, T, grain(V), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const Vec g(d[t]);
      float* row = p + V * t;
      over_row(V, [&](int64_t i, int64_t w) { store(row + i, load(row + i, w) * g, w); });
      row[of[t]] -= d[t];
    }
  });
}

// ---- Causal attention, grouped queries, one sequence a batch row ------------------------------------------------

// A matrix in memory: rows of a sequence, `stride` values apart.
struct Rows {
  float* at;
  int64_t stride;
  Rows from(int64_t row) const { return {at + row * stride, stride}; }
};

Rows rows(const Tensor& t, int64_t b, int64_t n) {
  return {const_cast<float*>(t.const_data_ptr<float>()) + b * t.stride(1) + n * t.stride(2), t.stride(0)};
}

// The BLAS that torch is linked with (MKL on x86-64), which runs on one thread inside a parallel region.
extern "C" void sgemm_(const char*, const char*, const int*, const int*, const int*, const float*, const float*,
                       const int*, const float*, const int*, const float*, float*, const int*);

// C = alpha * op(A) op(B) + beta * C for row-major matrices, C of (m, n): to BLAS, which is column-major, all of them
// are transposed.
void product(bool a_transposed, bool b_transposed, int64_t m, int64_t n, int64_t k, float alpha, Rows a, Rows b,
             float beta, Rows c) {
  const int m_ = m, n_ = n, k_ = k, lda = a.stride, ldb = b.stride, ldc = c.stride;
  sgemm_(b_transposed ? "T" : "N", a_transposed ? "T" : "N", &n_, &m_, &k_, &alpha, b.at, &ldb, a.at, &lda, &beta, c.at,
         &ldc);
}

void check_attention(const Tensor& q, const Tensor& k, const Tensor& v) {
  for (const Tensor* t : {&q, &k, &v})
    TORCH_CHECK(t->scalar_type() == at::kFloat && t->dim() == 4 && t->stride(3) == 1,
                "query, key and value must be (S, B, heads, D) in fp32");
  TORCH_CHECK(q.size(2) % k.size(2) == 0 && q.size(0) == k.size(0), "query groups must divide the heads");
}

// query: (S, B, N, D), key and value: (S, B, G, D). Returns the context (S, B, N, D) and the log of each query's
// normaliser, (B, N, S). Sources: Dao, arXiv 2307.08691, algorithm 1, with whole rows of scores.
std::tuple<Tensor, Tensor> attention(const Tensor& query, const Tensor& key, const Tensor& value, double scale) {
  check_attention(query, key, value);
  const int64_t S = query.size(0), B = query.size(1), N = query.size(2), D = query.size(3), heads = N / key.size(2);
  Tensor out = at::empty({S, B, N, D}, query.options()), logs = at::empty({B, N, S}, query.options());
  float* log = logs.data_ptr<float>();
  at::parallel_for(0, B * N, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(QUERIES * S);
    const Rows scores{buffer.data(), S};
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / N, n = task % N;
      const Rows q = rows(query, b, n), k = rows(key, b, n / heads), v = rows(value, b, n / heads), o = rows(out, b, n);
      for (int64_t first = 0; first < S; first += QUERIES) {
        const int64_t m = std::min(QUERIES, S - first), seen = first + m;
        product(false, true, m, seen, D, scale, q.from(first), k, 0.f, scores);
        for (int64_t i = 0; i < m; ++i) {
          float* row = scores.at + i * S;
          const int64_t own = first + i + 1;  // a query sees itself and what is before it
          log[task * S + first + i] = softmax_row(row, own);
          std::fill(row + own, row + seen, 0.f);
        }
        product(false, false, m, D, seen, 1.f, scores, v, 0.f, o.from(first));
      }
    }
  });
  return {out, logs};
}

// Gradients of query, key and value. The probabilities are computed again from `logs` (arXiv 2307.08691, algorithm 2).
std::tuple<Tensor, Tensor, Tensor> attention_gradient(
    const Tensor& grad, const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& out,
    const Tensor& logs, double scale) {
  check_attention(query, key, value);
  check(grad, "grad");
  const int64_t S = query.size(0), B = query.size(1), N = query.size(2), D = query.size(3);
  const int64_t G = key.size(2), heads = N / G;
  Tensor of_query = at::empty({S, B, N, D}, query.options());
  Tensor of_key = at::empty({S, B, G, D}, query.options()), of_value = at::empty({S, B, G, D}, query.options());
  const float* log = logs.const_data_ptr<float>();
  at::parallel_for(0, B * G, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(2 * QUERIES * S);
    const Rows p{buffer.data(), S}, dp{buffer.data() + QUERIES * S, S};
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / G, g = task % G;
      const Rows k = rows(key, b, g), v = rows(value, b, g), dk = rows(of_key, b, g), dv = rows(of_value, b, g);
      for (int64_t i = 0; i < S; ++i) {
        std::fill(dk.from(i).at, dk.from(i).at + D, 0.f);
        std::fill(dv.from(i).at, dv.from(i).at + D, 0.f);
      }
      for (int64_t n = g * heads; n < (g + 1) * heads; ++n) {
        const Rows q = rows(query, b, n), o = rows(out, b, n), d = rows(grad, b, n), dq = rows(of_query, b, n);
        for (int64_t first = 0; first < S; first += QUERIES) {
          const int64_t m = std::min(QUERIES, S - first), seen = first + m;
          product(false, true, m, seen, D, scale, q.from(first), k, 0.f, p);
          product(false, true, m, seen, D, 1.f, d.from(first), v, 0.f, dp);
          for (int64_t i = 0; i < m; ++i) {
            const float *of_o = d.from(first + i).at, *its = o.from(first + i).at;
            Vec along(0.f);
            over_row(D, [&](int64_t x, int64_t w) { along = at::vec::fmadd(load(of_o + x, w), load(its + x, w), along); });
            const Vec delta(sum(along)), shift(log[(b * N + n) * S + first + i]), s(static_cast<float>(scale));
            float *row = p.at + i * S, *drow = dp.at + i * S;
            const int64_t own = first + i + 1;
            over_row(own, [&](int64_t x, int64_t w) {
              const Vec e = (load(row + x, w) - shift).exp();
              store(row + x, e, w);
              store(drow + x, e * (load(drow + x, w) - delta) * s, w);
            });
            std::fill(row + own, row + seen, 0.f);
            std::fill(drow + own, drow + seen, 0.f);
          }
          product(true, false, seen, D, m, 1.f, p, d.from(first), 1.f, dv);
          product(true, false, seen, D, m, 1.f, dp, q.from(first), 1.f, dk);
          product(false, false, m, D, seen, 1.f, dp, k, 0.f, dq.from(first));
        }
      }
    }
  });
  return {of_query, of_key, of_value};
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("swiglu", &swiglu);
  m.def("swiglu_gradient", &swiglu_gradient);
  m.def("rms_norm", &rms_norm);
  m.def("rms_norm_gradient", &rms_norm_gradient);
  m.def("rotate", &rotate);
  m.def("cross_entropy_", &cross_entropy_);
  m.def("cross_entropy_gradient_", &cross_entropy_gradient_);
  m.def("attention", &attention);
  m.def("attention_gradient", &attention_gradient);
}
