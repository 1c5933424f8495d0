// STRCF's filter (Li 2018, CVPR): scores of samples, and training.
#pragma once

#include <utility>
#include <vector>

#include "admm.hpp"
#include "common.hpp"
#include "response.hpp"
#include "strcf_samples.hpp"

namespace cfvgg {

// The features of one cell size.
class StrcfGroup {
 public:
  // See `Admm`.
  StrcfGroup(SampleRows rows, const float* label, const float* weight, int cells, float temporal,
             AdmmSteps steps)
      : rows_(std::move(rows)), shape_(rows_.shape()),
        admm_(shape_, label, weight, cells, temporal, steps), spectrum_(shape_.floats()) {}

  int size() const { return shape_.n; }
  const SampleRows& rows() const { return rows_; }

  // Adds sum_d conj(f_d) x_d of a sample to a response of the same grid or a finer one. Frequencies that only
  // the finer grid has get nothing, nor the coarse one's at half its size if that is even. Values scale with
  // the number of cells, as those of an unnormalised DFT do.
  void add_scores(const Maps* maps, int sample, int scale, Response& response) {
    const int n = shape_.n, size = response.size();
    rows_.forward(maps, sample, spectrum_.data());
    const float ratio = static_cast<float>(size) / static_cast<float>(n), unit = ratio * ratio;
    const int up = n == size ? n : (n + 1) / 2, down = n == size ? 0 : (n - 1) / 2;
    for (int k = 0; k < shape_.columns && k < up; k++) {
      const float* x = admm_.transform<false>(spectrum_.data() + k * shape_.column_floats);
      const float* f = admm_.filter() + k * shape_.column_floats;
      for (int y = 0; y < n; y++) {
        if (y >= up && y < n - down) continue;
        V re{}, im{};
        for (int q = 0; q < shape_.vectors; q++) {
          const std::ptrdiff_t at = q * shape_.vector_floats + 2 * kLanes * y;
          const V xr = load(x + at), xi = load(x + at + kLanes);
          const V fr = load(f + at), fi = load(f + at + kLanes);
          re += fr * xr + fi * xi;
          im += fr * xi - fi * xr;
        }
        const int row = y < up ? y : y + size - n;
        response.re(scale, row)[k] += unit * sum(re);
        response.im(scale, row)[k] += unit * sum(im);
      }
    }
  }

  void learn(const Maps* maps) {
    rows_.forward(maps, 0, spectrum_.data());
    admm_.learn(spectrum_.data());
  }

  // The filter as (n, n / 2 + 1, channels, 2).
  void copy_filter(int channels, float* to) const {
    for (int y = 0; y < shape_.n; y++) {
      for (int k = 0; k < shape_.columns; k++) {
        for (int c = 0; c < channels; c++, to += 2) {
          const float* from = admm_.filter() + shape_.place(k, c / kLanes, y) + c % kLanes;
          to[0] = from[0];
          to[1] = from[kLanes];
        }
      }
    }
  }

 private:
  SampleRows rows_;
  SpectrumShape shape_;
  Admm admm_;
  Floats spectrum_;
};

// All groups of a target, the finest grid first.
class Strcf {
 public:
  Strcf(std::vector<StrcfGroup> groups, int scales)
      : groups_(std::move(groups)),
        response_(groups_.at(0).size(), scales, Response::Rows::kNatural,
                  1.0f / (static_cast<float>(groups_[0].size()) * static_cast<float>(groups_[0].size()))) {}

  std::vector<StrcfGroup>& groups() { return groups_; }
  Response& response() { return response_; }

  // maps: one per block, group by group.
  Found detect(const Maps* maps, int newton_iterations, int exclude_cells) {
    response_.zero();
    for (StrcfGroup& group : groups_) {
      for (int s = 0; s < response_.scales(); s++) group.add_scores(maps, s, s, response_);
      maps += group.rows().blocks();
    }
    return response_.locate(newton_iterations, exclude_cells);
  }

  void learn(const Maps* maps) {
    for (StrcfGroup& group : groups_) {
      group.learn(maps);
      maps += group.rows().blocks();
    }
  }

 private:
  std::vector<StrcfGroup> groups_;
  Response response_;
};

}  // namespace cfvgg
