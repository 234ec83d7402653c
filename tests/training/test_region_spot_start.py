"""A head that looks at the right places before its first step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fovea.datasets.region_tokens import PictureTokens
from fovea.errors import DataError
from fovea.networks.fourier import fourier_features, fourier_grid
from fovea.networks.region_spot import RegionSpotConfig, RegionSpotHead
from fovea.training.region_spot_start import start_from_places

GRID, SEEN, POSITIONS, TOKEN, TEXT, SIDE = 8, 48, 16, 24, 12, 64
WIDTH = SEEN + POSITIONS


def pictures(count: int) -> list[PictureTokens]:
    """Tokens say in a rotated way where the middles of boxes are; every place holds a thing of its own."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(TOKEN, TOKEN)))[0][:POSITIONS]
    made = []
    for id_ in range(count):
        corner = rng.uniform(0, SIDE - 16, (5, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(4, 16, (5, 2))], axis=1).astype(np.float32)
        middles = torch.from_numpy(boxes[:, :2] + boxes[:, 2:]) / 2 / SIDE
        tokens = fourier_features(middles, POSITIONS).numpy() @ turn + 3
        positions = 4 * np.pad(fourier_grid(GRID, POSITIONS).numpy(), ((1, 0), (0, 0)))
        places = np.concatenate([rng.normal(size=(GRID**2 + 1, SEEN)), positions], axis=1)
        size = np.array([SIDE, SIDE], np.float32)
        made.append(
            PictureTokens(id_, tokens.astype(np.float32), boxes, np.zeros(5, np.int64), size, places.astype(np.float16))
        )
    return made


@pytest.fixture(scope="module")
def readout() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    weight = torch.cat([torch.randn(TEXT, SEEN), torch.zeros(TEXT, POSITIONS)], dim=1)
    return weight, torch.zeros(TEXT)


def head(heads: int = 4) -> RegionSpotHead:
    torch.manual_seed(0)
    return RegionSpotHead(RegionSpotConfig(WIDTH, TEXT, TOKEN, 2, heads, 32)).eval()


def test_regions_look_at_the_middles_of_their_boxes(readout: tuple[Tensor, Tensor]) -> None:
    some, started = pictures(60), head()
    start_from_places(started, some[:50], POSITIONS, readout)
    for picture in some[50:]:
        tokens, places = torch.from_numpy(picture.tokens)[None], torch.from_numpy(picture.places).float()[None]
        middles = (picture.boxes[:, :2] + picture.boxes[:, 2:]) / 2 / SIDE * GRID - 0.5
        for looks in started.looks(tokens, places):
            best = looks.places[0, :, 1:].argmax(-1).numpy()
            found = np.stack([best % GRID, best // GRID], axis=1)
            assert np.abs(found - middles).max() < 1
            # Nearly all of a look falls on the place and its neighbours.
            centres = np.stack(np.meshgrid(np.arange(GRID), np.arange(GRID)), axis=-1).reshape(-1, 2)
            near = np.abs(centres[None] - middles[:, None]).max(-1) < 2
            assert (looks.places[0, :, 1:].numpy() * near).sum(-1).min() > 0.8


def test_what_is_seen_is_read_as_the_clip_reads_it(readout: tuple[Tensor, Tensor]) -> None:
    started, some = head(), pictures(51)
    start_from_places(started, some[:50], POSITIONS, readout)
    picture = some[50]
    tokens, places = torch.from_numpy(picture.tokens)[None], torch.from_numpy(picture.places).float()[None]
    with torch.no_grad():
        vectors = started(tokens, places)[0]
    middles = ((picture.boxes[:, :2] + picture.boxes[:, 2:]) / 2 / SIDE * GRID).astype(int)
    read = places[0, 1 + middles[:, 1] * GRID + middles[:, 0]] @ readout[0].T
    alike = torch.nn.functional.cosine_similarity(vectors[:, None], read[None], dim=-1)
    assert (alike.argmax(1) == torch.arange(5)).all()


def test_without_positions_there_is_no_such_start(readout: tuple[Tensor, Tensor]) -> None:
    for heads, positions in ((4, 0), (8, POSITIONS)):
        with pytest.raises(DataError, match="needs positions"):
            start_from_places(head(heads), pictures(2), positions, readout)


def test_near_points_have_similar_features() -> None:
    points = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    features = fourier_features(points, 16)
    assert features.shape == (50, 16)
    torch.testing.assert_close(features.norm(dim=-1), torch.full((50,), 8**0.5))
    near = fourier_features(points + 0.01, 16)
    assert ((features @ near.T).argmax(1) == torch.arange(50)).float().mean() > 0.8
    # The slowest and the fastest by hand: a half-wave across the picture, and eight.
    x, y = points[:, 0], points[:, 1]
    wanted = [(x * torch.pi).sin(), (8 * x * torch.pi).sin(), (x * torch.pi).cos(), (8 * y * torch.pi).cos()]
    torch.testing.assert_close(features[:, [0, 3, 4, 15]], torch.stack(wanted, dim=1))
