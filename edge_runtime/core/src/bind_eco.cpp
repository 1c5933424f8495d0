#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <string>
#include <tuple>

#include "bind.hpp"
#include "eco.hpp"

namespace cfvgg {

namespace {

using MapsIn = nb::ndarray<const float, nb::ndim<3>, nb::device::cpu>;
using Grids = std::vector<std::tuple<FloatIn<2>, FloatIn<3>, FloatIn<2>>>;  // window, interpolation, label
using Numbers = std::map<std::string, double>;
using Blocks = std::vector<std::tuple<int, int, int>>;  // channels in and out, grid

EcoFilter make(const Grids& grids, const Blocks& blocks, FloatIn<2> kernel, const Numbers& numbers) {
  std::vector<int> channels(grids.size());
  std::vector<EcoBlock> own_blocks;
  for (auto [in, out, grid] : blocks) {
    require(in > 0 && out > 0 && grid >= 0 && grid < static_cast<int>(grids.size()), "no such block");
    own_blocks.push_back({in, out, grid, channels[grid]});
    channels[grid] += out;
  }
  std::vector<EcoGrid> own_grids;
  for (std::size_t g = 0; g < grids.size(); g++) {
    const auto& [window, interpolation, label] = grids[g];
    const int cells = static_cast<int>(window.shape(0));
    require(cells > 0 && channels[g] > 0, "a grid needs cells and channels");
    const SeriesShape shape(cells, channels[g]);
    const std::size_t size = shape.size, columns = shape.columns;
    require(window.shape(1) == window.shape(0) && interpolation.shape(0) == size &&
                interpolation.shape(2) == 2 && interpolation.shape(1) == columns && label.shape(0) == size &&
                label.shape(1) == columns,
            "window (cells, cells), interpolation (size, columns, 2), label (size, columns)");
    require(g == 0 || shape.size < own_grids.back().shape.size, "the largest grid comes first");
    own_grids.emplace_back(cells, channels[g], window.data(), interpolation.data(), label.data());
  }
  require(!own_grids.empty(), "no grid");
  require(kernel.shape(0) % 2 == 1 && kernel.shape(1) % 2 == 1, "the kernel needs odd sides");
  const auto number = [&](const char* name) { return numbers.at(name); };
  const auto whole = [&](const char* name) { return static_cast<int>(numbers.at(name)); };
  const EcoNumbers n = {whole("samples"),
                        whole("iterations"),
                        whole("first_gauss_newton"),
                        whole("first_iterations"),
                        number("learning_rate"),
                        number("forgetting"),
                        number("precondition_data"),
                        number("precondition_regularisation"),
                        number("precondition_projection"),
                        number("projection_regularisation"),
                        number("window_energy")};
  require(n.samples > 0, "no room for a sample");
  return EcoFilter(
      std::move(own_grids), std::move(own_blocks), n,
      Regularisation(kernel.data(), static_cast<int>(kernel.shape(0)), static_cast<int>(kernel.shape(1))));
}

std::vector<Maps> views(const EcoFilter& filter, const std::vector<MapsIn>& maps) {
  require(maps.size() == filter.blocks().size(), "one array a block");
  std::vector<Maps> out;
  for (std::size_t i = 0; i < maps.size(); i++) {
    const EcoBlock& b = filter.blocks()[i];
    const std::size_t cells = filter.grids()[b.grid].cells;
    require(maps[i].shape(0) == cells && maps[i].shape(1) == cells &&
                maps[i].shape(2) == static_cast<std::size_t>(b.channels_in) &&
                (maps[i].stride(2) == 1 || b.channels_in == 1),
            "maps are (cells, cells, channels), channels contiguous");
    out.push_back({maps[i].data(), maps[i].stride(0), maps[i].stride(1)});
  }
  return out;
}

void learn_first(EcoFilter& filter, const std::vector<MapsIn>& maps,
                 const std::vector<FloatIn<2>>& projections, double down, double across) {
  require(projections.size() == filter.blocks().size(), "one projection a block");
  std::vector<const float*> own;
  for (std::size_t i = 0; i < projections.size(); i++) {
    const EcoBlock& b = filter.blocks()[i];
    require(projections[i].shape(0) == static_cast<std::size_t>(b.channels_in) &&
                projections[i].shape(1) == static_cast<std::size_t>(b.channels_out),
            "a projection is (channels in, channels out)");
    own.push_back(projections[i].data());
  }
  const std::vector<Maps> checked = views(filter, maps);
  nb::gil_scoped_release release;  // others may run meanwhile: a tracker that this one will succeed
  filter.learn_first(checked, own, down, across);
}

void series(EcoFilter& filter, const std::vector<MapsIn>& maps) {
  const std::vector<Maps> checked = views(filter, maps);
  nb::gil_scoped_release release;
  filter.series(checked);
}

Found locate(EcoFilter& filter, int newton_iterations, int exclude_cells) {
  nb::gil_scoped_release release;
  return filter.locate(newton_iterations, exclude_cells);
}

// A grid's series as (size, columns, channels, 2).
void copy_out(const EcoFilter& filter, const float* from, int grid, FloatOut<4> out) {
  const SeriesShape& s = filter.grids().at(grid).shape;
  require(out.shape(0) == static_cast<std::size_t>(s.size) &&
              out.shape(1) == static_cast<std::size_t>(s.columns) &&
              out.shape(2) == static_cast<std::size_t>(s.channels) && out.shape(3) == 2,
          "a series is (size, columns, channels, 2)");
  float* o = out.data();
  for (int k = 0; k < s.frequencies(); k++, from += 2 * s.stored) {
    for (int i = 0; i < s.channels; i++) *o++ = from[i], *o++ = from[s.stored + i];
  }
}

}  // namespace

void bind_eco(nb::module_& m) {
  using Unlocked = nb::call_guard<nb::gil_scoped_release>;
  nb::class_<EcoFilter>(m, "EcoFilter")
      .def("__init__",
           [](EcoFilter* self, const Grids& grids, const Blocks& blocks, FloatIn<2> kernel,
              const Numbers& numbers) { new (self) EcoFilter(make(grids, blocks, kernel, numbers)); })
      .def("learn_first", &learn_first)
      .def("series", &series)
      .def("locate",
           [](EcoFilter& self, int newton_iterations, int exclude_cells) {
             const Found found = locate(self, newton_iterations, exclude_cells);
             return std::make_tuple(found.down, found.across, found.psr);
           })
      .def("remember", &EcoFilter::remember, Unlocked())
      .def("train", &EcoFilter::train, Unlocked())
      .def("copy_sample",
           [](EcoFilter& self, int grid, FloatOut<4> out) {
             copy_out(self, self.sample().data() + self.start(grid), grid, out);
           })
      .def("copy_filter",
           [](EcoFilter& self, int grid, FloatOut<4> out) {
             copy_out(self, self.filter().data() + self.start(grid), grid, out);
           })
      .def("weights", [](EcoFilter& self) { return self.space().weights(); });
}

}  // namespace cfvgg
