"""The matching model behind its class: against the bare network, alone and in batches, with and without masks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fovea.backbones.matching import Match, MatchingModel
from fovea.backbones.matching_loading import load_matching
from fovea.cache import FeatureCache
from fovea.errors import ExpressionError
from fovea.pictures import Picture, open_picture

TEXTS = ["there is a red car", "there is a dog left of the blue car", "giraffes", ""]


@pytest.fixture(scope="module")
def model(albef_directory: Path) -> MatchingModel:
    return load_matching(str(albef_directory))


@pytest.fixture(scope="module")
def picture() -> Picture:
    return open_picture(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))


def matches(model: MatchingModel, picture: Picture, texts: list[str], visible: np.ndarray | None = None) -> list[Match]:
    cache = FeatureCache()
    return model.match(model.embed_picture(picture, cache), model.embed_texts(texts, cache), visible=visible)


def close(found: Match, expected: Match, tolerance: float = 1e-5) -> None:
    assert found.score == pytest.approx(expected.score, abs=tolerance)
    assert found.logit == pytest.approx(expected.logit, abs=tolerance)
    torch.testing.assert_close(found.attention, expected.attention, atol=tolerance, rtol=0)
    torch.testing.assert_close(found.gradient, expected.gradient, atol=tolerance, rtol=0)


def test_it_says_what_a_plain_forward_and_a_full_backward_say(
    model: MatchingModel, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = model._network
    pixels = np.asarray(picture.image.resize((48, 32), Image.Resampling.BICUBIC), np.float64) / 255
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    pixels = (pixels - np.array(mean)) / np.array(std)
    # "there is a red car" behind [CLS], and nothing behind it.
    ids = torch.tensor([[2, 4, 5, 6, 7, 9]])
    kept: list[torch.Tensor] = []
    heads = network.text_encoder.layer(3).crossattention.self

    def observed(x: torch.Tensor, keys_values: tuple[torch.Tensor, torch.Tensor], visible: None) -> torch.Tensor:
        probabilities = heads.probabilities(x, keys_values[0], visible)
        probabilities.retain_grad()
        kept.append(probabilities)
        return heads.mix(probabilities, keys_values[1])

    with monkeypatch.context() as patch:
        patch.setattr(heads, "forward", observed)
        logits = network(torch.from_numpy(pixels).float().permute(2, 0, 1)[None].requires_grad_(), ids)
    logits[0, 1].backward()
    logits = logits.detach()
    (found,) = matches(model, picture, TEXTS[:1])
    assert found.logit == pytest.approx(float(logits[0, 1]), abs=1e-5)
    assert found.score == pytest.approx(float(logits.softmax(1)[0, 1]), abs=1e-6)
    (probabilities,) = kept
    assert probabilities.grad is not None
    assert found.attention.shape == (3, 6, 4, 6)
    torch.testing.assert_close(found.attention.flatten(2), probabilities[0, :, :, 1:].detach(), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.gradient.flatten(2), probabilities.grad[0, :, :, 1:], atol=1e-6, rtol=0)
    assert found.gradient.abs().max() > 1e-3


def test_a_batch_of_texts_and_masks_equals_one_by_one(model: MatchingModel, picture: Picture) -> None:
    visible = np.random.default_rng(1).random((4, 4, 6)) < 0.5
    together = matches(model, picture, TEXTS, visible)
    for row, text in enumerate(TEXTS):
        close(together[row], matches(model, picture, [text], visible[row : row + 1])[0])


def test_one_text_with_many_masks_spans_chunks(model: MatchingModel, picture: Picture) -> None:
    visible = np.random.default_rng(2).random((40, 4, 6)) < 0.5
    together = matches(model, picture, [TEXTS[0]] * 40, visible)
    assert len(together) == 40
    for row in (0, 31, 32, 39):
        close(together[row], matches(model, picture, TEXTS[:1], visible[row : row + 1])[0])


def test_hidden_patches_get_no_attention_and_change_the_match(model: MatchingModel, picture: Picture) -> None:
    visible = np.ones((1, 4, 6), bool)
    visible[0, 1, 2:5] = False
    (masked,) = matches(model, picture, TEXTS[:1], visible)
    (plain,) = matches(model, picture, TEXTS[:1])
    assert (masked.attention[:, :, 1, 2:5] == 0).all()
    assert (masked.attention[:, :, 0] > 0).all()
    assert abs(masked.logit - plain.logit) > 1e-3
    # All may be hidden: the class token stays.
    (blind,) = matches(model, picture, TEXTS[:1], np.zeros((1, 4, 6), bool))
    assert np.isfinite(blind.logit)
    assert (blind.attention == 0).all()


def test_pictures_and_texts_are_embedded_once(
    model: MatchingModel, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, read = [], []
    towers = model._network.visual_encoder.forward, model._network.encode_text
    monkeypatch.setattr(model._network.visual_encoder, "forward", lambda x: looked.append(len(x)) or towers[0](x))
    monkeypatch.setattr(model._network, "encode_text", lambda ids, mask: read.append(len(ids)) or towers[1](ids, mask))
    cache = FeatureCache()
    for _ in range(3):
        model.match(model.embed_picture(picture, cache), model.embed_texts([*TEXTS, TEXTS[0]], cache))
    assert looked == [1]
    assert read == [4]
    model.embed_texts(["the dog", TEXTS[1]], cache)
    assert read == [4, 1]


@torch.inference_mode()
def test_callers_in_inference_mode_get_gradients_too(model: MatchingModel, picture: Picture) -> None:
    (found,) = matches(model, picture, TEXTS[:1], np.ones((1, 4, 6), bool))
    assert found.gradient.abs().max() > 0


def test_threads_share_it(model: MatchingModel, picture: Picture) -> None:
    expected = matches(model, picture, TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: matches(model, picture, TEXTS), range(8)):
            for one, other in zip(found, expected, strict=True):
                close(one, other)


def test_pieces_stand_where_the_attention_has_them(model: MatchingModel, picture: Picture) -> None:
    assert model.pieces("Giraffes of the dog") == ["gir", "##affe", "##s", "of", "the", "dog"]
    (found,) = matches(model, picture, ["Giraffes of the dog"])
    assert found.attention.shape[1] == 7


def test_a_text_that_is_too_long_is_refused(model: MatchingModel) -> None:
    with pytest.raises(ExpressionError, match="at most 12 tokens"):
        model.embed_texts(["dog " * 12], FeatureCache())


def test_no_texts_no_matches(model: MatchingModel, picture: Picture) -> None:
    assert matches(model, picture, []) == []


def test_another_layer_gives_another_map(model: MatchingModel, picture: Picture) -> None:
    assert list(model.layers) == [2, 3, 4]
    assert model.layer == 3
    cache = FeatureCache()
    states = model.embed_picture(picture, cache), model.embed_texts(TEXTS[:1], cache)
    third, last = (model.match(*states, layer=layer)[0] for layer in (3, 4))
    assert third.logit == pytest.approx(last.logit, abs=1e-6)
    assert not torch.allclose(third.attention, last.attention)
    # Behind the last layer only the state of the class token counts.
    assert (last.gradient[:, 1:] == 0).all()
    with pytest.raises(ValueError, match="layer 1"):
        model.match(*states, layer=1)


def test_bfloat16_agrees_roughly(albef_directory: Path, model: MatchingModel, picture: Picture) -> None:
    rough = load_matching(str(albef_directory), dtype=torch.bfloat16)
    for found, expected in zip(matches(rough, picture, TEXTS), matches(model, picture, TEXTS), strict=True):
        assert found.attention.dtype == torch.float32
        assert found.score == pytest.approx(expected.score, abs=0.1)
