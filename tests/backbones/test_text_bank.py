"""The text bank: each text once, and kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fovea.backbones import text_bank
from fovea.backbones.clip import ClipEncoder, load_clip
from fovea.backbones.sources import PRESETS
from fovea.backbones.text_bank import TextBank
from fovea.files import cache_folder
from fovea.language.ensembles import sentences

TEMPLATES = [f"a photo of {word} {{}}." for word in ("the", "a", "one", "two", "some")]
NAMES = ["car", "dog", "traffic_light", "car", "Tree"] + [f"thing {number}" for number in range(20)]


@pytest.fixture(scope="module")
def encoder() -> ClipEncoder:
    return load_clip(PRESETS["mini-vit"].clips[0])


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_bank, "_BATCH", 40)


class Counting:
    """An encoder that remembers what it read."""

    def __init__(self, encoder: ClipEncoder) -> None:
        self.encoder, self.read = encoder, list[str]()
        self.dtype, self.name = encoder.dtype, encoder.name

    def encode_texts(self, texts: Sequence[str], *, unit: bool = True) -> np.ndarray:
        self.read += texts
        return self.encoder.encode_texts(texts, unit=unit)


def bank(encoder: object, folder: Path, weights: str = "w", templates: Sequence[str] = TEMPLATES) -> TextBank:
    return TextBank(encoder, templates, fingerprint=lambda: weights, folder=folder)  # type: ignore[arg-type]


def test_every_text_is_read_once_and_then_never(encoder: ClipEncoder, tmp_path: Path) -> None:
    counting, told = Counting(encoder), list[tuple[int, int]]()
    found = bank(counting, tmp_path).vectors(NAMES, lambda done, total: told.append((done, total)))
    assert len(counting.read) == len(set(counting.read)) == 5 * len(set(NAMES))
    assert told == [(40, 120), (80, 120), (120, 120)]
    np.testing.assert_array_equal(found[0], found[3])
    for row in (1, 2, 20):
        raw = encoder.encode_texts(sentences(NAMES[row], TEMPLATES), unit=False).mean(0)
        np.testing.assert_allclose(found[row], raw / np.linalg.norm(raw), atol=1e-5)
    again = Counting(encoder)
    np.testing.assert_array_equal(bank(again, tmp_path).vectors(NAMES), found)
    assert not again.read
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_what_is_kept_is_named_by_all_that_matters(encoder: ClipEncoder, tmp_path: Path) -> None:
    bank(encoder, tmp_path).vectors(NAMES)
    for count, other in enumerate(
        [
            (bank(encoder, tmp_path, weights="v"), NAMES),
            (bank(encoder, tmp_path, templates=TEMPLATES[:4]), NAMES),
            (bank(encoder, tmp_path), NAMES[::-1]),
            (TextBank(encoder, TEMPLATES, "unit_mean", lambda: "w", tmp_path), NAMES),
        ],
        2,
    ):
        other[0].vectors(other[1])
        assert len(list(tmp_path.iterdir())) == count
    # Few texts, and weights that nobody can name, are not worth a file.
    bank(encoder, tmp_path).vectors(NAMES[:5])
    bank(encoder, tmp_path, weights="unknown").vectors(NAMES)
    assert len(list(tmp_path.iterdir())) == 5


def test_damaged_files_are_written_again(encoder: ClipEncoder, tmp_path: Path) -> None:
    found = bank(encoder, tmp_path).vectors(NAMES)
    (path,) = tmp_path.iterdir()
    for damage in (b"", b"nonsense", path.read_bytes()[:500]):
        path.write_bytes(damage)
        np.testing.assert_array_equal(bank(encoder, tmp_path).vectors(NAMES), found)
        assert len(path.read_bytes()) > 1000


def test_a_folder_that_cannot_be_written_is_no_error(
    encoder: ClipEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert len(bank(encoder, tmp_path / "file" / "texts").vectors(NAMES)) == len(NAMES)
    assert "not kept" in caplog.text


def test_the_cache_folder_is_the_users_or_as_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("FOVEA_CACHE")
    assert cache_folder().name == "fovea"


def test_no_names(encoder: ClipEncoder, tmp_path: Path) -> None:
    assert len(bank(encoder, tmp_path).vectors([])) == 0
