"""What places are learnt from: cut-outs of a folder, or glyphs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.errors import DataError
from fovea.pasting.folders import FolderCutOuts, folder_pasting
from fovea.pasting.glyphs import glyph_pasting
from fovea.pasting.grid import PasteSettings
from fovea.pasting.pictures import Pasting
from fovea.pasting.referral import Referral
from fovea.training.pin_settings import PinSettings

if TYPE_CHECKING:
    # The objective needs more than counting does.
    from fovea.training.pin_objective import Pastings

_logger = logging.getLogger(__name__)


def pastings(settings: PinSettings, data: Path | None, size: int, cells: int) -> Pastings:
    """What is learnt, and what is kept for measuring.

    Args:
        settings: of the training.
        data: folder of cut-outs; None for glyphs.
        size: side of the pictures in pixels.
        cells: per side of the grid.

    Raises:
        DataError: the folder holds no cut-outs, or only such as are kept for measuring.
    """
    grid, referral = PasteSettings(cells=cells), Referral() if settings.referral else None
    backgrounds = Path(settings.backgrounds) if settings.backgrounds else None
    if data is None:
        learnt, held_out = (
            glyph_pasting(size, grid, settings.seed, held, backgrounds=backgrounds, referral=referral)
            for held in (False, True)
        )
        return learnt, held_out

    def of(held: bool) -> Pasting:
        return folder_pasting(
            data,
            size,
            grid,
            settings.seed,
            backgrounds=backgrounds,
            exclude=settings.exclude,
            categories=Path(settings.categories) if settings.categories else None,
            held_out=held,
            referral=referral,
        )

    return of(False), _if_any(lambda: of(True))


def _if_any(paste: Callable[[], Pasting]) -> Pasting | None:
    try:
        return paste()
    except DataError as error:
        _logger.info("nothing is kept for measuring: %s", error)
        return None


def count_cut_outs(data: Path) -> str:
    """How much there is to paste, in words."""
    found = FolderCutOuts.read(data, 1, lambda names: ())
    return f"cut-outs of {len(found.names)} categories"
