"""The door: recipes by name, and real checkpoints in small, from directories."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel

import fovea
from fovea.backbones.host import load_host
from fovea.backbones.peers import new_peer
from fovea.backbones.region_spot_files import RegionSpotSettings, save_region_spot
from fovea.backbones.sources import resolve_models
from fovea.errors import CheckpointError, ExpressionError, RegionError
from fovea.networks.region_spot import RegionSpotConfig, RegionSpotHead
from fovea.proposers.grid_settings import MINI_GRID, GridSettings
from fovea.recipes import RECIPES, combine, resolve_grid, resolve_recipe
from fovea.recipes.reported import SINGLE_STYLES, setting
from fovea.rules.subtraction import Bank
from fovea.training.vocabulary import CONTEXT_LENGTH, build_tokenizer

PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
BOXES = [[2, 3, 30, 40], [30, 5, 60, 44], [10, 10, 50, 30]]


@pytest.fixture(scope="module")
def directory(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_sam_directory: Path,
    tiny_captioner_directory: Path,
    albef_directory: Path,
    alpha_directory: Path,
) -> Path:
    """Random weights in the layout of real checkpoints, in folders for every kind."""
    path = tmp_path_factory.mktemp("models")
    tokenizer = build_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = sizes | {"vocab_size": len(tokenizer), "max_position_embeddings": CONTEXT_LENGTH, "pad_token_id": 0}
    text |= {"eos_token_id": len(tokenizer) - 1, "bos_token_id": len(tokenizer) - 2}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config=sizes | {"image_size": 32, "patch_size": 8}, projection_dim=16)
    CLIPModel(config).save_pretrained(path / "clip")
    tokenizer.save_pretrained(path / "clip")
    shutil.copytree(tiny_sam_directory, path / "sam")
    shutil.copytree(tiny_captioner_directory, path / "captioner")
    shutil.copytree(albef_directory, path / "matcher")
    shutil.copytree(alpha_directory, path / "alpha")
    head = RegionSpotHead(RegionSpotConfig(32, 16, 16, 1, 8, 32))
    settings = RegionSpotSettings(head.config, templates=("a photo of {}",), names=("car", "dog"))
    save_region_spot(head, settings, path / "region-spot")
    # Beside the captioner.
    new_peer("insert", load_host(str(tiny_captioner_directory))).save(path / "peer")
    return path


def test_recipes_by_name() -> None:
    assert [style.code for style in resolve_recipe("fgvp").styles] == ["P", "D4"]
    assert [style.code for style in resolve_recipe("redcircle").styles] == ["P", "C1"]
    assert [style.code for style in resolve_recipe("crop+blur-outside-mask+c1").styles] == ["P", "D4", "C1"]
    with pytest.raises(ExpressionError, match="known are crop, cpt, reclip, redcircle, fgvp"):
        resolve_recipe("nonsense")


@pytest.mark.parametrize("recipe", [*RECIPES, "C4+B1"])
def test_any_checkpoint_answers(recipe: str, directory: Path, request: pytest.FixtureRequest) -> None:
    chosen, models = resolve_recipe(recipe), str(directory)
    if chosen.scorer == "ref-diff":
        models += f",{request.getfixturevalue('tiny_diffusion_directory')}"
    grounder = fovea.load(recipe, models, device="cpu", bank=Bank(("the house", "a cat")))
    answers = grounder.find(PICTURE, ["the car", "the dog"], boxes=BOXES)
    # Class activation may be cold everywhere, and a captioner of random weights writes no boxes.
    found = [answer for answer in answers if answer.status == "found"]
    assert len(found) >= {"car": 1, "pin": 0}.get(recipe, 2)
    assert answers[0].provenance.models == models
    masked = grounder.scorer.needs_masks
    marked = any(style.needs_masks for style in chosen.styles)
    assert masked == (marked if chosen.styles else chosen.scorer not in ("heat-boxes", "told"))
    assert answers[0].provenance.proposals == ("given+sam-masks" if masked else "given")
    assert all((answer.mask is not None) == masked for answer in found)


def test_rules_are_parts_of_recipes(directory: Path) -> None:
    recipe = resolve_recipe("crop+D4+r+S")
    assert (recipe.relations, recipe.subtraction, recipe.parts) == (True, True, "P+D4+R+S")
    with pytest.raises(ExpressionError, match="subtracts"):
        fovea.load("crop+S", str(directory))
    with pytest.raises(ExpressionError, match="no visual prompt"):
        combine("R+S")
    for wrong in ({"relations": "none"}, {"parser": "none"}, {"rendering": "none"}):
        with pytest.raises(ExpressionError, match="'none'"):
            fovea.load("crop+R", str(directory), **wrong)


def test_relations_decide_where_looks_do_not(directory: Path) -> None:
    """Random weights know no looks, but anybody knows which box is leftmost."""
    grounder = fovea.load("crop+R", str(directory), device="cpu")
    answers = grounder.find(PICTURE, ["the leftmost object", "the second object from the left"], boxes=BOXES)
    assert [answer.region for answer in answers] == [0, 2]
    assert answers[0].provenance.relations == "extended, parser built-in"
    assert fovea.load("crop", str(directory)).find(PICTURE, "left", boxes=BOXES)[0].provenance.relations == "none"


def test_parity_and_direct_see_nearly_the_same(directory: Path) -> None:
    pytest.importorskip("cv2")
    shares = []
    for rendering in ("direct", "parity"):
        grounder = fovea.load("P+D3+D4+C1", str(directory), device="cpu", rendering=rendering)
        shares.append(grounder.ground(PICTURE, "the car", boxes=BOXES).matrix.over_regions())
        assert grounder.explain(PICTURE, "the car", boxes=BOXES).evidence[1].pictures.shape == (3, 32, 32, 3)
    np.testing.assert_allclose(shares[0], shares[1], atol=0.15)


def test_every_row_of_the_paper_states_its_numbers() -> None:
    for recipe in RECIPES.values():
        # Single visual prompts and ablations stand in tables of their own.
        if not recipe.scorer.startswith(("heat", "gl-clip", "region-spot", "told")) and recipe.name not in (
            "crop",
            "alpha-clip-whole",
        ):
            assert sum(not split.startswith("phrasecut") for split, _ in recipe.reported) == 8
    # Its two weights share a row.
    assert len(RECIPES["gl-clip"].reported) == 7
    assert list(RECIPES["gl-clip-g"].reported.values()) == [33.0, 33.1]
    assert RECIPES["ref-diff"].reported["refcoco+-testB mIoU", "masks"] == 33.0
    assert RECIPES["ref-diff"].reported["phrasecut-test oIoU", "masks"] == 29.4
    assert RECIPES["iterprime"].reported["refcoco-testA mIoU", "masks"] == 46.5
    assert RECIPES["gvlp"].reported["refcocog-test mIoU", "masks"] == 41.3
    assert RECIPES["alpha-clip"].reported["refcocog-test", "detections"] == 62.0
    assert RECIPES["fgvp-rs"].reported["refcoco-val", "detections"] == 59.6
    assert RECIPES["reclip"].reported["refcocog-test", "detections"] == 59.0


def test_single_visual_prompts_state_their_numbers() -> None:
    """Read off the paper's tables by hand; annotated regions, detections and grids stay apart."""
    reported = resolve_recipe("D4").reported
    usual, dense = GridSettings(16), GridSettings(32, max_overlap=0.95)
    for split, proposals, grid, expected in (
        ("coco-val", "ground-truth", usual, 67.8),
        ("paco-val", "sam-boxes", usual, 43.3),
        ("paco-val", "grid", usual, 18.3),
        ("paco-val", "grid", dense, 23.2),
        ("refcocog-val", "ground-truth", usual, 63.5),
        ("refcocog-val", "detections", usual, 57.8),
        ("refcoco+-val", "grid", usual, 44.9),
        ("paco-val", "detections", usual, None),
        ("refcoco+-val", "grid", dense, None),
    ):
        assert reported.get(setting(split, proposals, grid)) == expected
    assert resolve_recipe("crop").reported["refcoco-val", "detections"] == 45.3
    assert resolve_recipe("C1").reported[setting("paco-val", "grid", dense)] == 19.9
    assert resolve_recipe("A2").reported["coco-val", "ground-truth"] == 64.2
    assert set(SINGLE_STYLES) == {"P", "A1", "A2"} | {letter + effect for letter in "BCD" for effect in "1234"}
    assert not resolve_recipe("D4+R").reported
    assert not resolve_recipe("crop+D4").reported
    # Other measures are told apart.
    assert RECIPES["sam-clip"].reported["refcocog-test mIoU", "masks"] == 38.9
    assert ("refcocog-test", "masks") not in RECIPES["sam-clip"].reported


def test_batches_and_order_are_invisible(directory: Path) -> None:
    grounder = fovea.load("P+D4", str(directory), device="cpu")
    together = grounder.ground(PICTURE, ["the car", "the dog"], boxes=BOXES).matrix.values
    turned = grounder.ground(PICTURE, ["the dog", "the car"], boxes=BOXES[::-1]).matrix.values
    np.testing.assert_allclose(turned[::-1, ::-1], together, atol=1e-3)
    alone = fovea.load("P+D4", str(directory), device="cpu").ground(PICTURE, "the dog", boxes=BOXES[1:2]).matrix.values
    np.testing.assert_allclose(alone[0, 0], together[1, 1], atol=1e-3)


def test_points_and_grid_reach_the_segmenter(directory: Path) -> None:
    loose = GridSettings(points_per_side=3, min_iou=-9, min_stability=0)
    grounder = fovea.load("crop", str(directory), device="cpu", grid=loose)
    for answer in (
        grounder.find(PICTURE, "the car", points=[[10, 10], [50, 20]])[0],
        grounder.find(PICTURE, "the car")[0],
    ):
        assert answer.status == "found"
        assert answer.mask is not None
        assert answer.mask["size"] == [48, 64]
    assert grounder.find(PICTURE, "the car")[0].provenance.proposals == "sam-grid"


def test_the_grid_is_set_by_models_and_wishes(directory: Path) -> None:
    mini = resolve_models("mini")
    assert resolve_grid(mini) == MINI_GRID
    assert resolve_grid(resolve_models(str(directory))) == GridSettings()
    wished = resolve_grid(mini, points_per_side=8, max_overlap=0.95, crop_layers=None)
    assert wished == replace(MINI_GRID, points_per_side=8, max_overlap=0.95)
    for wrong in ({"points_per_side": 0}, {"max_overlap": 1.5}):
        with pytest.raises(RegionError, match="makes no sense"):
            resolve_grid(mini, **wrong)
    sparse = GridSettings(points_per_side=2, min_iou=-9, min_stability=0)
    answer = fovea.load("crop", str(directory), device="cpu", grid=sparse).find(PICTURE, "the car")[0]
    assert answer.provenance.grid == sparse.name
    assert "2 points per side, overlap 0.7" in sparse.name
    assert fovea.load("crop", str(directory)).find(PICTURE, "the car", boxes=BOXES)[0].provenance.grid == ""


def test_a_template_of_ones_own(directory: Path) -> None:
    def values(expression: str, template: str | None = None) -> np.ndarray:
        tool = fovea.load("crop", str(directory), device="cpu", template=template)
        return tool.ground(PICTURE, expression, boxes=BOXES).matrix.values

    np.testing.assert_allclose(values("a photo of car", "{}"), values("car"), atol=1e-4)
    assert np.abs(values("car", "{}") - values("car")).max() > 1e-3
    with pytest.raises(ExpressionError, match="where the expression goes"):
        fovea.load("crop", str(directory), template="a photo")


def test_logits_over_the_temperature_are_mean_cosines(directory: Path) -> None:
    """Two visual prompts of one CLIP, as the released script averages them."""
    tool = fovea.load("P+C1", str(directory), device="cpu")
    single = [fovea.load(style, str(directory), device="cpu") for style in ("P", "C1")]
    cosines = [one.ground(PICTURE, "car", boxes=BOXES).matrix.values / one.scorer.temperature for one in single]
    found = tool.ground(PICTURE, "car", boxes=BOXES).matrix.values / tool.scorer.temperature
    np.testing.assert_allclose(found, np.mean(cosines, axis=0), atol=1e-5)
    assert np.abs(found).max() <= 1


def test_half_precision_agrees(directory: Path) -> None:
    full = fovea.load("crop", str(directory), device="cpu").ground(PICTURE, "the car", boxes=BOXES).matrix.values
    half = fovea.load("crop", str(directory), device="cpu", dtype="bfloat16").ground(PICTURE, "the car", boxes=BOXES)
    np.testing.assert_allclose(half.matrix.values, full, atol=1.0)


def test_a_sam_is_no_clip_and_the_other_way_round(directory: Path) -> None:
    from fovea.backbones.clip import load_clip
    from fovea.backbones.sam import load_sam

    with pytest.raises(CheckpointError, match="not a CLIP"):
        load_clip(str(directory / "sam"))
    with pytest.raises(CheckpointError):
        load_sam(str(directory / "clip"))


def test_the_best_of_several_visual_prompts_may_count(directory: Path) -> None:
    single = [fovea.load(style, str(directory), device="cpu") for style in ("P", "C1")]
    logits = [one.ground(PICTURE, "car", boxes=BOXES).matrix.values for one in single]
    best = fovea.load("P+C1", str(directory), device="cpu", aggregate="max")
    np.testing.assert_allclose(
        best.ground(PICTURE, "car", boxes=BOXES).matrix.values, np.max(logits, axis=0), atol=1e-4
    )
    assert best.scorer.temperature == pytest.approx(single[0].scorer.temperature)
    with pytest.raises(ExpressionError, match="no aggregate called 'mean'; known are sum, max"):
        fovea.load("P+C1", str(directory), device="cpu", aggregate="mean")


def test_sigmoid_shares_are_a_dialect(directory: Path) -> None:
    """Settings that mean nothing to a recipe are refused, not ignored."""
    soft = fovea.load("fgvp", str(directory), device="cpu", relations="reclip-sigmoid")
    answer = soft.find(PICTURE, "the car left of the dog", boxes=BOXES)[0]
    assert answer.provenance.relations.startswith("reclip-sigmoid, parser ")
    with pytest.raises(ExpressionError, match="draws no marks"):
        fovea.load("region-token", str(directory), device="cpu", rendering="parity")


def test_a_captioner_needs_what_was_trained_beside_it(directory: Path, tiny_llava_directory: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing that teaches a captioner to say boxes"):
        fovea.load("pin", str(tiny_llava_directory), device="cpu")
    with pytest.raises(CheckpointError, match="trained beside another model"):
        fovea.load("pin", f"{directory / 'peer'},{tiny_llava_directory}", device="cpu")
    with pytest.raises(ExpressionError, match="only boxes that a captioner says are snapped"):
        fovea.load("crop", str(directory), snap=True)
    with pytest.raises(ExpressionError, match="known are grid, mask2former, told"):
        fovea.load("crop", str(directory), search="guess")
    for recipe, snap in (("pin", True), ("crop", False)):
        # Nothing that is said can be read: nothing is proposed.
        answers = fovea.load(recipe, str(directory), search="told", snap=snap).find(PICTURE, ["the car", "the dog"])
        assert [answer.status for answer in answers] == ["absent", "absent"]
        assert answers[0].provenance.proposals.startswith("told-by-vlm")
