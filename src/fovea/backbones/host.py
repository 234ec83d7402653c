"""Captioners that can be asked where things are, each behind one door."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fovea.backbones.clip import CLIP_MEAN, CLIP_STD, hub_pixel_statistics
from fovea.backbones.host_asking import SETTINGS, Asking, read_asking, usual_asking
from fovea.backbones.host_feeding import FEEDS
from fovea.backbones.host_text import HostText, PictureMarks
from fovea.backbones.sources import check_complete, load_key, not_loaded, weights_fingerprint
from fovea.errors import CheckpointError, ExpressionError
from fovea.language.box_text import GridCodec, Prompting
from fovea.networks.flamingo_files import load_flamingo
from fovea.networks.host_shape import Room, shape_of, tower_of
from fovea.networks.insert_ports import PORTS
from fovea.networks.seen_once import seen_once

# Questions in one pass; captioners are large, and beams make more of them.
_CHUNK = 16

# New tokens at most, as published, where the longest box takes fewer.
_LENGTH = 12


class Host:
    """A frozen captioner. Not to be used by two threads at a time: what is joined to it is seen by both.

    Args:
        model: of a type in :data:`fovea.networks.insert_ports.PORTS`; it is frozen here.
        tokenizer: of its language model.
        asking: how it is asked for boxes.
        name: how results and errors name it.
        fingerprint: gives that of its weights, or ``unknown``; asked once, and only when it matters, since hashing a
            large model takes as long as loading it.
        pixels: mean and deviation of its pixels, on the scale 0..1.
        reader: an InstructBLIP's second tokenizer.

    Attributes:
        model: the same.
        tokenizer: likewise.
        size: side of its square picture in pixels.
        shape: its other sizes.

    Raises:
        CheckpointError: the model is no host that is known, or does not go with its tokenizer.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        asking: Asking,
        *,
        name: str,
        fingerprint: Callable[[], str] = lambda: "unknown",
        pixels: tuple[Sequence[float], Sequence[float]] = (CLIP_MEAN, CLIP_STD),
        reader: Any = None,
    ) -> None:
        self.model, self.tokenizer, self.name, self._fingerprint = model.eval(), tokenizer, name, fingerprint
        self.model.requires_grad_(False)
        self.shape = shape_of(model)
        self.size = self.shape.size
        first = next(model.parameters())
        self.device, self.dtype = first.device, first.dtype
        #: Names the host in cache keys; differs between two loads of one name.
        self.key = load_key(name, self.device, self.dtype)
        self.text = HostText(tokenizer, self._marks(asking.prompting), reader, name)
        self.asking, self.room, self._shared = asking, Room(), False
        self.check_asking(asking)
        self._feed = FEEDS[_type_of(model)]
        self._mean, self._std = (torch.tensor(values, dtype=torch.float32) for values in pixels)

    @cached_property
    def fingerprint(self) -> str:
        """Of its weights; ``unknown`` where nobody knows."""
        return self._fingerprint()

    @property
    def prompting(self) -> Prompting:
        """The words around names and boxes."""
        return self.asking.prompting

    @property
    def codec(self) -> GridCodec:
        """How boxes are written."""
        return self.asking.codec

    @contextmanager
    def standing(self, asking: Asking, room: Room) -> Iterator[None]:
        """A context in which the host is asked in another way, with room for what is joined to it.

        Raises:
            CheckpointError: something is joined to it already, or it cannot be asked so.
        """
        if self._shared:
            raise CheckpointError(f"something is joined to {self.name} already", "leave its context first")
        self.check_asking(asking)
        before = self.asking
        self.asking, self.room, self._shared = asking, room, True
        try:
            yield
        finally:
            self.asking, self.room, self._shared = before, Room(), False

    def answer(
        self,
        pictures: np.ndarray,
        questions: Sequence[str],
        *,
        beams: int = 3,
        examples: Sequence[tuple[np.ndarray, str]] = (),
    ) -> list[str]:
        """Let it write on.

        Args:
            pictures: ``(B, S, S, 3)`` uint8 RGB, ``S = size``; squash others, or boxes do not mean the same.
            questions: one for each, see :meth:`fovea.language.box_text.Prompting.question`.
            beams: of the search; as published.
            examples: pictures ``(S, S, 3)`` with solved questions that stand in front of every question.

        Returns:
            What it wrote behind each question, blanks as they were; of its end as much as is no special token.

        Raises:
            ExpressionError: a question does not name its picture where it has to, or names one elsewhere; or all
                together is more than the language model can read.
        """
        told: list[str] = []
        for start in range(0, len(questions), _CHUNK):
            some = slice(start, start + _CHUNK)
            told += self._answer(pictures[some], questions[some], beams, examples)
        return told

    def move(self, device: torch.device) -> None:
        """Let it work on another device from now on."""
        if device != self.device:
            self.model.to(device)
            self.device = device

    def logits(self, pictures: Tensor, rows: Mapping[str, Tensor], last: int) -> Tensor:
        """What it expects next, differentiable with respect to what is joined to it.

        Args:
            pictures: ``(B, S, S, 3)`` uint8.
            rows: texts as :meth:`HostText.batch` prepares them, on the host's device.
            last: for how many of the last tokens.

        Returns:
            ``(B, last, words)``.
        """

        def few(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (args[0][:, -last:], *args[1:])

        model: Any = self.model
        # Most of a text is not learnt, and its logits would be the largest tensor of a step.
        handle = model.get_output_embeddings().register_forward_pre_hook(few)
        try:
            feed = self._feed(self._normalised(pictures[:, None]), rows, self.text.marks.token)
            found: Tensor = model(**feed, use_cache=False).logits
            return found
        finally:
            handle.remove()

    @torch.inference_mode()
    def _answer(
        self, pictures: np.ndarray, questions: Sequence[str], beams: int, examples: Sequence[tuple[np.ndarray, str]]
    ) -> list[str]:
        solved = [text for _, text in examples]
        batch = self.text.batch([[*solved, question] for question in questions], room=self.room, left=True)
        rows = {key: torch.from_numpy(value).to(self.device) for key, value in batch.items()}
        shown = torch.from_numpy(np.ascontiguousarray(pictures))[:, None]
        if examples:
            same = torch.from_numpy(np.stack([picture for picture, _ in examples]))
            shown = torch.cat([same.expand(len(shown), *same.shape), shown], dim=1)
        token = self.text.marks.token
        feed = self._feed(self._normalised(shown), rows, token)
        end, most = self.text.end_token(self.prompting, self.codec), self._most_new
        self._check_length(rows["ids"].shape[1] + most)
        model: Any = self.model
        with seen_once(tower_of(self.model)):
            written = model.generate(
                **feed,
                num_beams=beams,
                do_sample=False,
                max_new_tokens=most,
                eos_token_id=end,
                pad_token_id=self.text.pad,
                # No picture would stand behind it.
                suppress_tokens=[token],
                # Models state one for captions; it would also look up places where no word is.
                repetition_penalty=1.0,
            )
        new = written[:, rows["ids"].shape[1] :].tolist()
        return [self.text.answer(question, row, end) for question, row in zip(questions, new, strict=True)]

    def check_examples(self, solved: Sequence[str]) -> None:
        """Whether so many solved questions may stand in front of another one.

        Raises:
            ExpressionError: its language model reads less.
        """
        batch = self.text.batch([[*solved, self.prompting.question("thing")]], room=self.room)
        self._check_length(batch["ids"].shape[1] + self._most_new)

    @property
    def _most_new(self) -> int:
        return max(_LENGTH, self.text.most_tokens(self.prompting, self.codec))

    def _check_length(self, tokens: int) -> None:
        longest = self.shape.longest
        if longest is not None and tokens > longest:
            raise ExpressionError(
                f"{self.name} reads and writes {longest} tokens at most, and {tokens} are needed",
                "ask in fewer words, or with fewer examples",
            )

    def _normalised(self, pictures: Tensor) -> Tensor:
        """``(B, T, S, S, 3)`` uint8 to ``(B, T, 3, S, S)``, on the host's device and in its type."""
        scaled = pictures.to(self.device).float() / 255
        pixels = (scaled - self._mean.to(self.device)) / self._std.to(self.device)
        return pixels.permute(0, 1, 4, 2, 3).to(self.dtype)

    def _marks(self, prompting: Prompting) -> PictureMarks:
        config: Any = self.model.config
        kind = _type_of(self.model)
        token = config.image_token if kind == "flamingo" else getattr(config, "image_token_id", None)
        if token is None:
            token = self.tokenizer.convert_tokens_to_ids("<image>")
        places = {
            "blip-2": lambda: config.num_query_tokens,
            "instructblip": lambda: config.num_query_tokens,
            "flamingo": lambda: 1,
            "idefics": lambda: 1,
            "idefics2": lambda: config.perceiver_config.resampler_n_latents,
        }.get(kind, lambda: self.shape.places)()
        written = self.tokenizer.convert_ids_to_tokens(token) or ""
        return PictureMarks(int(token), written if written in prompting.before else "", int(places))

    def check_asking(self, asking: Asking) -> None:
        """Whether a question can be read, and an answer ends where its box does.

        Raises:
            CheckpointError: not so.
        """
        try:
            if self._marks(asking.prompting) != self.text.marks:
                raise ValueError("pictures would stand elsewhere in it")
            self.text.batch([[asking.prompting.question("thing")]])
            self.text.check_end(asking.prompting, asking.codec)
        except (ValueError, IndexError) as error:
            raise CheckpointError(f"{self.name} cannot be asked so: {error}", f"mend its {SETTINGS}") from error


def _type_of(model: nn.Module) -> str:
    config: Any = model.config
    return str(config.model_type)


def load_host(source: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Host:
    """Load a captioner that can be asked where things are.

    A file ``fovea.json`` beside it may say how: ``{"codec": {"cells": 16, "frame": 16}, "before": "<image>", "end":
    "."}``. What it does not say is as published, or usual for the type.

    Args:
        source: a directory or a hub name of a BLIP-2, an InstructBLIP, a LLaVA, a PaliGemma, an Idefics or an Idefics2;
            or a directory that :func:`fovea.networks.flamingo_files.save_flamingo` wrote.
        device: a torch device.
        dtype: of the weights and of the arithmetic.

    Raises:
        CheckpointError: it cannot be found, or is none of these.
    """
    try:
        kind = _stated_type(source)
        if kind not in PORTS:
            raise CheckpointError(
                f"{source} is a {kind} model, which cannot be asked for boxes",
                f"those that can are {', '.join(sorted(PORTS))}",
            )
        model = load_flamingo(Path(source), dtype) if kind == "flamingo" else _from_transformers(source, dtype)
        return _assemble(model.to(device), source, kind)
    except CheckpointError:
        raise
    except Exception as error:
        # As with every model of transformers: users need one line.
        raise not_loaded(source, error) from error


def _from_transformers(source: str, dtype: torch.dtype) -> nn.Module:
    from transformers import AutoModelForImageTextToText

    model, report = AutoModelForImageTextToText.from_pretrained(
        source, dtype=dtype, use_safetensors=True, output_loading_info=True
    )
    check_complete(source, report["missing_keys"], report["unexpected_keys"])
    if model.config.get_text_config().is_encoder_decoder:
        raise CheckpointError(
            f"the language model of {source} is an encoder and a decoder", "name one with a decoder alone, such as OPT"
        )
    found: nn.Module = model
    return found


def _assemble(model: nn.Module, source: str, kind: str) -> Host:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source)
    reader = AutoTokenizer.from_pretrained(source, subfolder="qformer_tokenizer") if kind == "instructblip" else None
    return Host(
        model,
        tokenizer,
        read_asking(_read_asking_file(source), usual_asking(kind, tokenizer), source),
        name=source,
        fingerprint=lambda: weights_fingerprint(source),
        pixels=hub_pixel_statistics(source),
        reader=reader,
    )


def _stated_type(source: str) -> str:
    """The type that a configuration states; ours are not known to transformers."""
    return str(_read_json(source, "config.json").get("model_type", "nameless"))


def _read_asking_file(source: str) -> dict[str, Any]:
    try:
        return _read_json(source, SETTINGS)
    except OSError:
        # Most models have none.
        return {}


def _read_json(source: str, name: str) -> dict[str, Any]:
    """A file of a model.

    Raises:
        CheckpointError: it is no JSON object.
        OSError: it cannot be had; says why.
    """
    from transformers.utils import cached_file

    text = Path(str(cached_file(source, name))).read_text(encoding="utf-8")
    try:
        data = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{name} of {source} is no JSON", "mend it, or leave it out") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{name} of {source} holds no settings", "mend it, or leave it out")
    return data
