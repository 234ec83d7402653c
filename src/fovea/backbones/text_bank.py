"""A text bank: names as vectors of a CLIP, each from an ensemble of templates, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fovea.backbones.clip import ClipEncoder
from fovea.errors import DataError
from fovea.files import cache_folder, write_atomically
from fovea.language.ensembles import Reduce, imagenet_templates, joined, sentences

_logger = logging.getLogger(__name__)

#: What is told of a long encoding: sentences done, and sentences in all.
Progress = Callable[[int, int], None]

# Sentences that are encoded together; vocabularies of no more are not kept on disk.
_BATCH = 1024


class TextBank:
    """Names as vectors. Safe to share between threads and processes.

    Args:
        encoder: the CLIP.
        templates: sentences around a name, with ``{}``; CLIP's 80 for ImageNet and the bare name by default.
        reduce: how the sentences of a name become one vector.
        fingerprint: names the CLIP's weights (:func:`fovea.backbones.sources.fingerprint`), asked for when a vocabulary
            is looked up on disk; without it nothing is kept there.
        folder: where vocabularies are kept; the user's cache by default.
    """

    def __init__(
        self,
        encoder: ClipEncoder,
        templates: Sequence[str] | None = None,
        reduce: Reduce = "raw_mean",
        fingerprint: Callable[[], str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.encoder, self.reduce = encoder, reduce
        self.templates = tuple(templates) if templates is not None else imagenet_templates()
        self._fingerprint, self._folder = fingerprint, folder

    def vectors(self, names: Sequence[str], progress: Progress | None = None) -> np.ndarray:
        """The vectors of names.

        Args:
            names: N names, which go into the templates unchanged; equal ones are encoded once.
            progress: is told after every batch.

        Returns:
            ``(N, D)`` float32 of unit length.

        Raises:
            ExpressionError: a name is too long for the model.
        """
        distinct = list(dict.fromkeys(names))
        if not distinct:
            return np.zeros((0, 0), np.float32)
        place = self._place(distinct)
        rows = None if place is None else _read(place, len(distinct))
        if rows is None:
            rows = self._encode(distinct, progress)
            if place is not None:
                _keep(place, rows)
        where = {name: row for row, name in enumerate(distinct)}
        return rows[[where[name] for name in names]]

    def _place(self, names: list[str]) -> Path | None:
        """Where the vectors of these very names, templates and weights are kept; None where they are not."""
        # Few texts are encoded sooner than the weights are read to name them.
        if self._fingerprint is None or len(names) * len(self.templates) <= _BATCH:
            return None
        weights = self._fingerprint()
        if weights == "unknown":
            return None
        about = [weights, str(self.encoder.dtype), self.reduce, self.templates, names]
        name = hashlib.blake2b(json.dumps(about).encode(), digest_size=16).hexdigest()
        return (self._folder or cache_folder() / "texts") / f"{name}.safetensors"

    def _encode(self, names: list[str], progress: Progress | None) -> np.ndarray:
        # As many whole names as fit: their sentences become one row each before the next ones are encoded.
        step, total = max(1, _BATCH // len(self.templates)), len(names) * len(self.templates)
        if total > _BATCH:
            _logger.info("%s reads %d sentences about %d names", self.encoder.name, total, len(names))
        rows = []
        for start in range(0, len(names), step):
            some = names[start : start + step]
            texts = [text for name in some for text in sentences(name, self.templates)]
            # Templates may coincide on a name; the model reads each text once.
            distinct = list(dict.fromkeys(texts))
            encoded = self.encoder.encode_texts(distinct, unit=False)
            where = {text: row for row, text in enumerate(distinct)}
            vectors = encoded[[where[text] for text in texts]]
            rows.append(joined(vectors.reshape(len(some), len(self.templates), -1), self.reduce))
            if progress is not None:
                progress(min(start + step, len(names)) * len(self.templates), total)
        return np.concatenate(rows)


def _read(place: Path, count: int) -> np.ndarray | None:
    """What is kept there; None where there is nothing, or nothing of use."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        rows = load(place.read_bytes())["vectors"]
    except (OSError, SafetensorError, KeyError):
        return None
    usable = rows.ndim == 2 and len(rows) == count and rows.dtype == np.float32 and np.isfinite(rows).all()
    return rows if usable else None


def _keep(place: Path, rows: np.ndarray) -> None:
    from safetensors.numpy import save

    try:
        write_atomically(place, save({"vectors": np.ascontiguousarray(rows)}))
    except DataError as error:
        _logger.warning("the vectors of names are not kept for the next time: %s", error)
