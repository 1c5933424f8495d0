// ECO's first frame: filter and projection together (Danelljan 2017, CVPR, section 3.1, eqs. 6 to 8).
//
// The score of one sample x is s = sum over grids of (x P)^T f. Around the current f and P it is linear in
// the increments, s(f, P + dP) ~ (x P)^T f + (x dP)^T f0; Gauss-Newton solves for f and dP by conjugate
// gradient. The feature blocks of a grid are one block here, whose projection has zeros where a block's
// channels do not go into another one's.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "series.hpp"

namespace cfvgg {

// One grid: unprojected sample x, projection P, filter f, and what the conjugate gradient needs.
class JointBlock {
 public:
  JointBlock(const SeriesShape& in, const SeriesShape& out, const float* label)
      : in_(in),
        out_(out),
        label_(label),
        x(in.floats()),
        projection(matrix()),
        allowed(matrix()),
        f(out.floats()),
        f0(out.floats()),
        projected(out.floats()),
        seen_(kTogether * 2 * out.stored) {
    for (int i = 0; i < 2; i++) {
      solution[i] = Floats(i ? matrix() : out.floats());
      residual[i] = Floats(solution[i].size());
      direction[i] = Floats(solution[i].size());
      product[i] = Floats(solution[i].size());
    }
    inverse_precondition = Floats(static_cast<std::size_t>(out.frequencies()) * out.stored);
  }

  const SeriesShape& shape() const { return out_; }
  const SeriesShape& input() const { return in_; }
  std::size_t matrix() const { return static_cast<std::size_t>(in_.channels) * out_.stored; }
  const float* label() const { return label_; }

  // out = x m for every frequency, m being (channels in, stored out).
  void project(const float* m, float* out) const {
    for (int k = 0; k < in_.frequencies(); k += kTogether) {
      project_some(k, std::min(kTogether, in_.frequencies() - k), m, out + at(k));
    }
  }

  // score(k) += (x P)^T f + (x dP)^T f0.
  void add_score(const float* filter, const float* increment, float* score, int outer_size) {
    for (int k = 0; k < out_.frequencies(); k += kTogether) {
      const int count = std::min(kTogether, out_.frequencies() - k);
      project_some(k, count, increment, seen_.data());
      for (int n = 0; n < count; n++) {
        const float *p = &projected[at(k + n)], *a = filter + at(k + n), *b = &f0[at(k + n)];
        const float* t = &seen_[static_cast<std::size_t>(n) * 2 * out_.stored];
        V re = V{}, im = V{};
        for (int l = 0; l < out_.stored; l += kLanes) {
          const int i = l + out_.stored;
          re += load(p + l) * load(a + l) - load(p + i) * load(a + i);
          im += load(p + l) * load(a + i) + load(p + i) * load(a + l);
          re += load(t + l) * load(b + l) - load(t + i) * load(b + i);
          im += load(t + l) * load(b + i) + load(t + i) * load(b + l);
        }
        float* s = score + outer(k + n, outer_size);
        s[0] += sum(re);
        s[1] += sum(im);
      }
    }
  }

  // filter = conj(x P) s, and increment = Re sum_k conj(x) conj(f0) s over the spectrum without kx = 0, which
  // the authors' program leaves out; golden tracks depend on it. `score` is (outer_size, columns, 2), or null
  // for the label, which is real.
  void adjoint(const float* score, int outer_size, float* filter, float* increment) {
    const int stored = out_.stored;
    std::memset(increment, 0, matrix() * sizeof(float));
    for (int k = 0; k < out_.frequencies(); k += kTogether) {
      const int count = std::min(kTogether, out_.frequencies() - k);
      for (int n = 0; n < count; n++) {
        const float* s = score ? score + outer(k + n, outer_size) : nullptr;
        const float re = s ? s[0] : label_[k + n], im = s ? s[1] : 0.0f;
        const float weight = (k + n) % out_.columns ? 2.0f : 0.0f;
        const float *p = &projected[at(k + n)], *f = &f0[at(k + n)];
        float *to = filter + at(k + n), *seen = &seen_[static_cast<std::size_t>(n) * 2 * stored];
        for (int l = 0; l < stored; l += kLanes) {
          const V pr = load(p + l), pi = load(p + l + stored), fr = load(f + l), fi = load(f + l + stored);
          store(to + l, pr * re + pi * im);
          store(to + l + stored, pr * im - pi * re);
          store(seen + l, weight * (fr * re + fi * im));
          store(seen + l + stored, weight * (fr * im - fi * re));
        }
      }
      add_outers(k, count, increment);
    }
    for (std::size_t i = 0; i < matrix(); i++) increment[i] *= allowed[i];
  }

 private:
  std::size_t at(int k) const { return static_cast<std::size_t>(k) * 2 * out_.stored; }

  // Where frequency k is in scores of a larger grid.
  std::size_t outer(int k, int outer_size) const {
    const int r = k / out_.columns + (outer_size - out_.size) / 2, c = k % out_.columns;
    return 2 * (static_cast<std::size_t>(r) * (outer_size / 2 + 1) + c);
  }

  const float* x_at(int k) const { return x.data() + static_cast<std::size_t>(k) * 2 * in_.stored; }

  // A few frequencies at once, so that a row of the matrix is loaded once for all of them.
  void project_some(int k, int count, const float* m, float* out) const {
    const float* x_k[kTogether];
    for (int n = 0; n < kTogether; n++) x_k[n] = x_at(k + std::min(n, count - 1));
    for (int l = 0; l < out_.stored; l += kLanes) {
      V re[kTogether] = {}, im[kTogether] = {};
      const float* row = m + l;
      for (int i = 0; i < in_.channels; i++, row += out_.stored) {
        const V w = load(row);
        for (int n = 0; n < kTogether; n++) {
          re[n] += x_k[n][i] * w;
          im[n] += x_k[n][in_.stored + i] * w;
        }
      }
      for (int n = 0; n < count; n++) {
        store(out + static_cast<std::ptrdiff_t>(n) * 2 * out_.stored + l, re[n]);
        store(out + (static_cast<std::ptrdiff_t>(n) * 2 + 1) * out_.stored + l, im[n]);
      }
    }
  }

  void add_outers(int k, int count, float* increment) const {
    const float* x_k[kTogether];
    for (int n = 0; n < kTogether; n++) x_k[n] = x_at(k + std::min(n, count - 1));
    for (int l = 0; l < out_.stored; l += kLanes) {
      V re[kTogether] = {}, im[kTogether] = {};
      for (int n = 0; n < count; n++) {
        re[n] = load(&seen_[static_cast<std::size_t>(n) * 2 * out_.stored + l]);
        im[n] = load(&seen_[(static_cast<std::size_t>(n) * 2 + 1) * out_.stored + l]);
      }
      float* row = increment + l;
      for (int i = 0; i < in_.channels; i++, row += out_.stored) {
        V a = load(row), b = V{};
        for (int n = 0; n < kTogether; n++) {
          a += x_k[n][i] * re[n];
          b += x_k[n][in_.stored + i] * im[n];
        }
        store(row, a + b);
      }
    }
  }

  static constexpr int kTogether = 4;

  SeriesShape in_, out_;
  const float* label_;

 public:
  Floats x, projection, allowed, f, f0, projected;  // allowed: 1 where the projection may be other than 0
  Floats solution[2], residual[2], direction[2], product[2];  // [0] of the filter, [1] of the projection
  Floats inverse_precondition;
  float projection_inverse_precondition = 0;

 private:
  Floats seen_;
};

// Gauss-Newton over all blocks; the filters start from zero, the projections from what is in the blocks.
class JointTraining {
 public:
  JointTraining(std::vector<JointBlock>& blocks, Regularisation& regularise, float projection_weight)
      : blocks_(blocks), regularise_(regularise), weight_(projection_weight) {
    for (const JointBlock& b : blocks) {
      size_ = std::max(size_, b.shape().size);
      regularise_.reserve(b.shape());
    }
    score_ = Floats(static_cast<std::size_t>(size_) * (size_ / 2 + 1) * 2);
  }

  void run(int gauss_newton, int iterations) {
    for (int n = 0; n < gauss_newton; n++) {
      for (JointBlock& b : blocks_) {
        b.project(b.projection.data(), b.projected.data());
        std::memcpy(b.f0.data(), b.f.data(), b.f.size() * sizeof(float));
        std::memcpy(b.solution[0].data(), b.f.data(), b.f.size() * sizeof(float));
        b.solution[1].zero();
      }
      solve(iterations);
      for (JointBlock& b : blocks_) {
        symmetrise(b.shape(), b.solution[0].data());
        std::memcpy(b.f.data(), b.solution[0].data(), b.f.size() * sizeof(float));
        for (std::size_t i = 0; i < b.matrix(); i++) b.projection[i] += b.solution[1][i];
      }
    }
  }

 private:
  // product = A v for the filters and increments v.
  void apply(Floats (JointBlock::*v)[2]) {
    score_.zero();
    for (JointBlock& b : blocks_) b.add_score((b.*v)[0].data(), (b.*v)[1].data(), score_.data(), size_);
    for (JointBlock& b : blocks_) {
      b.adjoint(score_.data(), size_, b.product[0].data(), b.product[1].data());
      regularise_.add(b.shape(), (b.*v)[0].data(), b.product[0].data());
      for (std::size_t i = 0; i < b.matrix(); i++) b.product[1][i] += weight_ * (b.*v)[1][i];
    }
  }

  void solve(int iterations) {
    apply(&JointBlock::solution);
    for (JointBlock& b : blocks_) {
      b.adjoint(nullptr, b.shape().size, b.residual[0].data(), b.residual[1].data());
      for (std::size_t i = 0; i < b.matrix(); i++) b.residual[1][i] -= weight_ * b.projection[i];
      for (int part = 0; part < 2; part++) axpy(b.residual[part], -1.0f, b.product[part]);
    }
    double rho = 1;
    for (int step = 0; step < iterations; step++) {
      const double before = rho;
      rho = preconditioned_norm();
      if (!(rho > 0 && rho < std::numeric_limits<double>::infinity())) return;
      const float beta = step ? static_cast<float>(rho / before) : 0.0f;
      for (JointBlock& b : blocks_) turn(b, beta);
      apply(&JointBlock::direction);
      double curvature = 0;
      for (JointBlock& b : blocks_) curvature += inner(b, b.direction, b.product);
      if (!(curvature > 0 && curvature < std::numeric_limits<double>::infinity())) return;
      const float alpha = static_cast<float>(rho / curvature);
      for (JointBlock& b : blocks_) {
        for (int part = 0; part < 2; part++) {
          axpy(b.solution[part], alpha, b.direction[part]);
          axpy(b.residual[part], -alpha, b.product[part]);
        }
      }
    }
  }

  static void axpy(Floats& y, float a, const Floats& x) {
    for (std::size_t l = 0; l < y.size(); l += kLanes) store(&y[l], load(&y[l]) + a * load(&x[l]));
  }

  // direction = M^-1 residual + beta direction.
  static void turn(JointBlock& b, float beta) {
    const int stored = b.shape().stored;
    for (int k = 0; k < b.shape().frequencies(); k++) {
      const float* m = &b.inverse_precondition[static_cast<std::size_t>(k) * stored];
      float* d = &b.direction[0][static_cast<std::size_t>(k) * 2 * stored];
      const float* r = &b.residual[0][static_cast<std::size_t>(k) * 2 * stored];
      for (int l = 0; l < stored; l += kLanes) {
        store(d + l, load(m + l) * load(r + l) + beta * load(d + l));
        store(d + l + stored, load(m + l) * load(r + l + stored) + beta * load(d + l + stored));
      }
    }
    for (std::size_t i = 0; i < b.matrix(); i++) {
      b.direction[1][i] = b.projection_inverse_precondition * b.residual[1][i] + beta * b.direction[1][i];
    }
  }

  static double inner(const JointBlock& b, const Floats* x, const Floats* y) {
    double total = inner_product(b.shape(), x[0].data(), y[0].data());
    for (std::size_t i = 0; i < b.matrix(); i++) total += static_cast<double>(x[1][i]) * y[1][i];
    return total;
  }

  // <r, M^-1 r>; M^-1 r is put where the product will be.
  double preconditioned_norm() {
    double total = 0;
    for (JointBlock& b : blocks_) {
      const int stored = b.shape().stored;
      for (int k = 0; k < b.shape().frequencies(); k++) {
        const float* m = &b.inverse_precondition[static_cast<std::size_t>(k) * stored];
        const std::size_t at = static_cast<std::size_t>(k) * 2 * stored;
        for (int l = 0; l < 2 * stored; l += kLanes) {
          store(&b.product[0][at + l], load(m + l % stored) * load(&b.residual[0][at + l]));
        }
      }
      for (std::size_t i = 0; i < b.matrix(); i++) {
        b.product[1][i] = b.projection_inverse_precondition * b.residual[1][i];
      }
      total += inner(b, b.residual, b.product);
    }
    return total;
  }

  std::vector<JointBlock>& blocks_;
  Regularisation& regularise_;
  float weight_;
  int size_ = 0;
  Floats score_;
};

}  // namespace cfvgg
