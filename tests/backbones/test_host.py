"""Tiny random captioners of every type, asked where things are."""

from __future__ import annotations

from pathlib import Path

import pytest
from host_kinds import KINDS, coloured_pictures, host_of, spelling_tokenizer
from torch import nn

from fovea.backbones.host import load_host
from fovea.backbones.host_asking import Asking
from fovea.backbones.host_text import HostText, PictureMarks
from fovea.backbones.peers import new_peer
from fovea.errors import CheckpointError, ExpressionError
from fovea.language.box_text import GridCodec, Prompting
from fovea.networks.host_shape import tower_of

PICTURES = coloured_pictures(3)
NAMES = ("cat", "old umbrella", "dog")


@pytest.mark.parametrize("kind", KINDS)
def test_answers_do_not_depend_on_what_else_is_asked(kind: str) -> None:
    host = host_of(kind)
    questions = [host.prompting.question(name) for name in NAMES]
    told = host.answer(PICTURES, questions, beams=2)
    alone = [host.answer(PICTURES[[i]], [questions[i]], beams=2)[0] for i in range(3)]
    assert told == alone
    assert host.answer(PICTURES[::-1], questions, beams=2) != told
    assert all("<" not in answer for answer in told)
    assert (host.size, host.shape.grid, host.shape.width) == (32, (4, 4), 32)
    assert host.answer(PICTURES[:0], []) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_seen_once_whatever_is_asked_of_it(kind: str) -> None:
    """Two questions about one picture and one about another, with two solved examples in front of each."""
    host = host_of(kind)
    seen: list[int] = []
    questions = [host.prompting.question(name) for name in NAMES]
    examples = [(picture, host.prompting.answered("cat", "[0,0,14,14]")) for picture in coloured_pictures(5)[3:]]
    asked = PICTURES[[0, 1, 0]]
    alone = [host.answer(asked[[i]], [questions[i]], beams=2, examples=examples)[0] for i in range(3)]
    embedding = next(module for module in tower_of(host.model).modules() if isinstance(module, nn.Conv2d))
    handle = embedding.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    told = host.answer(asked, questions, beams=2, examples=examples)
    handle.remove()
    assert told == alone
    assert sum(seen) == 4


def test_a_directory_says_how_it_is_asked(tiny_llava_directory: Path, tmp_path: Path) -> None:
    usual = load_host(str(tiny_llava_directory))
    assert usual.codec == GridCodec()
    assert usual.prompting.end == "<end>"
    place = tmp_path / "llava"
    place.mkdir()
    for path in tiny_llava_directory.iterdir():
        (place / path.name).symlink_to(path)
    (place / "fovea.json").write_text('{"codec": {"cells": 8, "frame": 8}, "before": "look <image>", "end": "the"}')
    asked = load_host(str(place))
    assert asked.codec == GridCodec(8, 8)
    assert asked.prompting == Prompting("look <image>", "the")
    # How it is asked is said beside its weights, and makes no other model of it.
    assert asked.fingerprint == usual.fingerprint
    for wrong, says in (
        ("[]", "holds no settings"),
        ("{", "is no JSON"),
        ('{"codec": {"cells": "8", "frame": 8}}', "no cells or no frame"),
        ('{"before": 3}', "do not say how it is asked"),
        ('{"codec": {"cells": 300, "frame": 1}}', "edges that are written alike"),
        ('{"codec": {"cells": 1000000000000, "frame": 1}}', "has 1000000000000 cells per side"),
    ):
        (place / "fovea.json").write_text(wrong)
        with pytest.raises(CheckpointError, match=says):
            load_host(str(place))


def test_what_cannot_be_asked_says_so(tiny_sam_directory: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a sam model"):
        load_host(str(tiny_sam_directory))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_host(str(tmp_path))
    for kind in ("llava", "blip-2"):
        host = host_of(kind)
        with pytest.raises(ExpressionError, match="asked of one picture and finds 2"):
            host.answer(PICTURES[:1], [host.prompting.question("<image>")])


def test_an_end_that_closes_the_box_belongs_to_the_answer() -> None:
    tokenizer, codec = spelling_tokenizer(), GridCodec()
    tokenizer.add_tokens(["]."])
    text, prompting = HostText(tokenizer, PictureMarks(3, "", 1)), Prompting("", ".")
    question, end = prompting.question("cat"), text.end_token(prompting, codec)
    whole = text.ids(prompting.answered("cat", codec.encode((0, 0, 1, 1))))
    answer = text.answer(question, [*whole[len(text.ids(question)) :], text.pad], end)
    assert answer == " [0,0,28,28]."


def test_boxes_that_hold_the_end_of_answers_are_refused() -> None:
    host = host_of("llava")
    for codec, says in ((GridCodec(24, 224), "boxes hold '.' themselves"), (GridCodec(128, 1), "are written alike")):
        with pytest.raises(CheckpointError, match=says):
            host.check_asking(Asking(Prompting(host.prompting.before, "."), codec))
    host.check_asking(Asking(Prompting(host.prompting.before, "."), GridCodec(16, 224)))
    with pytest.raises(CheckpointError, match="are written alike"):
        new_peer("insert", host, cells=30_000)


def test_more_than_a_captioner_reads_is_refused() -> None:
    host = host_of("llava")
    assert host.shape.longest == 512
    question = host.prompting.question("cat")
    # Every character is a token, and so is every place of the picture.
    solved = host.prompting.answered("cat", "[0,0,14,14]")
    host.check_examples([solved] * 2)
    with pytest.raises(ExpressionError, match=r"512 tokens at most.*fewer examples"):
        host.check_examples([solved] * 5)
    with pytest.raises(ExpressionError, match="512 tokens at most"):
        host.answer(PICTURES[:1], [host.prompting.question("cat" * 200)])
    assert host.answer(PICTURES[:1], [question], examples=[(PICTURES[0], solved)] * 2)


def test_what_is_learnt_is_not_read_by_the_fusing_network() -> None:
    host = host_of("instructblip")
    asked = [host.prompting.question(name) for name in ("cat", "old dog")]
    solved = [f"{question} [0,0,14,14]</s>" for question in asked]
    batch = host.text.batch([[text] for text in solved], learnt_from=list(map(len, asked)))
    for ids, mask, question in zip(batch["read_ids"], batch["read_mask"], asked, strict=True):
        assert ids[mask > 0].tolist() == host.tokenizer(question)["input_ids"]


def test_solved_examples_are_read() -> None:
    for kind in ("llava", "blip-2", "flamingo", "idefics", "idefics2"):
        host = host_of(kind)
        question = host.prompting.question("cat")
        solved = [(PICTURES[1], host.prompting.answered("dog", "[0,0,14,14]"))]
        plain, shown = (host.answer(PICTURES[:1], [question], beams=1, examples=each) for each in ([], solved))
        other = [(PICTURES[2], solved[0][1])]
        assert plain != shown
        assert shown == host.answer(PICTURES[:1], [question], beams=1, examples=solved)
        # Idefics and Flamingo look at the last picture alone.
        if kind not in ("idefics", "flamingo"):
            assert shown != host.answer(PICTURES[:1], [question], beams=1, examples=other)
