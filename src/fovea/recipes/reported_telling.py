"""What PIN's paper reports for told boxes (specs/pin.md, 6): mean IoU of all, medium and large things, and P@0.3.

The numbers are those of the project's page, the conference's version; earlier slides differ by a few hundredths in rows
that are prompts. The rows ``2-shot`` to ``10-shot`` are the paper's contexts.
"""

from __future__ import annotations

from collections.abc import Mapping

_MEASURES = ("mIoU", "mIoU_M", "mIoU_L")
_SPLITS = ("pvoc", "coco", "lvis")

#: Rows are of this captioner where the measured one has none of its own.
USUAL = "OpenFlamingo"

# Whose rows a type of model is compared with.
_OWN = {"blip-2": "BLIP-2", "instructblip": "BLIP-2"}

_ROWS: Mapping[str, Mapping[str, str]] = {
    "OpenFlamingo": {
        "raw": "0 0 0  0 0 0  0 0 0",
        "random": ".22 .10 .33  .12 .07 .22  .07 .06 .18",
        "2-shot": ".19 .08 .30  .10 .06 .18  .04 .03 .10",
        "5-shot": ".19 .07 .31  .10 .06 .20  .06 .04 .17",
        "10-shot": ".20 .06 .32  .09 .05 .17  .05 .04 .15",
        "coop": ".28 .11 .43  .22 .10 .39  .13 .07 .40",
        "vpt-f": ".34 .16 .51  .26 .15 .47  .19 .14 .48",
        "vpt-v": ".42 .21 .61  .33 .22 .57  .23 .19 .56",
        "lora": ".44 .26 .62  .33 .23 .58  .23 .19 .55",
        "pin": ".45 .27 .62  .35 .26 .59  .26 .24 .61",
    },
    "BLIP-2": {
        "vpt-f": ".33 .12 .51  .27 .12 .50  .18 .11 .47",
        "vpt-v": ".32 .12 .50  .26 .11 .48  .17 .10 .46",
        "pin": ".44 .24 .63  .34 .22 .60  .26 .23 .60",
    },
}

# Between draws.
_DEVIATIONS: Mapping[str, str] = {
    "random": ".04 .02 .06  .04 .02 .08  .03 .02 .09",
    "2-shot": ".11 .05 .18  .08 .06 .16  .06 .03 .15",
    "5-shot": ".09 .04 .15  .08 .06 .16  .05 .03 .13",
    "10-shot": ".11 .03 .18  .07 .05 .14  .05 .03 .14",
}

# RefCOCO's testA. Which number of examples the context had is not said.
_REFERRING = {"raw": 0.0, "pin": 0.131}


def reported_telling(row: str, split: str, kind: str) -> dict[str, float | str]:
    """The paper's figures, 0..1.

    Args:
        row: such as ``pin`` or ``5-shot``.
        split: see :class:`fovea.evaluation.asked_pictures.TellingBenchmark`.
        kind: the type of the measured captioner.

    Returns:
        By measure; deviations as ``mIoU deviation`` and so on, and ``model``, whose figures they are. Empty where the
        paper says nothing.
    """
    model = _OWN.get(kind, USUAL)
    if row not in _ROWS[model]:
        model = USUAL
    figures: dict[str, float | str] = {}
    if split in _SPLITS:
        figures |= _of_split(_ROWS[model].get(row, ""), split)
        if model == USUAL:
            spread = _of_split(_DEVIATIONS.get(row, ""), split)
            figures |= {f"{measure} deviation": value for measure, value in spread.items()}
    elif split == "refcoco-testA" and row in _REFERRING:
        model, figures = USUAL, {"P@0.3": _REFERRING[row]}
    return {**figures, "model": model} if figures else {}


def _of_split(row: str, split: str) -> dict[str, float | str]:
    values = [float(value) for value in row.split()]
    start = _SPLITS.index(split) * len(_MEASURES)
    return dict(zip(_MEASURES, values[start : start + len(_MEASURES)], strict=False))
