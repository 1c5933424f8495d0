// Weighted second moments of spectral samples: what ECO's least squares needs of them.
#pragma once

#include <algorithm>
#include <vector>

#include "series.hpp"

namespace cfvgg {

// C = sum of weight conj(x) x^T per frequency, for samples on several grids, the largest first. Where a smaller
// grid's frequencies end, its channels are zero. Replacing two samples by their mean changes C by one outer
// product, so C is kept up to date instead of multiplying with all samples in every iteration.
//
// Within a grid C is Hermitian. Diagonal d of it, C[i, (i + d) mod channels] for all i, is one vector; the
// diagonals 0..channels / 2 are all of it.
class SecondMoments {
 public:
  explicit SecondMoments(const std::vector<SeriesShape>& shapes) : shapes_(shapes) {
    for (const SeriesShape& s : shapes) {
      starts_.push_back(floats_);
      floats_ += s.floats();
      diagonals_.push_back(s.channels / 2 + 1);
      own_.emplace_back(static_cast<std::size_t>(s.frequencies()) * diagonals_.back() * 2 * s.stored);
      longest_ = std::max(longest_, 3 * s.stored + kLanes);
    }
    for (std::size_t g = 0; g < shapes.size(); g++) {
      for (std::size_t h = g + 1; h < shapes.size(); h++) {
        cross_.emplace_back(static_cast<std::size_t>(shapes[h].frequencies()) * shapes[g].channels * 2 *
                            shapes[h].stored);
      }
    }
    for (Floats& buffer : twice_) buffer = Floats(2 * longest_);
    turned_ = Floats(2 * static_cast<std::size_t>(longest_) * *std::max_element(diagonals_.begin(), diagonals_.end()));
    mean_ = Floats(floats_);
  }

  std::size_t floats() const { return floats_; }
  std::size_t start(std::size_t grid) const { return starts_[grid]; }
  const float* mean() const { return mean_.data(); }

  struct Outer {
    const float* x;
    float weight;
  };

  // C <- fade C + sum of weight conj(x) x^T over one or two x, mean <- fade mean + weight x of the last.
  void update(float fade, const Outer* outers, int count) {
    const Outer& last = outers[count - 1];
    for (std::size_t l = 0; l < floats_; l += kLanes) {
      store(&mean_[l], fade * load(&mean_[l]) + last.weight * load(last.x + l));
    }
    for (std::size_t g = 0; g < shapes_.size(); g++) update_own(g, fade, outers, count);
    std::size_t pair = 0;
    for (std::size_t g = 0; g < shapes_.size(); g++) {
      for (std::size_t h = g + 1; h < shapes_.size(); h++) update_cross(pair++, g, h, fade, outers, count);
    }
  }

  // out = C f.
  void apply(const float* f, float* out) {
    for (std::size_t g = 0; g < shapes_.size(); g++) apply_own(g, f + starts_[g], out + starts_[g]);
    std::size_t pair = 0;
    for (std::size_t g = 0; g < shapes_.size(); g++) {
      for (std::size_t h = g + 1; h < shapes_.size(); h++) apply_cross(pair++, g, h, f, out);
    }
  }

 private:
  // x's channels twice, behind one another: real parts, then imaginary ones.
  void double_up(const SeriesShape& s, const float* x, float* out) const {
    for (int part = 0; part < 2; part++, out += longest_, x += s.stored) {
      for (int l = 0; l < s.stored; l += kLanes) store(out + l, load(x + l));
      for (int l = 0; l < s.stored; l += kLanes) store(out + s.channels + l, load(x + l));
    }
  }

  void update_own(std::size_t g, float fade, const Outer* outers, int count) {
    const SeriesShape& s = shapes_[g];
    float* block = own_[g].data();
    for (int k = 0; k < s.frequencies(); k++) {
      const float* x[2] = {};
      for (int i = 0; i < count; i++) {
        x[i] = outers[i].x + starts_[g] + static_cast<std::size_t>(k) * 2 * s.stored;
        double_up(s, x[i], twice_[i].data());
      }
      for (int d = 0; d < diagonals_[g]; d++, block += 2 * s.stored) {
        for (int l = 0; l < s.stored; l += kLanes) {
          V re = fade * load(block + l), im = fade * load(block + s.stored + l);
          for (int i = 0; i < count; i++) {
            const V ar = outers[i].weight * load(x[i] + l), ai = outers[i].weight * load(x[i] + s.stored + l);
            const V br = load(&twice_[i][l + d]), bi = load(&twice_[i][longest_ + l + d]);
            re += ar * br + ai * bi;
            im += ar * bi - ai * br;
          }
          store(block + l, re);
          store(block + s.stored + l, im);
        }
      }
    }
  }

  // C[i, i + d] f[i + d] goes to place i, and conj(C[i, i + d]) f[i] to place i + d: the latter are written twice
  // behind one another, too, and read from where they are turned by d.
  void apply_own(std::size_t g, const float* f, float* out) {
    const SeriesShape& s = shapes_[g];
    const float* block = own_[g].data();
    const int diagonals = diagonals_[g], half = s.channels - 2 * (s.channels / 2) ? diagonals : diagonals - 1;
    float* twice = twice_[0].data();
    for (int k = 0; k < s.frequencies(); k++, f += 2 * s.stored, out += 2 * s.stored) {
      double_up(s, f, twice);
      for (int d = 1; d < half; d++) {  // half way round, all pairs are there already
        const float* c = block + static_cast<std::ptrdiff_t>(d) * 2 * s.stored;
        float *re = turned_.data() + static_cast<std::ptrdiff_t>(d) * 2 * longest_, *im = re + longest_;
        for (int l = 0; l < s.stored; l += kLanes) {
          const V cr = load(c + l), ci = load(c + s.stored + l), ar = load(f + l), ai = load(f + s.stored + l);
          store(re + l, cr * ar + ci * ai);
          store(im + l, cr * ai - ci * ar);
        }
        for (int l = 0; l < s.stored; l += kLanes) {
          const V cr = load(c + l), ci = load(c + s.stored + l), ar = load(f + l), ai = load(f + s.stored + l);
          store(re + s.channels + l, cr * ar + ci * ai);
          store(im + s.channels + l, cr * ai - ci * ar);
        }
      }
      for (int l = 0; l < s.stored; l += kLanes) {
        V re = V{}, im = V{};
        for (int d = 0; d < diagonals; d++) {
          const float *c = block + static_cast<std::ptrdiff_t>(d) * 2 * s.stored + l, *b = twice + l + d;
          const V cr = load(c), ci = load(c + s.stored), br = load(b), bi = load(b + longest_);
          re += cr * br - ci * bi;
          im += cr * bi + ci * br;
          if (d == 0 || d >= half) continue;
          const float* t = turned_.data() + static_cast<std::ptrdiff_t>(d) * 2 * longest_ + l + s.channels - d;
          re += load(t);
          im += load(t + longest_);
        }
        store(out + l, re);
        store(out + s.stored + l, im);
      }
      // What lies behind the last channel is another channel's once more.
      for (int i = s.channels; i < s.stored; i++) out[i] = out[s.stored + i] = 0;
      block += static_cast<std::ptrdiff_t>(diagonals) * 2 * s.stored;
    }
  }

  // The frequency of grid g that is number (r, c) of the smaller grid h.
  std::size_t centre(std::size_t g, std::size_t h, int r, int c) const {
    return starts_[g] + shapes_[g].at(r + (shapes_[g].size - shapes_[h].size) / 2, c);
  }

  void update_cross(std::size_t pair, std::size_t g, std::size_t h, float fade, const Outer* outers, int count) {
    const SeriesShape &left = shapes_[g], &right = shapes_[h];
    float* block = cross_[pair].data();
    for (int r = 0; r < right.size; r++) {
      for (int c = 0; c < right.columns; c++) {
        for (int i = 0; i < left.channels; i++, block += 2 * right.stored) {
          for (int l = 0; l < right.stored; l += kLanes) {
            V re = fade * load(block + l), im = fade * load(block + right.stored + l);
            for (int o = 0; o < count; o++) {
              const float* a = outers[o].x + centre(g, h, r, c);
              const float* b = outers[o].x + starts_[h] + right.at(r, c);
              const float ar = outers[o].weight * a[i], ai = outers[o].weight * a[left.stored + i];
              const V br = load(b + l), bi = load(b + right.stored + l);
              re += ar * br + ai * bi;
              im += ar * bi - ai * br;
            }
            store(block + l, re);
            store(block + right.stored + l, im);
          }
        }
      }
    }
  }

  void apply_cross(std::size_t pair, std::size_t g, std::size_t h, const float* f, float* out) {
    const SeriesShape &left = shapes_[g], &right = shapes_[h];
    const float* block = cross_[pair].data();
    for (int r = 0; r < right.size; r++) {
      for (int c = 0; c < right.columns; c++) {
        const float *fg = f + centre(g, h, r, c), *fh = f + starts_[h] + right.at(r, c);
        float *og = out + centre(g, h, r, c), *oh = out + starts_[h] + right.at(r, c);
        for (int i = 0; i < left.channels; i++, block += 2 * right.stored) {
          V re = V{}, im = V{};
          const float ar = fg[i], ai = fg[left.stored + i];
          for (int l = 0; l < right.stored; l += kLanes) {
            const V cr = load(block + l), ci = load(block + right.stored + l);
            const V br = load(fh + l), bi = load(fh + right.stored + l);
            re += cr * br - ci * bi;
            im += cr * bi + ci * br;
            store(oh + l, load(oh + l) + cr * ar + ci * ai);
            store(oh + right.stored + l, load(oh + right.stored + l) + cr * ai - ci * ar);
          }
          og[i] += sum(re);
          og[left.stored + i] += sum(im);
        }
      }
    }
  }

  std::vector<SeriesShape> shapes_;
  std::vector<std::size_t> starts_;
  std::vector<int> diagonals_;
  std::vector<Floats> own_, cross_;
  Floats mean_, twice_[2], turned_;
  std::size_t floats_ = 0;
  int longest_ = 0;
};

}  // namespace cfvgg
