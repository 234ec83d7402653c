"""Score arithmetic against the released programs: sums and maxima over styles and CLIPs, subtraction (golden/fgvp)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fovea.answers import softmax
from fovea.backbones.clip import ClipEncoder
from fovea.cache import FeatureCache
from fovea.errors import DataError
from fovea.marks import parse_style
from fovea.pictures import open_picture
from fovea.regions import Regions
from fovea.rules.subtraction import Bank, read_bank
from fovea.scorers.marked_clip import Aggregate, MarkedClip

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "fgvp" / "scores.npz")
STYLES = [parse_style(code) for code in ("P", "B1", "C1", "B4")]
PICTURE = open_picture(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
REGIONS = Regions.from_boxes([[i, 1, i + 9, 15] for i in range(5)], PICTURE.size)
#: The recorded query and its seven negatives.
TEXTS = ["the query", *(f"negative {i}" for i in range(7))]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


class RecordedEncoder(ClipEncoder):
    """Answers with recorded features: pictures style by style, as they come, and texts by what they say."""

    def __init__(self, number: int) -> None:
        self.number, self.image_size = number, 8
        self.logit_scale = float(GOLDEN[f"logit_scale_{number}"])
        self.pictures = list(unit(GOLDEN[f"image_features_{number}"]))
        self.texts_encoded = 0

    @property
    def key(self) -> tuple[str, str, str, int]:
        return ("recorded", "", "", self.number)

    def encode_pictures(self, pictures: np.ndarray) -> np.ndarray:
        return np.stack([self.pictures.pop(0) for _ in pictures]).astype(np.float32)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.texts_encoded += len(texts)
        rows = [TEXTS.index(text) for text in texts]
        return unit(GOLDEN[f"text_features_{self.number}"])[rows].astype(np.float32)


@pytest.mark.parametrize("models", [1, 2])
@pytest.mark.parametrize("aggregate", ["sum", "max"])
@pytest.mark.parametrize("subtract", [False, True])
def test_scores_match_the_released_programs(models: int, aggregate: Aggregate, subtract: bool) -> None:
    encoders = [RecordedEncoder(number) for number in range(models)]
    bank = Bank(tuple(TEXTS[1:])) if subtract else None
    scorer = MarkedClip(encoders, STYLES, "{}", bank=bank, aggregate=aggregate)
    cache = FeatureCache()
    found = scorer.score(PICTURE, REGIONS, TEXTS[:1], cache).values[:, 0]
    name = f"{aggregate}{'_subtract' * subtract}_models{models}"
    np.testing.assert_allclose(found, GOLDEN[f"scores_{name}"], atol=1e-4, rtol=1e-5)
    np.testing.assert_allclose(softmax(found, 0), GOLDEN[f"probs_{name}"], atol=1e-6)
    scorer.score(PICTURE, REGIONS, TEXTS[:1], cache)
    assert encoders[0].texts_encoded == (8 if subtract else 1), "a bank is encoded once"


def test_banks_are_drawn_by_seed() -> None:
    texts = [f"Text {i}." for i in range(50)]
    drawn = Bank.draw(texts, 20, seed=3)
    assert drawn == Bank.draw(texts, 20, seed=3)
    assert drawn != Bank.draw(texts, 20, seed=4)
    assert len(set(drawn.texts)) == 20
    assert set(drawn.texts) <= {f"text {i}" for i in range(50)}
    # Fewer than are asked for crashed the original.
    assert Bank.draw(texts).texts == Bank.draw(texts, None).texts == tuple(f"text {i}" for i in range(50))


def test_banks_are_read(tmp_path: Path) -> None:
    path = tmp_path / "bank.txt"
    path.write_text("The cat\n\nthe dog.\n")
    assert read_bank(path).texts == ("the cat", "the dog")
    for content in (b"", b"\n\n", b"\xff\xfe\x00"):
        path.write_bytes(content)
        with pytest.raises(DataError):
            read_bank(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_bank(tmp_path / "missing.txt")
