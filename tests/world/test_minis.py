"""The embedded models on unseen scenes; floors lie well under what was measured (docs/minis.md)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from tokenizers import Tokenizer

import fovea
from fovea.answers import Assignment
from fovea.backbones.matching import MatchingModel
from fovea.backbones.matching_loading import load_matching
from fovea.backbones.sources import MINIS
from fovea.cache import FeatureCache
from fovea.evaluation.benchmarks import Source
from fovea.evaluation.examples import composed_examples, composed_part_examples
from fovea.evaluation.grounding import evaluate_grounding, summarise
from fovea.evaluation.pointing import evaluate_pointing
from fovea.evaluation.segmentation import evaluate_segmenter
from fovea.evaluation.telling_rows import peer_row, untrained_row
from fovea.evaluation.telling_tables import TellingExperiment, measure_telling
from fovea.grounder import Grounder
from fovea.heat.igrs import Roles, refine
from fovea.language.pieces import PREFIX, word_pieces
from fovea.language.primary import resolve_finder
from fovea.pictures import Picture, open_picture
from fovea.proposers.grid_settings import MINI_GRID
from fovea.recipes import load
from fovea.regions import box_iou
from fovea.scenes.glyphs import glyphs_of, pasted_glyphs
from fovea.scenes.scene import compose

PICTURES = 40


def accuracy(recipe: str, models: str = "mini", proposals: str = "ground-truth") -> dict[str, dict[str, float]]:
    grounder = load(recipe, models, device="cpu")
    rows = evaluate_grounding(grounder, composed_examples(1_500_000, PICTURES), proposals)
    return summarise("scenes", grounder.recipe, grounder.models, rows, proposals)["metrics"]


@pytest.fixture(scope="module")
def grounder() -> Grounder:
    return load("fgvp", device="cpu")


@pytest.mark.parametrize(
    ("recipe", "models", "name", "colour"),
    [
        ("crop", "mini", 0.78, 0.85),
        ("D4", "mini", 0.76, 0.85),
        ("C1", "mini", 0.68, 0.78),
        ("fgvp", "mini", 0.8, 0.88),
        ("fgvp", "mini-ensemble", 0.8, 0.88),
        ("fgvp", "mini-vit", 0.5, 0.7),
        ("alpha-clip-whole", "mini", 0.4, 0.5),
    ],
)
def test_names_and_colours_are_understood(recipe: str, models: str, name: float, colour: float) -> None:
    found = accuracy(recipe, models)
    assert found["name"]["accuracy"] > name
    assert found["colour"]["accuracy"] > colour
    # And far better than a blind choice.
    assert found["name"]["accuracy"] > 2 * found["name"]["chance"]


def test_parts_are_told_from_each_other() -> None:
    """Names of parts are understood; with one text per region, so is a little of what they belong to."""
    grounder, examples = load("D4", device="cpu", template="{}"), list(composed_part_examples(1_500_000, 12))
    floors: dict[Assignment, float] = {"argmax": 0.5, "one-to-one": 0.6}
    for assignment, floor in floors.items():
        rows = evaluate_grounding(grounder, examples, "ground-truth", assignment=assignment)
        found = summarise("parts", "D4", "mini", rows, "ground-truth", assignment)["metrics"]["part"]
        assert found["accuracy"] > floor > 2 * found["chance"]


def test_masks_come_from_boxes_points_and_the_grid(grounder: Grounder) -> None:
    found = evaluate_segmenter(grounder.finder.segmenter, composed_examples(1_500_000, 12), MINI_GRID)
    assert found["box_iou"] > 0.8
    assert found["point_iou"] > 0.7
    assert found["grid_recall"] > 0.7


def test_the_right_thing_is_found_without_any_help(grounder: Grounder) -> None:
    """End to end: a picture and a name, proposals by the grid."""
    right = 0
    scenes = [compose(seed) for seed in range(1_600_000, 1_600_012)]
    for scene in scenes:
        query = next(expression for expression in scene.expressions if expression.kind in ("name", "colour"))
        answer = grounder.find(scene.pixels, query.text)[0]
        if answer.mask is not None:
            mask = fovea.Regions.from_json(
                {
                    "size": [256, 256],
                    "source": "",
                    "boxes": [list(answer.box or ())],
                    "masks": [answer.to_json()["mask"]],
                }
            ).dense_masks()[0]
            truth = scene.masks[query.target]
            right += (mask & truth).sum() / (mask | truth).sum() > 0.5
    assert right >= 6


def test_regions_are_named(grounder: Grounder) -> None:
    scene = compose(1_600_020)
    names = sorted({thing.name for thing in scene.things} | {"car", "dog", "banana", "house"})
    results = grounder.label(scene.pixels, names, boxes=scene.boxes)
    right = [result.labels[0][0] == thing.name for result, thing in zip(results, scene.things, strict=True)]
    assert np.mean(right) >= 0.6


@pytest.mark.parametrize("recipe", ["region-spot", "region-spot-single"])
def test_regions_are_named_among_all_names_in_one_pass(recipe: str) -> None:
    spot, names, right = load(recipe, "mini", device="cpu"), [glyph.name for glyph in glyphs_of("train")], []
    for seed in range(1_600_000, 1_600_010):
        scene = compose(seed)
        results = spot.label(scene.pixels, names, boxes=scene.boxes)
        right += [result.labels[0][0] == thing.name for result, thing in zip(results, scene.things, strict=True)]
    # One in 250 by chance.
    assert np.mean(right) > 0.4


def test_alpha_tells_which_thing_is_meant() -> None:
    alpha, names, found = load("alpha-clip-whole", "mini", device="cpu"), [g.name for g in glyphs_of("train")], []
    for seed in range(1_600_000, 1_600_012):
        scene = compose(seed)
        whole = [[0, 0, *scene.pixels.shape[1::-1]]]
        (told,) = alpha.label(scene.pixels, names, boxes=whole)
        for result, thing in zip(alpha.label(scene.pixels, names, masks=scene.masks), scene.things, strict=True):
            found.append((result.labels[0][0] == thing.name, told.labels[0][0] == thing.name))
    masked, blind = np.mean(found, axis=0)
    assert masked > 0.12
    assert masked > 1.4 * blind


def test_a_blank_picture_is_absent_by_any_way(grounder: Grounder) -> None:
    blank = np.full((100, 120, 3), 200, np.uint8)
    assert grounder.find(blank, "the car")[0].status == "absent"
    assert grounder.label(blank, ["car"]) == []


def test_words_that_the_minis_never_saw_are_named(grounder: Grounder) -> None:
    scene = compose(1_600_030)
    notes = grounder.find(scene.pixels, "the quokka", boxes=scene.boxes)[0].notes
    assert len(notes) == 1
    assert "'quokka'" in notes[0]


@pytest.fixture(scope="module")
def matching() -> MatchingModel:
    return load_matching(str(MINIS / "mini-itm"))


def test_heat_points_at_what_is_named(matching: MatchingModel) -> None:
    tokenizer, find = Tokenizer.from_file(str(MINIS / "mini-itm" / "tokenizer.json")), resolve_finder()

    def heat_maps(picture: Picture, texts: Sequence[str]) -> list[np.ndarray]:
        cache = FeatureCache()
        pieces, words = [word_pieces(text, tokenizer) for text in texts], [find(text) for text in texts]
        roles = [Roles(p.effective(w), p.primary(w)) for p, w in zip(pieces, words, strict=True)]
        states = matching.embed_texts([PREFIX.format(text) for text in texts], cache)
        size = picture.image.size
        return [
            found.heat(size).numpy()
            for found in refine(matching, matching.embed_picture(picture, cache), states, roles, size)
        ]

    found = evaluate_pointing(heat_maps, composed_examples(1_500_000, 20), ["name", "colour"])
    assert found["name"]["accuracy"] > 0.55 > 3 * found["name"]["chance"]
    assert found["colour"]["accuracy"] > 0.6


def test_true_and_false_statements_are_told_apart(matching: MatchingModel) -> None:
    right = []
    for seed in range(1_600_000, 1_600_012):
        scene, cache = compose(seed), FeatureCache()
        here = {thing.name for thing in scene.things}
        absent = [name for name in ("banana", "dog", "key", "rocket", "tomato") if name not in here]
        texts = [PREFIX.format(f"the {name}") for name in (*sorted(here), *absent)]
        picture = matching.embed_picture(open_picture(scene.pixels), cache)
        matches = matching.match(picture, matching.embed_texts(texts, cache))
        right += [(match.score > 0.5) == (i < len(here)) for i, match in enumerate(matches)]
    assert np.mean(right) > 0.75


def test_a_captioner_says_where_things_are_that_were_never_pasted() -> None:
    experiment = TellingExperiment(source=Source(limit=30, seed=1_500_000, names="held-out"), device="cpu", draws=2)
    rows = [peer_row(str(MINIS / "mini-pin")), untrained_row("raw"), untrained_row("random")]
    pin, raw, blind = (row["metrics"]["all"] for row in measure_telling(experiment, rows))
    assert pin["mIoU"] > 0.45
    assert pin["mIoU"] > blind["mIoU"] + 0.2
    assert pin["unread"] < 0.1
    assert raw["mIoU"] == 0


def test_what_is_said_is_found_and_snapped_to_a_mask() -> None:
    """End to end: a captioner says the box, SAM makes a mask of it, and its bounds come near to the truth."""
    pin, overlaps = load("pin", device="cpu", snap=True), []
    for seed in range(1_600_000, 1_600_012):
        scene = compose(seed, glyphs=pasted_glyphs(), few=True)
        answer = pin.find(scene.pixels, f"the {scene.things[0].name}")[0]
        assert answer.status == "found"
        overlaps.append(box_iou(np.array([answer.box], np.float32), scene.boxes[:1])[0, 0])
    assert np.mean(overlaps) > 0.45
