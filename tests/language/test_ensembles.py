"""Ensembles of templates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from fovea.errors import ExpressionError
from fovea.language.ensembles import imagenet_templates, joined, known_reduce, resolve_templates, sentences

GOLDEN = Path(__file__).parents[1] / "golden" / "regionspot"


def test_templates_are_eighty_and_the_bare_name() -> None:
    templates = imagenet_templates()
    assert len(templates) == len(set(templates)) == 81
    assert templates[-1] == "{}."
    assert all(one.endswith(".") and one.count("{}") == 1 and one == one.strip().lower() for one in templates)


def test_names_go_in_unchanged() -> None:
    assert sentences("Baseball_glove (worn)", ["a photo of a {}.", "{}."]) == [
        "a photo of a Baseball_glove (worn).",
        "Baseball_glove (worn).",
    ]
    assert sentences("{}", ["a {}."]) == ["a {}."]


def test_raw_vectors_are_averaged_as_recorded() -> None:
    recorded = load_file(GOLDEN / "head_io.safetensors")
    np.testing.assert_allclose(joined(recorded["text.raw"], "raw_mean"), recorded["text.class_embeds"], atol=1e-6)
    directions = recorded["text.raw"] / np.linalg.norm(recorded["text.raw"], axis=-1, keepdims=True)
    mean = directions.mean(1)
    wanted = mean / np.linalg.norm(mean, axis=-1, keepdims=True)
    np.testing.assert_allclose(joined(recorded["text.raw"], "unit_mean"), wanted, atol=1e-6)


def test_what_makes_no_sense_is_said() -> None:
    assert resolve_templates(["a {}"]) == ("a {}",)
    for wrong in ("nonsense", [], ["no place"], ["{} {}"]):
        with pytest.raises(ExpressionError):
            resolve_templates(wrong)
    with pytest.raises(ExpressionError, match="raw_mean and unit_mean"):
        known_reduce("sum")
