"""What Alpha-CLIP's program makes of places and sizes, against the `reclip` dialect (golden/alphaclip/rec.npz)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fovea.answers import ScoreMatrix, softmax
from fovea.language.parsers import resolve_parser
from fovea.regions import Regions, box_iou
from fovea.rules.reclip import ReclipRules
from fovea.rules.relations import apply_relations, resolve_relations
from fovea.rules.strict import between_table, relation_table

RECORDED = np.load(Path(__file__).parents[1] / "golden" / "alphaclip" / "rec.npz")
XYWH = RECORDED["boxes_xywh"].astype(np.float64)
BOXES = np.concatenate([XYWH[:, :2], XYWH[:, :2] + XYWH[:, 2:]], axis=1)
SIZE = (int(RECORDED["image_wh"][0]), int(RECORDED["image_wh"][1]))

#: An expression that reads as each recorded case does: an entity "the cup", maybe related, maybe the most so.
CASES = {
    "plain": "the cup",
    "rel_left": "the cup to the left of the table",
    "rel_behind": "the cup behind the table",
    "rel_inside": "the cup inside the table",
    "sup_right": "the rightmost cup",
    "sup_biggest": "the biggest cup",
    "rel_left_sup_smallest": "the smallest cup to the left of the table",
}


def recorded(text: str) -> np.ndarray:
    """Shares of a part of an expression."""
    return softmax(RECORDED["logits_the_table" if "table" in text else "logits_the_cup"], 0)


@pytest.mark.parametrize("case", CASES)
def test_shares_are_those_of_the_released_program(case: str) -> None:
    """The share of the whole expression times that of its entity, with its relations, then its superlatives."""
    whole = softmax(RECORDED["logits_full_expression"], 0)
    np.testing.assert_allclose(whole, RECORDED["probs_full_expression"], atol=1e-6)
    # Only what holds a keyword is parsed; the plain case was recorded behind that test.
    rules = ReclipRules(always=case == "plain")
    found = rules.apply(CASES[case], resolve_parser()(CASES[case]), BOXES, SIZE, lambda _: whole, recorded)
    np.testing.assert_allclose(found / whole, RECORDED[f"entity_{case}"], atol=1e-6)
    np.testing.assert_allclose(found, RECORDED[f"final_{case}"], atol=1e-6)
    assert int(found.argmax()) == int(RECORDED[f"pred_{case}"])


def test_the_dialect_and_its_command_line_name_do_the_same() -> None:
    expression = CASES["rel_left"]
    logits = {expression: RECORDED["logits_full_expression"]}
    logits |= {f"the {part}": RECORDED[f"logits_the_{part}"] for part in ("cup", "table")}
    matrix = ScoreMatrix(np.stack([*logits.values()], axis=1), Regions(BOXES, SIZE), tuple(logits))
    found = apply_relations(matrix, [expression], resolve_relations("reclip", "built-in", 1)).values[:, 0]
    np.testing.assert_allclose(np.exp(found), RECORDED["final_rel_left"], atol=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    {
        "left": "left_of",
        "right": "right_of",
        "above": "above",
        "below": "below",
        "bigger": "bigger_than",
        "smaller": "smaller_than",
        "inside": "within",
    }.items(),
)
def test_tables_of_pairs(ours: str, theirs: str) -> None:
    np.testing.assert_allclose(relation_table(BOXES, ours), RECORDED[f"rel_{theirs}"], atol=1e-7)


def test_table_of_between_and_overlaps() -> None:
    np.testing.assert_allclose(between_table(BOXES), RECORDED["rel_between"], atol=1e-7)
    np.testing.assert_allclose(box_iou(BOXES, BOXES), RECORDED["iou"], atol=1e-6)


def test_a_single_box_gets_all() -> None:
    relations = resolve_relations("reclip", "built-in", 1)
    found = relations.share("the cup", BOXES[:1], SIZE, lambda _: np.zeros(1))
    np.testing.assert_array_equal(found, [1.0])
