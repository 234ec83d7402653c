"""What RegionSpot's paper reports on LVIS v1 val, tables 1 and 6 (specs/regionspot.md, 15).

Left out as suspicious: both rows of CLIP on crops, whose AP lies below what their APr, APc and APf allow; and the two
rows of different boxes that agree digit for digit.
"""

from __future__ import annotations

from collections.abc import Mapping

from fovea.evaluation.average_precision import Shape

_COLUMNS = ("APr", "APc", "APf", "AP")

_ROWS: Mapping[tuple[str, Shape], Mapping[str, str]] = {
    ("ground-truth", "box"): {
        "RegionCLIP": "50.1 50.1 51.7 50.7",
        "RegionSpot-BB": "42.0 45.9 65.6 53.0",
        "RegionSpot-BL": "50.6 50.2 68.8 56.6",
    },
    ("detections, glip", "box"): {
        "GLIP-T(A)": "6.0 8.0 19.4 12.3",
        "GLIP-T(B)": "4.2 7.6 18.6 11.3",
        "GLIP-T(C)": "7.5 11.6 26.1 16.5",
        "GLIP-T": "10.1 12.5 25.5 17.2",
        "RegionSpot-BB, GLIP-T's boxes": "20.0 18.7 24.2 21.1",
        "RegionSpot-BL, GLIP-T's boxes": "24.9 21.6 25.5 23.7",
    },
    ("detections, glip", "mask"): {"RegionSpot-BL, GLIP-T's boxes": "21.5 25.0 23.2 23.5"},
}


def reported(split: str, boxes: str, shape: Shape) -> dict[str, dict[str, float]]:
    """Figures 0..1 by system; none but for ``lvis-val``.

    Args:
        split: see :class:`fovea.evaluation.named_detections.DetectionBenchmark`.
        boxes: where they came from.
        shape: what is compared.
    """
    rows = _ROWS.get((boxes, shape), {}) if split == "lvis-val" else {}
    return {
        system: dict(zip(_COLUMNS, (round(float(number) / 100, 3) for number in row.split()), strict=True))
        for system, row in rows.items()
    }
