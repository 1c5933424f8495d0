// ECO's filter of one target: factorised continuous convolution operators (Danelljan 2017, CVPR, section 3).
#pragma once

#include <vector>

#include "joint_training.hpp"
#include "response.hpp"
#include "sample_space.hpp"
#include "series.hpp"

namespace cfvgg {

struct EcoNumbers {
  int samples, iterations, first_gauss_newton, first_iterations;
  double learning_rate, forgetting, precondition_data, precondition_regularisation, precondition_projection,
      projection_regularisation, window_energy;
};

// Feature blocks of equally many cells share a grid, their projected channels behind one another.
struct EcoBlock {
  int channels_in, channels_out, grid, first;  // first of its channels within the grid
};

// What the grids are set up with: cells, window (cells, cells), interpolation (size, columns, 2), label
// (size, columns).
struct EcoGrid {
  EcoGrid(int cells_, int channels, const float* window_, const float* interpolation_, const float* label_)
      : cells(cells_),
        shape(cells_, channels),
        fft(cells_),
        window(static_cast<std::size_t>(cells) * cells),
        interpolation(2 * shape.frequencies()),
        label(shape.frequencies()),
        maps(static_cast<std::size_t>(cells) * cells * shape.stored),
        dft(fft.floats(shape.stored)) {
    std::memcpy(window.data(), window_, window.size() * sizeof(float));
    std::memcpy(interpolation.data(), interpolation_, interpolation.size() * sizeof(float));
    std::memcpy(label.data(), label_, label.size() * sizeof(float));
  }
  int cells;
  SeriesShape shape;
  RealFft2 fft;
  Floats window, interpolation, label, maps, dft;
};

// A block's maps as they come: `row_floats` apart from row to row, channels contiguous.
struct Maps {
  const float* data;
  std::ptrdiff_t row_floats, column_floats;
};

class EcoFilter {
 public:
  EcoFilter(std::vector<EcoGrid> grids, std::vector<EcoBlock> blocks, const EcoNumbers& numbers,
            Regularisation regularise)
      : grids_(std::move(grids)),
        blocks_(std::move(blocks)),
        n_(numbers),
        regularise_(std::move(regularise)),
        space_(shapes(), numbers.samples, numbers.learning_rate),
        shift_(grids_[0].shape.size),
        response_(grids_[0].shape.size, 1, Response::Rows::kCentred, 1.0f) {
    const std::size_t floats = space_.moments().floats();
    for (Floats* buffer : {&sample_, &newest_, &f_, &direction_, &residual_, &before_, &product_, &target_}) {
      *buffer = Floats(floats);
    }
    energy_ = Floats(floats / 2);
    inverse_ = Floats(floats / 2);
    for (const EcoGrid& grid : grids_) regularise_.reserve(grid.shape);
    for (const EcoBlock& b : blocks_) {
      projections_.emplace_back(static_cast<std::size_t>(b.channels_in) * grids_[b.grid].shape.stored);
    }
  }

  const std::vector<EcoGrid>& grids() const { return grids_; }
  const std::vector<EcoBlock>& blocks() const { return blocks_; }
  SampleSpace& space() { return space_; }
  Floats& sample() { return sample_; }
  Floats& filter() { return f_; }
  const Floats& projection(int b) const { return projections_[b]; }
  std::size_t start(std::size_t grid) { return space_.moments().start(grid); }

  // Filter and projection together. `projections` has (channels in, channels out) for every block.
  void learn_first(const std::vector<Maps>& maps, const std::vector<const float*>& projections, double down,
                   double across) {
    std::vector<JointBlock> joint;
    for (std::size_t g = 0; g < grids_.size(); g++)
      joint.push_back(joint_block(g, maps, projections, down, across));
    JointTraining(joint, regularise_, static_cast<float>(n_.projection_regularisation))
        .run(n_.first_gauss_newton, n_.first_iterations);
    for (std::size_t g = 0; g < grids_.size(); g++) adopt(g, joint[g]);
    space_.add(newest_.data());
  }

  // The projected, windowed, interpolated sample, into sample().
  void series(const std::vector<Maps>& maps) {
    for (EcoGrid& grid : grids_) grid.maps.zero();
    for (std::size_t i = 0; i < blocks_.size(); i++) project(i, maps[i]);
    for (std::size_t g = 0; g < grids_.size(); g++) {
      EcoGrid& grid = grids_[g];
      grid.fft.forward(grid.maps.data(), grid.shape.stored, grid.window.data(), grid.dft.data());
      to_series(grid.dft.data(), grid.cells, grid.shape, grid.interpolation.data(), &sample_[start(g)]);
    }
  }

  // Where the response to sample() is highest: the scores are sums over all channels of x f.
  Found locate(int newton_iterations, int exclude_cells) {
    const SeriesShape& largest = grids_[0].shape;
    for (std::size_t g = 0; g < grids_.size(); g++) {
      const SeriesShape& s = grids_[g].shape;
      const int shift = (largest.size - s.size) / 2;
      for (int r = 0; r < s.size; r++) {
        float *score_re = response_.re(0, r + shift), *score_im = response_.im(0, r + shift);
        for (int c = 0; c < s.columns; c++) {
          const float *x = &sample_[start(g) + s.at(r, c)], *f = &f_[start(g) + s.at(r, c)];
          V re = V{}, im = V{};
          for (int l = 0; l < s.stored; l += kLanes) {
            const V xr = load(x + l), xi = load(x + s.stored + l), fr = load(f + l),
                    fi = load(f + s.stored + l);
            re += xr * fr - xi * fi;
            im += xr * fi + xi * fr;
          }
          score_re[c] = (g ? score_re[c] : 0.0f) + sum(re);
          score_im[c] = (g ? score_im[c] : 0.0f) + sum(im);
        }
      }
    }
    return response_.locate(newton_iterations, exclude_cells);
  }

  // Take sample() into memory, moved so that the target is at its centre; radians of the sample's period.
  void remember(double down, double across) {
    for (std::size_t g = 0; g < grids_.size(); g++) {
      shift_.set(grids_[g].shape, down, across);
      shift_.apply(grids_[g].shape, &sample_[start(g)], &newest_[start(g)]);
    }
    space_.add(newest_.data());
  }

  // Some iterations of the conjugate gradient on all samples, from the current filter: (C + W^H W) f =
  // conj(mean) y. The search direction of the last training goes on (Polak and Ribiere).
  void train() {
    set_target();
    apply(f_.data());
    for (std::size_t l = 0; l < target_.size(); l += kLanes) {
      store(&residual_[l], load(&target_[l]) - load(&product_[l]));
    }
    constexpr double infinity = std::numeric_limits<double>::infinity();
    double rho = has_direction_ ? rho_ / std::pow(1 - n_.learning_rate, n_.forgetting) : rho_;
    for (int step = 0; step < n_.iterations; step++) {
      precondition();  // into product_
      const double rho_before = rho;
      rho = inner(residual_, product_);
      if (!(rho > 0 && rho < infinity)) {
        has_direction_ = false;
        break;
      }
      float beta = 0;
      if (has_direction_) {
        beta = static_cast<float>(std::max((rho - inner(before_, product_)) / rho_before, 0.0));
      }
      for (std::size_t l = 0; l < f_.size(); l += kLanes) {
        store(&direction_[l], load(&product_[l]) + beta * load(&direction_[l]));
      }
      apply(direction_.data());
      const double curvature = inner(direction_, product_);
      if (!(curvature > 0 && curvature < infinity)) {
        has_direction_ = false;
        break;
      }
      has_direction_ = true;
      const float alpha = static_cast<float>(rho / curvature);
      for (std::size_t l = 0; l < f_.size(); l += kLanes) {
        const V r = load(&residual_[l]);
        store(&before_[l], r);
        store(&f_[l], load(&f_[l]) + alpha * load(&direction_[l]));
        store(&residual_[l], r - alpha * load(&product_[l]));
      }
    }
    if (!has_direction_) direction_.zero();
    rho_ = rho;
  }

 private:
  std::vector<SeriesShape> shapes() const {
    std::vector<SeriesShape> all;
    for (const EcoGrid& grid : grids_) all.push_back(grid.shape);
    return all;
  }

  // sqrt(count / energy): a sample's mean square becomes 1.
  static float normalising(const Maps& m, int cells, int channels) {
    double energy = 0;
    for (int r = 0; r < cells; r++) {
      const float* row = m.data + r * m.row_floats;
      if (m.column_floats == channels) {
        energy += square_sum(row, static_cast<std::ptrdiff_t>(cells) * channels);
        continue;
      }
      for (int c = 0; c < cells; c++) energy += square_sum(row + c * m.column_floats, channels);
    }
    const double count = static_cast<double>(cells) * cells * channels;
    return static_cast<float>(std::sqrt(count / (energy + std::numeric_limits<double>::epsilon())));
  }

  // Some cells at once, so that a row of the projection is loaded once for all of them.
  void project(std::size_t index, const Maps& m) {
    constexpr int together = 4;
    const EcoBlock& b = blocks_[index];
    EcoGrid& grid = grids_[b.grid];
    const int stored = grid.shape.stored;
    const float factor = normalising(m, grid.cells, b.channels_in);
    for (int r = 0; r < grid.cells; r++) {
      for (int c = 0; c < grid.cells; c += together) {
        const int count = std::min(together, grid.cells - c);
        const float* p[together];
        for (int n = 0; n < together; n++) {
          p[n] = m.data + r * m.row_floats + (c + std::min(n, count - 1)) * m.column_floats;
        }
        float* o = &grid.maps[(static_cast<std::size_t>(r) * grid.cells + c) * stored];
        for (int l = 0; l < stored; l += kLanes) {
          V total[together] = {};
          const float* row = projections_[index].data() + l;
          for (int i = 0; i < b.channels_in; i++, row += stored) {
            const V w = load(row);
            for (int n = 0; n < together; n++) total[n] += p[n][i] * w;
          }
          for (int n = 0; n < count; n++) {
            store(o + n * stored + l, load(o + n * stored + l) + factor * total[n]);
          }
        }
      }
    }
  }

  JointBlock joint_block(std::size_t g, const std::vector<Maps>& maps,
                         const std::vector<const float*>& projections, double down, double across) {
    EcoGrid& grid = grids_[g];
    int channels_in = 0;
    for (const EcoBlock& b : blocks_) channels_in += b.grid == static_cast<int>(g) ? b.channels_in : 0;
    const SeriesShape in(grid.cells, channels_in), &out = grid.shape;
    JointBlock joint(in, out, grid.label.data());
    Floats stacked(static_cast<std::size_t>(grid.cells) * grid.cells * in.stored),
        dft(grid.fft.floats(in.stored));
    for (std::size_t i = 0, first = 0; i < blocks_.size(); i++) {
      const EcoBlock& b = blocks_[i];
      if (b.grid != static_cast<int>(g)) continue;
      copy_normalised(maps[i], grid.cells, b.channels_in, in.stored, &stacked[first]);
      for (int row = 0; row < b.channels_in; row++) {
        for (int column = 0; column < b.channels_out; column++) {
          const std::size_t at = (first + row) * out.stored + b.first + column;
          joint.projection[at] = projections[i][row * b.channels_out + column];
          joint.allowed[at] = 1;
        }
      }
      first += b.channels_in;
    }
    grid.fft.forward(stacked.data(), in.stored, grid.window.data(), dft.data());
    to_series(dft.data(), grid.cells, in, grid.interpolation.data(), joint.x.data());
    shift_.set(in, down, across);
    shift_.apply(in, joint.x.data(), joint.x.data());
    precondition_joint(g, joint);
    return joint;
  }

  static void copy_normalised(const Maps& m, int cells, int channels, int stored, float* out) {
    const float factor = normalising(m, cells, channels);
    for (int r = 0; r < cells; r++) {
      for (int c = 0; c < cells; c++, out += stored) {
        const float* p = m.data + r * m.row_floats + c * m.column_floats;
        for (int i = 0; i < channels; i++) out[i] = factor * p[i];
      }
    }
  }

  void precondition_joint(std::size_t g, JointBlock& joint) {
    const SeriesShape& s = grids_[g].shape;
    joint.project(joint.projection.data(), joint.projected.data());
    double label_energy = 0;
    for (std::size_t k = 0; k < static_cast<std::size_t>(s.frequencies()); k++) {
      const float* p = &joint.projected[k * 2 * s.stored];
      float *e = &energy_[start(g) / 2 + k * s.stored], *inverse = &joint.inverse_precondition[k * s.stored];
      for (int l = 0; l < s.stored; l++) e[l] = p[l] * p[l] + p[s.stored + l] * p[s.stored + l];
      invert(g, e, inverse);
      label_energy += static_cast<double>(grids_[g].label[k]) * grids_[g].label[k];
    }
    int all_channels = 0;
    for (const EcoBlock& b : blocks_) all_channels += b.channels_in;
    joint.projection_inverse_precondition = static_cast<float>(
        1 / (n_.precondition_projection * (2 * label_energy / all_channels + n_.projection_regularisation)));
  }

  // 1 / M for a grid's channels at one frequency, from their mean energies; blocks are mixed within
  // themselves.
  void invert(std::size_t g, const float* energy, float* out) const {
    const float data = static_cast<float>(n_.precondition_data);
    const float reg = static_cast<float>(n_.precondition_regularisation);
    for (const EcoBlock& b : blocks_) {
      if (b.grid != static_cast<int>(g)) continue;
      float mean = 0;
      for (int j = 0; j < b.channels_out; j++) mean += energy[b.first + j];
      mean /= static_cast<float>(b.channels_out);
      for (int j = b.first; j < b.first + b.channels_out; j++) {
        const float mixed = data * energy[j] + (1 - data) * mean;
        out[j] = 1 / ((1 - reg) * mixed + reg * static_cast<float>(n_.window_energy));
      }
    }
  }

  void adopt(std::size_t g, JointBlock& joint) {
    std::size_t first = 0;
    const std::size_t stored = grids_[g].shape.stored;
    for (std::size_t i = 0; i < blocks_.size(); i++) {
      if (blocks_[i].grid != static_cast<int>(g)) continue;
      std::memcpy(projections_[i].data(), &joint.projection[first * stored],
                  projections_[i].size() * sizeof(float));
      first += blocks_[i].channels_in;
    }
    joint.project(joint.projection.data(), &newest_[start(g)]);
    std::memcpy(&f_[start(g)], joint.f.data(), joint.f.size() * sizeof(float));
  }

  // Mean energies, 1 / M, and the right side conj(mean) y.
  void set_target() {
    const float rate = static_cast<float>(n_.learning_rate);
    for (std::size_t g = 0; g < grids_.size(); g++) {
      const SeriesShape& s = grids_[g].shape;
      for (std::size_t k = 0; k < static_cast<std::size_t>(s.frequencies()); k++) {
        const float *x = &newest_[start(g) + k * 2 * s.stored],
                    *mean = space_.moments().mean() + start(g) + k * 2 * s.stored;
        float *e = &energy_[start(g) / 2 + k * s.stored], *t = &target_[start(g) + k * 2 * s.stored];
        const float y = grids_[g].label[k];
        for (int l = 0; l < s.stored; l += kLanes) {
          const V xr = load(x + l), xi = load(x + s.stored + l), old = load(e + l);
          store(e + l, old + rate * (xr * xr + xi * xi - old));
          store(t + l, y * load(mean + l));
          store(t + s.stored + l, -y * load(mean + s.stored + l));
        }
        invert(g, e, &inverse_[start(g) / 2 + k * s.stored]);
      }
    }
  }

  // product_ = (C + W^H W) f.
  void apply(const float* f) {
    space_.moments().apply(f, product_.data());
    for (std::size_t g = 0; g < grids_.size(); g++) {
      regularise_.add(grids_[g].shape, f + start(g), &product_[start(g)]);
    }
  }

  void precondition() {
    for (std::size_t g = 0; g < grids_.size(); g++) {
      const SeriesShape& s = grids_[g].shape;
      for (std::size_t k = 0; k < static_cast<std::size_t>(s.frequencies()); k++) {
        const float *r = &residual_[start(g) + k * 2 * s.stored], *m = &inverse_[start(g) / 2 + k * s.stored];
        float* z = &product_[start(g) + k * 2 * s.stored];
        for (int l = 0; l < s.stored; l += kLanes) {
          store(z + l, load(m + l) * load(r + l));
          store(z + s.stored + l, load(m + l) * load(r + s.stored + l));
        }
      }
    }
  }

  double inner(const Floats& a, const Floats& b) {
    double total = 0;
    for (std::size_t g = 0; g < grids_.size(); g++) {
      total += inner_product(grids_[g].shape, &a[start(g)], &b[start(g)]);
    }
    return total;
  }

  std::vector<EcoGrid> grids_;
  std::vector<EcoBlock> blocks_;
  EcoNumbers n_;
  Regularisation regularise_;
  SampleSpace space_;
  Shift shift_;
  Response response_;
  std::vector<Floats> projections_;
  Floats sample_, newest_, f_, direction_, residual_, before_, product_, target_, energy_, inverse_;
  double rho_ = 1;
  bool has_direction_ = false;
};

}  // namespace cfvgg
