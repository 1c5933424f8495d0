#include <nanobind/stl/tuple.h>

#include <memory>
#include <tuple>

#include "bind.hpp"
#include "strcf.hpp"

namespace cfvgg {

namespace {

using AnyMaps = nb::ndarray<const float, nb::ndim<4>, nb::device::cpu>;  // any strides
using MapsList = nb::typed<nb::list, AnyMaps>;

// One target's filter as Python sees it. Groups are added first, the finest grid first.
class PyStrcf {
 public:
  PyStrcf(int scales, int newton_iterations, int exclude_cells, int iterations, float penalty, float growth,
          float most)
      : scales_(scales), newton_iterations_(newton_iterations), exclude_cells_(exclude_cells),
        steps_{iterations, penalty, growth, most} {
    require(scales >= 1 && iterations >= 1 && penalty > 0 && growth > 0 && most > 0,
            "scales, iterations, steps are positive");
  }

  void add_group(nb::typed<nb::list, int> channels, nb::typed<nb::list, bool> unit_range, FloatIn<2> window,
                 FloatIn<2> weight, FloatIn<3> label, float temporal) {
    require(!strcf_, "groups come before samples");
    const int n = static_cast<int>(window.shape(0));
    require(n >= 2 && window.shape(1) == window.shape(0) && weight.shape(0) == window.shape(0) &&
                weight.shape(1) == window.shape(0) && label.shape(0) == window.shape(0) &&
                static_cast<int>(label.shape(1)) == n / 2 + 1 && label.shape(2) == 2,
            "window and weight are (n, n), a label is (n, n / 2 + 1, 2)");
    require(groups_.empty() || n <= groups_[0].size(), "the finest grid comes first");
    require(channels.size() > 0 && channels.size() == unit_range.size(), "a group has blocks");
    std::vector<BlockChannels> blocks;
    int first = 0;
    for (std::size_t b = 0; b < channels.size(); b++) {
      const int count = nb::cast<int>(channels[b]);
      require(count >= 1 && count <= 4096, "a block has channels");
      blocks.push_back({first, count, nb::cast<bool>(unit_range[b])});
      first += count;
    }
    const int cells = groups_.empty() ? n * n : groups_[0].size() * groups_[0].size();
    groups_.emplace_back(SampleRows(n, std::move(blocks), window.data()), label.data(), weight.data(), cells,
                         temporal, steps_);
  }

  std::tuple<double, double, double, double, int> detect(MapsList maps) {
    take(maps, scales_);
    require(learned_, "learn a target before it is looked for");
    Found found;
    {
      nb::gil_scoped_release release;
      found = strcf_->detect(maps_.data(), newton_iterations_, exclude_cells_);
    }
    return std::make_tuple(found.down, found.across, found.height, found.psr, found.scale);
  }

  void learn(MapsList maps) {
    take(maps, 1);
    nb::gil_scoped_release release;
    strcf_->learn(maps_.data());
    learned_ = true;
  }

  void copy_filter(int group, FloatOut<4> filter) {
    require(strcf_ && group >= 0 && group < static_cast<int>(strcf_->groups().size()), "no such group");
    const StrcfGroup& from = strcf_->groups()[group];
    const BlockChannels& last = from.rows().block(from.rows().blocks() - 1);
    const int channels = last.first + last.count;
    require(static_cast<int>(filter.shape(0)) == from.size() &&
                static_cast<int>(filter.shape(1)) == from.size() / 2 + 1 &&
                static_cast<int>(filter.shape(2)) == channels && filter.shape(3) == 2,
            "a filter is (n, n / 2 + 1, channels, 2)");
    from.copy_filter(channels, filter.data());
  }

  // The last response of a scale, (n, n) with cell (0, 0) first.
  void copy_response(int scale, FloatOut<2> map) {
    require(strcf_ && scale >= 0 && scale < scales_, "no such scale");
    const int n = strcf_->response().size();
    require(static_cast<int>(map.shape(0)) == n && map.shape(1) == map.shape(0), "a response is (n, n)");
    const float* from = strcf_->response().map(scale);
    for (int i = 0; i < n * n; i++) map.data()[i] = from[i % n * n + i / n];
  }

 private:
  void start() {
    require(!groups_.empty(), "no group was added");
    std::size_t blocks = 0;
    for (const StrcfGroup& group : groups_) blocks += group.rows().blocks();
    maps_.resize(blocks);
    strcf_ = std::make_unique<Strcf>(std::move(groups_), scales_);
  }

  // Checks the arrays and notes where they are; the list keeps them alive.
  void take(const MapsList& maps, int samples) {
    if (!strcf_) start();
    require(maps.size() == maps_.size(), "one array per block");
    std::size_t at = 0;
    for (const StrcfGroup& group : strcf_->groups()) {
      for (std::size_t b = 0; b < group.rows().blocks(); b++, at++) {
        AnyMaps array;
        if (!nb::try_cast<AnyMaps>(maps[at], array, false)) {
          throw nb::type_error("maps are float32 arrays of four axes");
        }
        const int n = group.size(), channels = group.rows().block(b).count;
        require(static_cast<int>(array.shape(0)) == samples && static_cast<int>(array.shape(1)) == n &&
                    static_cast<int>(array.shape(2)) == n && static_cast<int>(array.shape(3)) == channels,
                "maps are (samples, n, n, channels) of their group and block");
        require((channels == 1 || array.stride(3) == 1) && array.stride(2) >= channels,
                "the channels of a cell lie next to each other");
        maps_[at] = {array.data(), array.stride(0), array.stride(1), array.stride(2)};
      }
    }
  }

  int scales_, newton_iterations_, exclude_cells_;
  AdmmSteps steps_;
  std::vector<StrcfGroup> groups_;
  std::unique_ptr<Strcf> strcf_;
  std::vector<Maps> maps_;
  bool learned_ = false;
};

}  // namespace

void bind_strcf(nb::module_& m) {
  nb::class_<PyStrcf>(m, "Strcf")
      .def(nb::init<int, int, int, int, float, float, float>(), nb::arg("scales"),
           nb::arg("newton_iterations"), nb::arg("exclude_cells"), nb::arg("iterations"), nb::arg("penalty"),
           nb::arg("penalty_growth"), nb::arg("penalty_most"))
      .def("add_group", &PyStrcf::add_group, nb::arg("channels"), nb::arg("unit_range"), nb::arg("window"),
           nb::arg("weight"), nb::arg("label"), nb::arg("temporal"))
      .def("detect", &PyStrcf::detect, nb::arg("maps"))
      .def("learn", &PyStrcf::learn, nb::arg("maps"))
      .def("copy_filter", &PyStrcf::copy_filter, nb::arg("group"), nb::arg("filter").noconvert())
      .def("copy_response", &PyStrcf::copy_response, nb::arg("scale"), nb::arg("map").noconvert());
}

}  // namespace cfvgg
