"""Named boxes in, tokens of regions out, computed once: what RegionSpot's head learns from (specs/regionspot.md, 2, 3).

The frozen models are asked once per picture: SAM for the tokens of its boxes, CLIP for all tokens of its last block.
The latter are the larger part on disk: with a ViT-L/14 half a megabyte a picture.
"""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fovea.backbones.models import Models
from fovea.backbones.region_spot import ClipPlaces
from fovea.backbones.sources import fingerprint, resolve_models
from fovea.cache import FeatureCache
from fovea.datasets.boxed_pictures import BoxedPicture, BoxedPictures
from fovea.datasets.region_tokens import PictureTokens, Row, encode_shard, read_rows, shard_path, write_index
from fovea.errors import DataError, MissingPictureError
from fovea.files import write_atomically
from fovea.networks.sam import TokenKind
from fovea.pipelines.workers import begin_worker, ended_from_outside, one_thread, reason_of
from fovea.pipelines.writing import count_pictures, write_whole
from fovea.proposers.given import read_json


@dataclass(frozen=True)
class TokenSettings:
    """How tokens are made.

    Attributes:
        models: of which the first CLIP and the SAM are taken, as ``--models`` names them.
        clip_size: side of CLIP's square input in pixels; 0 for the CLIP's own, other sizes resize its positions.
        positions: channels that tell positions, behind CLIP's tokens; a multiple of 4, for CLIPs that do not say them.
        per_shard: pictures of a shard.
        device: a torch device; ``auto`` takes a GPU where there is one.
        dtype: of the models.
        token_kind: where SAM's tokens are taken.
    """

    models: str = "mini-vit"
    clip_size: int = 0
    positions: int = 0
    per_shard: int = 512
    device: str = "auto"
    dtype: str = "float32"
    token_kind: TokenKind = "transformer"


class Extractor:
    """Makes the tokens of pictures, with the models loaded."""

    def __init__(self, settings: TokenSettings) -> None:
        models = Models(settings.models, device=settings.device, dtype=settings.dtype)
        self.segmenter, self.kind = models.segmenter, settings.token_kind
        encoder = models.clips[0]
        self.clip = ClipPlaces(encoder, settings.clip_size or encoder.image_size, positions=settings.positions)

    def __call__(self, id_: int, boxed: BoxedPicture) -> PictureTokens:
        """The tokens of one picture.

        Args:
            id_: its number.
            boxed: with at least one box.
        """
        # Nothing is asked twice: nothing needs to be kept.
        cache = FeatureCache(max_bytes=0)
        embedding = self.segmenter.embed(boxed.picture, cache)
        tokens = self.segmenter.tokens(embedding, boxed.picture.size, boxes=boxed.boxes, kind=self.kind)[:, 0]
        places = self.clip.of(boxed.picture, cache)[0]
        return PictureTokens(
            id_,
            tokens.float().cpu().numpy(),
            boxed.boxes,
            boxed.labels,
            np.array(boxed.picture.size, np.float32),
            places.half().cpu().numpy(),
        )


class TokenRun:
    """Makes a folder of tokens. What was stopped, however, goes on with the units that are not whole.

    A unit is ``per_shard`` pictures of the source, and becomes one shard: written beside its place and renamed. Its
    bytes depend on the source, the settings and the number of the unit, and not on how often the run was stopped nor on
    how many worked on it.

    Args:
        source: of the pictures.
        settings: how.
        directory: receives the shards, ``about.json`` and ``index.json``.
        share: the i-th of n shares of the units, as ``(i, n)`` with i from 1 on, for several machines.
    """

    def __init__(
        self, source: BoxedPictures, settings: TokenSettings, directory: Path, share: tuple[int, int] = (1, 1)
    ) -> None:
        self.source, self.settings, self.directory = source, settings, directory
        self.all = range(-(-len(source) // settings.per_shard))
        self.units = self.all[share[0] - 1 :: share[1]]

    def about(self) -> dict[str, Any]:
        """What the tokens come from, as ``about.json`` says it."""
        sources, settings = resolve_models(self.settings.models), self.settings
        return {
            "source": self.source.name,
            "pictures": len(self.source),
            "per_shard": settings.per_shard,
            "models": settings.models,
            "sam weights": fingerprint(sources.sam),
            "clip weights": fingerprint(sources.clips[0]),
            "clip_size": settings.clip_size,
            "positions": settings.positions,
            "dtype": settings.dtype,
            "token_kind": settings.token_kind,
            "vocabulary": list(self.source.vocabulary),
            "category_ids": [list(numbers) for numbers in self.source.category_ids],
        }

    def prepare(self) -> None:
        """Make the folder, and say in it what its tokens come from.

        Raises:
            DataError: see :meth:`check`; or the folder cannot be written.
        """
        self.check()
        path = self.directory / "about.json"
        if not path.exists():
            write_atomically(path, json.dumps(self.about()) + "\n")

    def check(self) -> None:
        """Look whether the folder may receive these tokens; nothing is written.

        Raises:
            DataError: the source is empty, or the folder holds tokens from elsewhere or made otherwise.
        """
        if not len(self.source):
            raise DataError(f"{self.source.name} holds no pictures")
        path = self.directory / "about.json"
        if not path.exists():
            return
        held, about = read_json(path), self.about()
        other = [key for key in about if not isinstance(held, dict) or held.get(key) != about[key]]
        if other:
            raise DataError(f"{self.directory} was made with another {other[0]}", "choose another folder")

    def missing(self) -> list[int]:
        """The units of this share that are not there."""
        return [number for number in self.units if not shard_path(self.directory, number).exists()]

    def pictures(self, number: int) -> range:
        """The pictures of a unit."""
        size = self.settings.per_shard
        return range(number * size, min((number + 1) * size, len(self.source)))

    def run(self, workers: int = 1, advance: Callable[[], None] = lambda: None) -> Counter[str]:
        """Make what is missing, and the index once all shards are there.

        Args:
            workers: processes. Each works with one thread, also where there is only one: sums come out the same only
                where they are cut the same.
            advance: called after each picture, or with several workers after each unit as often.

        Returns:
            How many pictures of this share are ``ok``, ``skipped`` and ``failed``, and their ``regions``.

        Raises:
            FoveaError: a model cannot be loaded or a shard not be written. Shards that are whole stay.
        """
        self.prepare()
        missing = self.missing()
        if workers > 1 and len(missing) > 1:
            self._run_beside(missing, workers, advance)
        elif missing:
            with one_thread():
                extractor = Extractor(self.settings)
                for number in missing:
                    _make(extractor, self._part(number), shard_path(self.directory, number), advance)
        if all(shard_path(self.directory, number).exists() for number in self.all):
            write_index(self.directory, self.all)
        return count_pictures(row for number in self.units for row in read_rows(shard_path(self.directory, number)))

    def _part(self, number: int) -> BoxedPictures:
        pictures = self.pictures(number)
        return self.source.part(pictures.start, pictures.stop)

    def _run_beside(self, missing: Sequence[int], workers: int, advance: Callable[[], None]) -> None:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(missing)), context, _begin_worker, (self.settings,)) as pool:
            futures = {
                pool.submit(_work, self._part(number), shard_path(self.directory, number)): number for number in missing
            }
            try:
                for future in as_completed(futures):
                    future.result()
                    for _ in self.pictures(futures[future]):
                        advance()
            except BrokenProcessPool as error:
                raise ended_from_outside() from error
            finally:
                pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Worker:
    """What a worker process works with."""

    settings: TokenSettings

    @cached_property
    def extractor(self) -> Extractor:
        # Not before the first unit: errors of a process that only begins reach nobody.
        return Extractor(self.settings)


# Set once when the process begins.
_worker: _Worker | None = None


def _begin_worker(settings: TokenSettings) -> None:
    global _worker
    begin_worker()
    _worker = _Worker(settings)


def _work(part: BoxedPictures, path: Path) -> None:
    if _worker is None:
        raise RuntimeError("the worker has not begun")
    _make(_worker.extractor, part, path, lambda: None)


def _make(extractor: Extractor, part: BoxedPictures, path: Path, advance: Callable[[], None]) -> None:
    """Make one shard.

    Raises:
        DataError: none of its pictures is there.
    """
    rows, made, missing = list[Row](), list[PictureTokens](), list[MissingPictureError]()
    for index in range(len(part)):
        try:
            row, tokens = _attempt(extractor, part, index)
        except MissingPictureError as error:
            missing.append(error)
            row, tokens = {"id": part.id(index), "status": "failed", "reason": str(error)}, None
        rows.append(row)
        if tokens is not None:
            made.append(tokens)
        advance()
    if missing and len(missing) == len(rows):
        # A shard of failures would count as made, also once the pictures are there.
        raise DataError(
            f"none of the {len(rows)} pictures of {path.name} is there: {missing[0].message}",
            "give the folder with --pictures, or leave out of the annotations what you do not have",
        )
    write_whole(path, encode_shard(made, rows), path.with_suffix(".part"))


def _attempt(extractor: Extractor, part: BoxedPictures, index: int) -> tuple[Row, PictureTokens | None]:
    """One picture: whatever is wrong with it ends here, unless it is missing."""
    row: Row = {"id": part.id(index)}
    try:
        boxed = part.load(index)
        if boxed.dropped:
            row["dropped"] = boxed.dropped
        if not len(boxed.boxes):
            return row | {"status": "skipped", "reason": "it has no boxes"}, None
        tokens = extractor(part.id(index), boxed)
        if not (np.isfinite(tokens.tokens).all() and np.isfinite(tokens.places).all()):
            return row | {"status": "failed", "reason": "its tokens are not finite"}, None
    except MissingPictureError:
        raise
    except Exception as error:
        return row | {"status": "failed", "reason": reason_of(error)}, None
    return row | {"status": "ok", "regions": len(boxed.boxes)}, tokens
