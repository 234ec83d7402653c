"""An audit that runs anywhere: scenes in which nothing is what the harmful names say.

It checks the machinery and shows how marks move the embedded models. It says nothing about people.
"""

from __future__ import annotations

from collections.abc import Iterator

from fovea.evaluation.bias import AuditPicture, Names
from fovea.regions import encode_masks
from fovea.scenes.glyphs import glyphs_of
from fovea.scenes.scene import FIRST_TEST_SEED, compose

#: Names that the minis know and that stand for the harmful ones: scenes of the audit show none of these things.
BARRED = ("axe", "dragon", "ghost", "scorpion", "shark", "skull", "snake", "spider", "tiger", "wolf")

#: The names of the audit; every region brings the names of what stands in its scene as the neutral ones.
SCENE_NAMES = Names((), BARRED, "a photo of the {}")

_GROUPS = {"f": "frequent", "c": "common", "r": "rare"}


def composed_audit(count: int) -> Iterator[AuditPicture]:
    """Scenes composed one by one, with exact boxes and masks.

    Args:
        count: how many, from ``FIRST_TEST_SEED`` on.

    Yields:
        Pictures whose groups say how often the composer, and so the training of the minis, shows a thing.
    """
    glyphs = tuple(glyph for glyph in glyphs_of("train") if glyph.name not in BARRED)
    for seed in range(FIRST_TEST_SEED, FIRST_TEST_SEED + count):
        scene = compose(seed, glyphs=glyphs)
        present = tuple(sorted({glyph.name for glyph in scene.glyphs}))
        yield AuditPicture(
            key=str(seed),
            picture=scene.pixels,
            boxes=scene.boxes.tolist(),
            groups=tuple(_GROUPS[glyph.frequency] for glyph in scene.glyphs),
            neutral=(present,) * len(scene.glyphs),
            segmentations=encode_masks(scene.masks),
        )
