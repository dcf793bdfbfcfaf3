// What a training step on a CPU does between its matrix products, in one pass over memory each: fp32, contiguous rows.
//
// torch composes these of elementary operations, each of which reads and writes an activation; here a row stays in
// registers or in a core's cache. Work is shared over torch's own threads, always cut in the same way, so that the same
// number of threads gives the same bits. Shapes: T = tokens, F = feed-forward width, H = hidden size, V = vocabulary,
// S = sequence, B = batch, N = attention heads, D = head dimension.
#include <ATen/Parallel.h>

#include <tuple>

#include "attention.h"
#include "rows.h"

namespace {

inline Vec sigmoid(const Vec& x) { return Vec(1.f) / (Vec(1.f) + x.neg().exp()); }

// Rows that are worth a thread of their own.
inline int64_t grain(int64_t width) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, width)); }

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
