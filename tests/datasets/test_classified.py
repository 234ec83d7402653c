"""Classes by folder, number or name."""

from __future__ import annotations

from pathlib import Path

import pytest

from fovea.datasets.classified import class_name, read_class_names, sample_class
from fovea.datasets.shards import Sample
from fovea.errors import DataError


def test_names_are_readable() -> None:
    names = {"n1": "goldfish, Carassius auratus", "7": "crane (bird)"}
    assert class_name("n1", names) == "goldfish"
    assert class_name("7", names) == "crane"
    assert class_name("tree_frog", names) == "tree frog"
    for raw in ("8", "-1", "", "()"):
        with pytest.raises(DataError):
            class_name(raw, names)


def test_samples_name_their_class_in_several_ways() -> None:
    for members in (
        {"cls": b"7\n"},
        {"json": b'{"label": 7}'},
        {"json": b'{"class": "7", "label": 1}'},
        {"json": b"7"},
    ):
        assert sample_class(Sample("a", members)) == "7"
    for members in ({}, {"json": b"{}"}, {"json": b"{"}, {"json": b'{"class": []}'}, {"json": b"true"}):
        with pytest.raises(DataError):
            sample_class(Sample("a", members))


def test_files_of_names_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text('{"n1": "goldfish"}')
    assert read_class_names(path) == {"n1": "goldfish"}
    for text in ("[]", "{}", '{"n1": 1}', "{"):
        path.write_text(text)
        with pytest.raises(DataError):
            read_class_names(path)
