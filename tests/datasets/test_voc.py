"""VOC's files: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fovea.datasets.voc import read_voc
from fovea.errors import DataError

PART = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"


def thing(name: str, *box: object, difficult: int = 0, more: str = "") -> str:
    corners = zip(("xmax", "xmin", "ymax", "ymin"), (box[2], box[0], box[3], box[1]), strict=True)
    inner = "".join(f"<{corner}>{value}</{corner}>" for corner, value in corners)
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{inner}</bndbox>{more}</object>"


def document(*things: str, width: object = 500, before: str = "") -> str:
    size = f"<size><width>{width}</width><height>375</height><depth>3</depth></size>"
    return f"{before}<annotation><filename>x.jpg</filename>{size}{''.join(things)}</annotation>"


def write(directory: Path, **documents: str) -> Path:
    home = directory / "VOC2007"
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (home / folder).mkdir(parents=True)
    (home / "ImageSets" / "Main" / "test.txt").write_text("\n".join(documents) + "\n")
    (home / "ImageSets" / "Main" / "dog_test.txt").write_text("")
    for key, text in documents.items():
        (home / "Annotations" / f"{key}.xml").write_text(text)
    return directory


def test_things_are_read_as_written(tmp_path: Path) -> None:
    first = document(thing("dog", 48, 240, "195.5", 371, more=PART), thing("tvmonitor", 1, 1, 500, 375, difficult=1))
    write(tmp_path, b=first, a=document())
    split = read_voc(tmp_path)
    assert [(picture.key, picture.size) for picture in split.pictures] == [("b", (500, 375)), ("a", (500, 375))]
    dog, monitor = split.pictures[0].objects
    assert (dog.name, dog.box) == ("dog", (48, 240, 195.5, 371))
    assert monitor.name == "tvmonitor"
    assert not split.pictures[1].objects
    assert read_voc(tmp_path / "VOC2007").fingerprint == split.fingerprint
    with pytest.raises(DataError, match=r"no picture 'b\.jpg'"):
        split.path(split.pictures[0])
    (tmp_path / "VOC2007" / "JPEGImages" / "b.jpg").touch()
    assert split.path(split.pictures[0]).parent.name == "JPEGImages"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (document(before='<!DOCTYPE x [<!ENTITY e "dog">]>'), "document type"),
        (document(before="<!DOCTYPE x SYSTEM 'file:///etc/hostname'>"), "document type"),
        (document(thing("dog", 1, 1, "nan", 4)), "not a number"),
        (document(thing("dog", 1, 1, "wide", 4)), "could not convert"),
        (document(thing("", 1, 1, 4, 4)), "lacks name"),
        (document(width=0), "no whole numbers"),
        (document()[:-5], "no element found|unclosed|not well-formed"),
        ("x" * 2_000_000, "more than"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"(?s)a\.xml is no annotation of VOC: .*({message})"):
        read_voc(write(tmp_path, a=text))


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folders Annotations and ImageSets"):
        read_voc(tmp_path)
    write(tmp_path, a=document())
    with pytest.raises(DataError, match=r"no split 'val'; .* there are: test"):
        read_voc(tmp_path, "val")
    # Lists name files in the folder of annotations, wherever they point.
    listed = tmp_path / "VOC2007" / "ImageSets" / "Main" / "test.txt"
    listed.write_text("../../secret\n")
    (tmp_path / "secret.xml").write_text(document())
    with pytest.raises(DataError, match=r"Annotations.secret\.xml cannot be read"):
        read_voc(tmp_path)
