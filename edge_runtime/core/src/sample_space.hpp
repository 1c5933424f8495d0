// ECO's memory of weighted samples (Danelljan 2017, CVPR, section 3.2).
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "second_moments.hpp"

namespace cfvgg {

// At most `capacity` samples with weights that sum to 1. A new one has weight `learning_rate`; when the
// memory is full it takes the place of one that hardly counts any more, or the two nearest of all are merged.
//
// All samples are read in every frame, more than a cache holds. So they are kept without the padding of their
// channels: [2][channels] for every frequency, one grid after the other.
class SampleSpace {
 public:
  SampleSpace(const std::vector<SeriesShape>& shapes, int capacity, double learning_rate)
      : moments_(shapes),
        shapes_(shapes),
        packed_floats_(packed_floats(shapes)),
        capacity_(capacity),
        rate_(learning_rate),
        weights_(capacity),
        products_(capacity),
        gram_(static_cast<std::size_t>(capacity) * capacity),
        samples_(capacity * packed_floats_),
        packed_(packed_floats_),
        difference_(packed_floats_),
        unpacked_(moments_.floats()) {
    least_weight_ = rate_ * std::pow(1 - rate_, 2 * capacity);
  }

  SecondMoments& moments() { return moments_; }
  int count() const { return count_; }
  const std::vector<double>& weights() const { return weights_; }

  void add(const float* x) {
    pack(x);
    for (int i = 0; i < count_; i++) products_[i] = 2 * dot(sample(i), packed_.data());
    const double norm = 2 * dot(packed_.data(), packed_.data());
    if (count_ < capacity_) return append(x, norm);
    const int least = static_cast<int>(std::min_element(weights_.begin(), weights_.end()) - weights_.begin());
    if (weights_[least] < least_weight_) return replace(least, x, norm);
    merge(x, norm);
  }

 private:
  using Outer = SecondMoments::Outer;

  // Room for a vector's overhang behind the last channels.
  static std::size_t packed_floats(const std::vector<SeriesShape>& shapes) {
    std::size_t floats = 0;
    for (const SeriesShape& s : shapes) floats += static_cast<std::size_t>(s.frequencies()) * 2 * s.channels;
    return padded(static_cast<int>(floats)) + shapes.back().stored;
  }

  // x into packed_. What hangs over is zero, and written over by what follows.
  void pack(const float* x) {
    float* to = packed_.data();
    for (const SeriesShape& s : shapes_) {
      for (int k = 0; k < 2 * s.frequencies(); k++, x += s.stored, to += s.channels) {
        for (int l = 0; l < s.stored; l += kLanes) store(to + l, load(x + l));
      }
    }
  }

  // A kept vector with its padding, which stays zero, in unpacked_.
  const float* unpack(const float* from) {
    float* to = unpacked_.data();
    for (const SeriesShape& s : shapes_) {
      const std::size_t bytes = s.channels * sizeof(float);
      for (int k = 0; k < 2 * s.frequencies(); k++, from += s.channels, to += s.stored)
        std::memcpy(to, from, bytes);
    }
    return unpacked_.data();
  }

  float* sample(int i) { return samples_.data() + i * packed_floats_; }
  double& gram(int i, int j) { return gram_[static_cast<std::size_t>(i) * capacity_ + j]; }

  // The zero column counts as often as the others, as in the authors' program: near enough for distances.
  double dot(const float* a, const float* b) const {
    constexpr std::size_t block = 4096;
    double total = 0;
    for (std::size_t start = 0; start < packed_floats_; start += block) {
      const std::size_t end = std::min(start + block, packed_floats_);
      V s[4] = {V{}, V{}, V{}, V{}};
      std::size_t l = start;
      for (; l + 4 * kLanes <= end; l += 4 * kLanes) {
        for (int k = 0; k < 4; k++) s[k] += load(a + l + k * kLanes) * load(b + l + k * kLanes);
      }
      for (; l < end; l += kLanes) s[0] += load(a + l) * load(b + l);
      total += sum((s[0] + s[1]) + (s[2] + s[3]));
    }
    return total;
  }

  void fade(double factor) {
    for (double& weight : weights_) weight *= factor;
  }

  void keep(int index, double norm, double weight) {
    std::memcpy(sample(index), packed_.data(), packed_floats_ * sizeof(float));
    for (int i = 0; i < capacity_; i++) gram(index, i) = gram(i, index) = products_[i];
    gram(index, index) = norm;
    weights_[index] = weight;
  }

  void append(const float* x, double norm) {
    const double weight = count_ ? rate_ : 1.0, factor = count_ ? 1 - rate_ : 1.0;
    fade(factor);
    const Outer added = {x, static_cast<float>(weight)};
    moments_.update(static_cast<float>(factor), &added, 1);
    keep(count_++, norm, weight);
  }

  void replace(int index, const float* x, double norm) {
    double rest = 0;
    for (int i = 0; i < capacity_; i++) rest += i == index ? 0 : weights_[i];
    const double factor = (1 - rate_) / rest;
    // The old one leaves with the weight that it has after fading; the mean loses it, too.
    const Outer gone = {unpack(sample(index)), static_cast<float>(-weights_[index])};
    moments_.update(1.0f, &gone, 1);
    weights_[index] = 0;
    fade(factor);
    const Outer added = {x, static_cast<float>(rate_)};
    moments_.update(static_cast<float>(factor), &added, 1);
    keep(index, norm, rate_);
  }

  void merge(const float* x, double norm) {
    int nearest = 0, first = 0, second = 1;
    double to_new = std::numeric_limits<double>::infinity(), among = to_new;
    for (int i = 0; i < capacity_; i++) {
      const double distance = std::max(norm + gram(i, i) - 2 * products_[i], 0.0);
      if (distance < to_new) to_new = distance, nearest = i;
      for (int j = i + 1; j < capacity_; j++) {
        const double pair = gram(i, i) + gram(j, j) - 2 * gram(i, j);
        if (pair < among) among = pair, first = i, second = j;
      }
    }
    fade(1 - rate_);
    const float factor = static_cast<float>(1 - rate_);
    if (to_new < std::max(among, 0.0) || capacity_ == 1) {
      const Outer both[2] = {merged(nearest, packed_.data(), rate_), {x, static_cast<float>(rate_)}};
      moments_.update(factor, both, 2);
      mix(nearest, rate_, products_.data(), norm);
      return;
    }
    if (weights_[first] < weights_[second]) std::swap(first, second);
    const double weight = weights_[second], share = weight / (weight + weights_[first]);
    const Outer both[2] = {merged(first, sample(second), weight), {x, static_cast<float>(rate_)}};
    moments_.update(factor, both, 2);
    mix(first, weight, &gram(second, 0), gram(second, second));
    products_[first] += share * (products_[second] - products_[first]);
    keep(second, norm, rate_);
  }

  // Sample `index` is to become the weighted mean of itself and `other`, both in C or about to be: the sum of
  // outer products loses w v / (w + v) d d^H, d being the difference.
  Outer merged(int index, const float* other, double weight) {
    const double own = weights_[index], share = weight / (own + weight);
    const float* x = sample(index);
    for (std::size_t l = 0; l < packed_floats_; l += kLanes) {
      store(&difference_[l], load(other + l) - load(x + l));
    }
    return {unpack(difference_.data()), static_cast<float>(-own * share)};
  }

  void mix(int index, double weight, const double* products, double norm) {
    const double own = weights_[index], share = weight / (own + weight);
    const double own_norm = gram(index, index), cross = products[index];
    float* x = sample(index);
    const float step = static_cast<float>(share);
    for (std::size_t l = 0; l < packed_floats_; l += kLanes) {
      store(x + l, load(x + l) + step * load(&difference_[l]));
    }
    for (int i = 0; i < capacity_; i++) {
      const double value = gram(index, i) + share * (products[i] - gram(index, i));
      gram(index, i) = gram(i, index) = value;
    }
    gram(index, index) =
        (1 - share) * (1 - share) * own_norm + share * share * norm + 2 * share * (1 - share) * cross;
    weights_[index] = own + weight;
  }

  SecondMoments moments_;
  std::vector<SeriesShape> shapes_;
  std::size_t packed_floats_;
  int capacity_, count_ = 0;
  double rate_, least_weight_;
  std::vector<double> weights_, products_, gram_;
  Floats samples_, packed_, difference_, unpacked_;
};

}  // namespace cfvgg
