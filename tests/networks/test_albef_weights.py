"""Released layouts of ALBEF and BLIP."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fovea.errors import CheckpointError
from fovea.networks.albef import Albef, AlbefConfig
from fovea.networks.albef_vision import resize_positions
from fovea.networks.albef_weights import build_albef, config_from_state, needed_weights

CONFIG = AlbefConfig(
    image_size=(32, 32),
    patch_size=8,
    vision_width=64,
    vision_depth=2,
    vision_heads=1,
    vision_mlp_width=96,
    vocab_size=20,
    max_positions=7,
    hidden_size=128,
    depth=3,
    num_heads=2,
    intermediate_size=48,
    fusion_layer=1,
    heat_layer=2,
)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return Albef(CONFIG).state_dict()


def released(state: dict[str, Tensor]) -> dict[str, object]:
    """As in the file of the pre-training: wrapped text side, momentum copies, queues, heads of other objectives."""
    inner = {key.replace("text_encoder.", "text_encoder.bert."): value for key, value in state.items()}
    more = [
        *(key.replace("visual_encoder.", "visual_encoder_m.") for key in state),
        *(key.replace("text_encoder.", "text_encoder_m.bert.") for key in state),
        *("image_queue", "text_queue", "idx_queue", "queue_ptr", "temp", "vision_proj.weight", "text_proj_m.bias"),
        *("text_encoder.cls.predictions.bias", "text_encoder.bert.embeddings.position_ids"),
    ]
    return {"model": {**{key: torch.ones(1) for key in more}, **inner}, "epoch": 29, "optimizer": {}}


def test_the_released_file_gives_its_matching_model(state: dict[str, Tensor]) -> None:
    found = needed_weights(released(state))
    assert found.keys() == state.keys()
    assert config_from_state(found) == CONFIG
    model = build_albef(config_from_state(found), found)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_half_precision_is_widened(state: dict[str, Tensor]) -> None:
    model = build_albef(CONFIG, {key: value.half() for key, value in state.items()})
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_another_picture_size_stretches_positions(state: dict[str, Tensor]) -> None:
    model = build_albef(CONFIG, state, (48, 64))
    assert model.config.grid == (6, 8)
    assert model.visual_encoder.pos_embed.shape == (1, 1 + 6 * 8, 64)
    assert model.encode_image(torch.zeros(1, 3, 48, 64)).shape == (1, 49, 64)


def test_stretched_positions_keep_their_order() -> None:
    """A ramp along one axis stays a ramp along that axis."""
    ramp = torch.stack([torch.arange(4.0)[:, None].expand(4, 4), torch.arange(4.0)[None].expand(4, 4)], dim=-1)
    table = torch.cat([torch.full((1, 1, 2), 9.0), ramp.reshape(1, 16, 2)], dim=1)
    assert resize_positions(table, (4, 4), (4, 4)) is table
    wide = resize_positions(table, (4, 4), (4, 8))
    assert (wide[:, 0] == 9).all()
    grid = wide[0, 1:].view(4, 8, 2)
    torch.testing.assert_close(grid[..., 0], torch.arange(4.0)[:, None].expand(4, 8), atol=0.2, rtol=0)
    assert (grid[..., 1].diff(dim=1) > 0).all()


def test_as_many_places_in_another_grid_are_another_table(state: dict[str, Tensor]) -> None:
    wide = build_albef(CONFIG, state, (16, 64))
    assert not torch.equal(wide.visual_encoder.pos_embed, state["visual_encoder.pos_embed"])


def test_pictures_that_patches_do_not_fill_are_refused(state: dict[str, Tensor]) -> None:
    with pytest.raises(CheckpointError, match="multiples of 8"):
        build_albef(CONFIG, state, (32, 36))


def without(state: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name != key}


def test_weights_that_do_not_fit_are_named(state: dict[str, Tensor]) -> None:
    with pytest.raises(CheckpointError, match=r"lack 1 such as itm_head\.bias"):
        build_albef(CONFIG, without(state, "itm_head.bias"))
    with pytest.raises(CheckpointError, match=r"have no use for 1 such as text_decoder\.x"):
        build_albef(CONFIG, {**state, "text_decoder.x": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"another shape for 1 such as itm_head\.weight"):
        build_albef(CONFIG, {**state, "itm_head.weight": torch.ones(3, 128)})


def test_what_is_no_albef_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no state dict"):
        needed_weights({"model": [1, 2]})
    with pytest.raises(CheckpointError, match="lack"):
        config_from_state({"conv1.weight": torch.ones(1)})
