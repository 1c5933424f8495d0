"""fDSST's one-dimensional scale filter (Danelljan 2017, TPAMI, section 4.2)."""

from __future__ import annotations

from edge_runtime.core import kernels
from edge_runtime.trackers.settings import ScaleFilterConfig
from edge_runtime.types import Frame


class ScaleFilter:
    """For one target: how much its size changed since the last frame.

    Args:
        target_px: (h, w) in the first frame.
        base_px: (h, w) that the tracker's scale of 1 stands for.

    Raises:
        ValueError: a size is not above 0 and up to 2^24 px.
    """

    def __init__(
        self, config: ScaleFilterConfig, target_px: tuple[float, float], base_px: tuple[float, float]
    ) -> None:
        self.config = config
        self._core = kernels.ScaleFilter(
            config.scales,
            config.interpolated_scales,
            config.step,
            config.label_sigma,
            config.learning_rate,
            config.regularisation,
            config.model_area_px,
            target_px,
            base_px,
        )

    def learn(self, image: Frame, centre: tuple[float, float], scale: float) -> None:
        """Blend in the target at `centre` (row, column) and `scale`.

        Args:
            image: (rows, columns, 3 or 1) uint8, any strides.

        Raises:
            ValueError: the centre is not finite, or the target not above 0 and up to 2^24 px.
        """
        self._core.learn(image, *centre, scale)

    def locate(self, image: Frame, centre: tuple[float, float], scale: float) -> float:
        """Factor between the target's size at `centre` (row, column) and that at `scale`.

        The response at the sampled sizes is interpolated by padding its spectrum; a parabola through the
        highest of the interpolated sizes and its neighbours gives the factor.

        Args:
            image: (rows, columns, 3 or 1) uint8, any strides.

        Raises:
            ValueError: nothing was learned, the centre is not finite, or the target not above 0 and up to
                2^24 px.
        """
        return float(self._core.locate(image, *centre, scale))
