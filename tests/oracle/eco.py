"""fECO and ECO-HC: efficient convolution operators (Danelljan 2017, CVPR)."""

from __future__ import annotations

from edge_runtime.trackers import eco
from edge_runtime.trackers.series import frequencies
from edge_runtime.types import Frame
from tests.oracle.blocks import SampleLayout
from tests.oracle.eco_filter import EcoFilter, normalised
from tests.oracle.fourier import peak_to_sidelobe_ratio
from tests.oracle.localisation import SeriesEvaluator, find_peak
from tests.oracle.sampling import decimated_patch
from tests.oracle.scale_filter import ScaleFilter
from tests.oracle.series import column_weights, sample


class EcoTracker(eco.EcoTracker):
    """The compiled tracker's settings, sizes and places; features, filter and localisation in NumPy."""

    layout = SampleLayout

    def _start(self, frame: Frame, target_px: tuple[float, float]) -> None:
        config = self.config
        layout = self._lay_out(
            frame, target_px, scale_step=config.scale.step, cells="odd", cut=decimated_patch
        )
        self._filter = EcoFilter(config, layout.cells, layout.support_px, self.base_px)
        self._exclude_cells = self._sidelobe_margin(layout.support_px, self._filter.output_size)
        self._frequencies = frequencies(self._filter.output_size)
        self._weights = column_weights(len(self._frequencies[1]))
        at = self._pixel()
        maps = [normalised(m)[0] for m in layout.extract(frame, at, [self.scale])]
        self._filter.learn_first(maps, self._shift(at, self.scale))
        self._scale_filter = ScaleFilter(config.scale, target_px, self.base_px)
        self._scale_filter.learn(frame, self.centre, self.scale)
        self._frame, self._since_training = 1, 0

    def _locate(self, frame: Frame) -> float:
        at = self._pixel()
        with self._stage("features"):
            maps = [normalised(m)[0] for m in self._layout.extract(frame, at, [self.scale])]
        with self._stage("series"):
            self._sample = self._filter.series(maps)
        with self._stage("response"):
            scores = self._filter.respond(self._sample)[None]
            response = sample(scores)
            evaluate = SeriesEvaluator(scores * self._weights, *self._frequencies)
            found = find_peak(evaluate, response, self.config.newton_iterations)
            psr = peak_to_sidelobe_ratio(response[0], self._exclude_cells)
        px_per_cell = self._layout.support_px / self._filter.output_size * self.scale
        self._move(at, found.displacement, px_per_cell)
        self._sampled = at, self.scale
        with self._stage("scale"):
            self._rescale(self._scale_filter.locate(frame, self.centre, self.scale))
        return psr

    def _learn(self, frame: Frame) -> None:
        with self._stage("samples"):
            self._filter.remember(self._sample, self._shift(*self._sampled))
        self._frame += 1
        due = self._since_training >= self.config.train_every - 1
        if due or self._frame < self.config.train_always_before:
            with self._stage("training"):
                self._filter.train()
        self._since_training = 0 if due else self._since_training + 1
        with self._stage("scale"):
            self._scale_filter.learn(frame, self.centre, self.scale)
