"""Questions and answers as token ids, with the places that pictures take among them.

It holds the tokenizer alone, so that worker processes can prepare what a captioner is to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fovea.errors import CheckpointError, ExpressionError
from fovea.language.box_text import GridCodec, Prompting
from fovea.networks.host_shape import Room
from fovea.networks.peers.peer import VACANT

#: What is not learnt.
UNLEARNT = -100

_NO_ROOM = Room()


@dataclass(frozen=True)
class PictureMarks:
    """How a text says where a picture stands.

    Attributes:
        token: id that stands for a picture, or for each of its places.
        text: the same as it is written; empty where pictures come in front of texts without being named in them.
        places: how often it is repeated for each picture.
    """

    token: int
    text: str
    places: int


@dataclass(frozen=True)
class _Row:
    """Ids of a text, and for each where its characters end; 0 for those without any."""

    ids: list[int]
    ends: list[int]


class HostText:
    """Writes what a captioner reads.

    Args:
        tokenizer: of its language model; a fast one, of transformers.
        marks: how pictures stand in texts.
        reader: the tokenizer of a fusing network that reads the question too, as an InstructBLIP's does.
        name: of the captioner, for messages.

    Raises:
        CheckpointError: the tokenizer cannot tell where tokens end.
    """

    def __init__(self, tokenizer: Any, marks: PictureMarks, reader: Any = None, name: str = "the model") -> None:
        if not tokenizer.is_fast:
            raise CheckpointError(f"{name} has a slow tokenizer", "save it as a tokenizer.json")
        self.tokenizer, self.marks, self.reader, self.name = tokenizer, marks, reader, name
        whole, bare = tokenizer("a")["input_ids"], self._bare("a").ids
        # What the tokenizer puts in front; some put an end behind a text as well, which goes on here.
        self._start: list[int] = whole[: whole.index(bare[0])]
        first = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
        self.pad = next(int(id_) for id_ in first if id_ is not None)

    def ids(self, text: str) -> list[int]:
        """Of a text, as it stands: neither begun nor ended, pictures not repeated."""
        return self._bare(text).ids

    def batch(
        self,
        texts: Sequence[Sequence[str]],
        *,
        room: Room = _NO_ROOM,
        left: bool = False,
        learnt_from: Sequence[int] | None = None,
    ) -> dict[str, np.ndarray]:
        """Prepare texts.

        Args:
            texts: for every row its parts, each with one picture.
            room: what is kept free.
            left: whether the shorter ones are padded in front, to be written on, or behind, to be learnt.
            learnt_from: for every row the character of its last part from which on it is learnt. A token is learnt
                where it ends behind it: a tokenizer may join a blank with what follows.

        Returns:
            ``ids`` ``(B, L)`` int64, with :data:`fovea.networks.peers.peer.VACANT` where room is; ``mask`` likewise, 1
            where something is read; with ``learnt_from`` also ``labels``, the ids that are learnt and -100 for all
            others; with a reader ``read_ids`` and ``read_mask`` ``(B * parts, M)``, without what is learnt.

        Raises:
            ExpressionError: a text names another number of pictures than one.
        """
        rows = [self._row(parts, room) for parts in texts]
        length = max(len(row.ids) for row in rows)
        found = {"ids": np.full((len(rows), length), self.pad), "mask": np.zeros((len(rows), length), np.int64)}
        labels = np.full((len(rows), length), UNLEARNT)
        for number, row in enumerate(rows):
            count = len(row.ids)
            where = slice(length - count, None) if left else slice(count)
            found["ids"][number, where], found["mask"][number, where] = row.ids, 1
            if learnt_from is not None:
                learnt = np.array(row.ends) > learnt_from[number]
                labels[number, where] = np.where(learnt, row.ids, UNLEARNT)
        if learnt_from is not None:
            found["labels"] = labels
        if self.reader is not None:
            # What is learnt is not read: a captioner that is asked has no answer to look at.
            ends = [None] * len(texts) if learnt_from is None else learnt_from
            asked = [part for parts, end in zip(texts, ends, strict=True) for part in (*parts[:-1], parts[-1][:end])]
            read = self.reader(asked, padding=True, return_tensors="np")
            found |= {"read_ids": read["input_ids"], "read_mask": read["attention_mask"]}
        return found

    def answer(self, question: str, new: Sequence[int], end: int) -> str:
        """What was written behind a question: blanks in front stay, which tokens alone do not show.

        The token that ends it belongs to it: where a tokenizer joins a bracket and a full stop, it closes the box.

        Args:
            question: what stood there.
            new: ids that were written.
            end: id of the token that ends it.
        """
        told = list(new[: new.index(end) + 1] if end in new else new)
        before = self.ids(question)[-_KNOWN:]
        return self._decode(before + told)[len(self._decode(before)) :]

    def end_token(self, prompting: Prompting, codec: GridCodec) -> int:
        """The token that ends an answer: the last one of the end that answers are learnt with."""
        box = codec.encode((0, 0, 0, 0))
        return self.ids(prompting.answered("thing", box))[-1]

    def check_end(self, prompting: Prompting, codec: GridCodec) -> None:
        """Whether boxes can be told apart, and none holds the token that ends an answer.

        Raises:
            ValueError: not so.
        """
        labels = codec.labels
        if len(set(labels)) < len(labels):
            raise ValueError(f"{codec.cells} cells in a frame of {codec.frame} have edges that are written alike")
        question = prompting.question("thing")
        whole = self.ids(f"{question} [{','.join(labels)}]{prompting.end}")
        if whole[-1] in whole[len(self.ids(question)) : -1]:
            raise ValueError(f"boxes hold {prompting.end!r} themselves, by which answers end")

    def most_tokens(self, prompting: Prompting, codec: GridCodec) -> int:
        """As many as the longest box has, with its end."""
        question = prompting.question("thing")
        longest = max(codec.labels, key=lambda label: len(self.ids(f",{label},")))
        text = f"{question} [{','.join([longest] * 4)}]{prompting.end}"
        return len(self.ids(text)) - len(self.ids(question))

    def _decode(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _bare(self, text: str) -> _Row:
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return _Row(list(found["input_ids"]), [end for _, end in found["offset_mapping"]])

    def _row(self, parts: Sequence[str], room: Room) -> _Row:
        ids, ends = [], []
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            row = self._with_picture(part, number == 0, Room(room.pictures, room.words if last else 0))
            ids += row.ids
            ends += row.ends if last else [0] * len(row.ids)
        return _Row(ids, ends)

    def _with_picture(self, part: str, first: bool, room: Room) -> _Row:
        """A text, with the places of its picture and the room behind them."""
        row = self._bare(part)
        start = self._start if first else []
        picture = [self.marks.token] * (self.marks.places + room.pictures) + [VACANT] * room.words
        named, wanted = row.ids.count(self.marks.token), int(bool(self.marks.text))
        if named != wanted:
            written = self.tokenizer.convert_ids_to_tokens(self.marks.token)
            raise ExpressionError(
                f"{self.name} is asked of one picture and finds {1 - wanted + named} in {part[:60]!r}",
                f"write {written} {'once in each text, and ' * wanted}in no name",
            )
        if not self.marks.text:
            return _Row([*picture, *start, *row.ids], [0] * (len(picture) + len(start)) + row.ends)
        place = row.ids.index(self.marks.token)
        ids = [*start, *row.ids[:place], *picture, *row.ids[place + 1 :]]
        return _Row(ids, [0] * (len(start) + place + len(picture)) + row.ends[place + 1 :])


# Tokens of a question that are decoded with its answer, to see how they join.
_KNOWN = 8
