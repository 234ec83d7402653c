"""GL-CLIP and region tokens as scorers, on the embedded models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from fovea.backbones.clip import ClipEncoder, load_clip
from fovea.backbones.inner import InnerEncoder
from fovea.backbones.sources import PRESETS
from fovea.cache import FeatureCache
from fovea.errors import RegionError
from fovea.language.parsers import resolve_parser
from fovea.language.parses import Parse
from fovea.pictures import open_picture
from fovea.regions import Regions
from fovea.scenes.scene import compose
from fovea.scorers.gl_clip import GlobalLocal
from fovea.scorers.masked_features import (
    MaskedClip,
    RegionView,
    SentenceAndPhrase,
    Sentences,
    TextView,
    grid_inside,
    noun_phrase,
)
from fovea.scorers.region_token import RegionToken

SCENE = compose(1_700_001)
PICTURE = open_picture(SCENE.pixels)
REGIONS = Regions.from_masks(SCENE.masks, boxes=SCENE.boxes)
TEXTS = ["the red car", "the dog next to the house"]
PARSER = resolve_parser()
VIEWS: list[tuple[RegionView, TextView]] = [
    (GlobalLocal(), SentenceAndPhrase(PARSER)),
    (RegionToken(), Sentences("a photo of {}")),
]


@pytest.fixture(scope="module", params=["mini", "mini-vit"])
def encoder(request: pytest.FixtureRequest) -> ClipEncoder:
    return load_clip(PRESETS[request.param].clips[0])


def scores(
    encoders: Sequence[ClipEncoder], view: RegionView, texts: TextView, regions: Regions, asked: list[str]
) -> np.ndarray:
    return MaskedClip(encoders, view, texts).score(PICTURE, regions, asked, FeatureCache()).values


@pytest.mark.parametrize(("view", "texts"), VIEWS)
def test_rows_follow_regions_and_columns_texts(encoder: ClipEncoder, view: RegionView, texts: TextView) -> None:
    together = scores([encoder], view, texts, REGIONS, TEXTS)
    order = np.arange(len(REGIONS))[::-1]
    turned = scores([encoder], view, texts, REGIONS.select(order), TEXTS[::-1])
    np.testing.assert_allclose(turned[::-1, ::-1], together, atol=1e-3)
    alone = scores([encoder], view, texts, REGIONS.select([1]), TEXTS[1:])
    np.testing.assert_allclose(alone[0, 0], together[1, 1], atol=1e-3)
    assert np.ptp(together, axis=0).min() > 0.1, "regions differ"
    np.testing.assert_allclose(scores([encoder] * 2, view, texts, REGIONS, TEXTS), 2 * together, atol=1e-3)


@pytest.mark.parametrize(("view", "texts"), VIEWS)
def test_nothing_is_computed_twice(encoder: ClipEncoder, view: RegionView, texts: TextView) -> None:
    scorer, cache = MaskedClip([encoder], view, texts), FeatureCache()
    first = scorer.score(PICTURE, REGIONS, TEXTS, cache).values
    misses = cache.stats.misses
    np.testing.assert_array_equal(scorer.score(PICTURE, REGIONS, TEXTS, cache).values, first)
    assert cache.stats.misses == misses
    assert scorer.score(PICTURE, REGIONS.select([]), TEXTS, cache).values.shape == (0, 2)
    assert scorer.score(PICTURE, REGIONS, [], cache).values.shape == (len(REGIONS), 0)


@pytest.mark.parametrize(("view", "texts"), VIEWS)
def test_evidence_shows_every_region(encoder: ClipEncoder, view: RegionView, texts: TextView) -> None:
    scorer = MaskedClip([encoder], view, texts)
    (evidence,) = scorer.evidence(PICTURE, REGIONS)
    side = encoder.image_size
    assert evidence.pictures.shape == (len(REGIONS), side, side, 3)
    assert scorer.needs_masks
    assert "'zyzzyva'" in scorer.notes("the red zyzzyva")[0]
    assert scorer.notes("the red car") == ()


def test_boxes_alone_are_refused(encoder: ClipEncoder) -> None:
    boxes = Regions.from_boxes(SCENE.boxes, PICTURE.size)
    with pytest.raises(RegionError, match="no masks"):
        scores([encoder], RegionToken(), Sentences(), boxes, TEXTS)


def test_the_two_views_of_gl_clip_are_mixed_as_projected(encoder: ClipEncoder) -> None:
    inner, cache = InnerEncoder(encoder), FeatureCache()
    whole, crop, mixed = (GlobalLocal(share).embed(inner, PICTURE, REGIONS, cache) for share in (1.0, 0.0, 0.95))
    assert np.abs(whole - crop).max() > 0.01
    # All three lie in one plane, the mixture between the others.
    for first, second, between in zip(whole, crop, mixed, strict=True):
        weights, rest, _, _ = np.linalg.lstsq(np.stack([first, second], 1), between, rcond=None)
        assert (weights > 0).all()
        np.testing.assert_allclose(rest, 0, atol=1e-6)


def test_the_masked_crop_hides_what_is_outside(encoder: ClipEncoder) -> None:
    """The local view of a picture that changes outside of the mask only is the same."""
    mask = np.zeros((64, 64), bool)
    mask[8:56, 8:40] = True
    mask[40:, 24:] = False
    one = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    other = np.where(mask[..., None], one, 255 - one)
    regions, inner = Regions.from_masks(mask[None]), InnerEncoder(encoder)
    shown = [GlobalLocal().show(inner, open_picture(pixels), regions)[0].pictures for pixels in (one, other)]
    corner = shown[0][0, -1, -1]
    np.testing.assert_allclose(corner, 255 * encoder.mean, atol=1)
    # Bicubic filtering reaches over the outline by a pixel or two.
    assert (np.abs(shown[0].astype(int) - shown[1]).max(-1) > 0).mean() < 0.2


def test_text_is_half_sentence_half_noun_phrase(encoder: ClipEncoder) -> None:
    rows = SentenceAndPhrase(PARSER).embed(encoder, TEXTS, FeatureCache())
    sentence, phrase = encoder.encode_texts([TEXTS[1], "the dog"])
    mixed = sentence + phrase
    np.testing.assert_allclose(rows[1], mixed / np.linalg.norm(mixed), atol=1e-5)
    np.testing.assert_allclose(rows[0], encoder.encode_texts(TEXTS[:1])[0], atol=1e-5)


def test_noun_phrases() -> None:
    def phrase(*rows: tuple[str, int, str, str]) -> str:
        words, heads, deps, pos = zip(*rows, strict=True)
        return noun_phrase(Parse(words, heads, deps, pos))

    man = (("the", 1, "det", "DET"), ("man", 2, "nsubj", "NOUN"))
    # The root is a verb: its first child stands in a chunk.
    assert phrase(*man, ("runs", 2, "ROOT", "VERB")) == "the man"
    assert phrase(("far", 1, "advmod", "ADV"), ("left", 1, "ROOT", "ADV")) == ""
    assert noun_phrase(Parse((), (), (), ())) == ""
    assert noun_phrase(PARSER("a bowl of soup on the table")) == "a bowl"


def test_small_masks_keep_a_place() -> None:
    masks = np.zeros((4, 40, 40), bool)
    masks[0, :20, :20] = True
    masks[1, 3:5, 33:36] = True
    masks[2, 19:21, 19:21] = True
    inside = grid_inside(Regions.from_masks(masks, boxes=[[0, 0, 40, 40]] * 4), 4)
    assert inside[0].sum() == 4
    assert inside[0, :2, :2].all()
    assert np.argwhere(inside[1]).tolist() == [[0, 3]]
    # Equally little of four places.
    assert np.argwhere(inside[2]).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert not inside[3].any()
