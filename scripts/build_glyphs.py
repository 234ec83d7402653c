"""Render the glyph sheet of the scenes from Noto Color Emoji.

Needs the font (Debian: fonts-noto-color-emoji) and is run by hand, when the table of names changes:

    python scripts/build_glyphs.py /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf

It reads ``names.tsv`` (code point, name, split) beside the sheet, renders every glyph into one cell of
``sheet.webp`` (lossless), and rewrites the table with two measured columns: the frequency group and the natural
colour of the glyph (``-`` where no single colour word surely fits).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fovea.scenes.colours import natural_colour

GLYPHS = Path(__file__).parents[1] / "src" / "fovea" / "scenes" / "glyphs"
CELL = 128
COLUMNS = 20
# The font holds bitmaps of one size only.
FONT_SIZE = 109


def render(font: ImageFont.FreeTypeFont, code_point: str) -> Image.Image:
    """One glyph, cut to its visible pixels, scaled to fit and centred in a transparent cell."""
    canvas = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(canvas).text((8, 8), chr(int(code_point, 16)), font=font, embedded_color=True)
    box = canvas.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox()
    if box is None:
        raise SystemExit(f"the font has no picture for {code_point}")
    glyph = canvas.crop(box)
    scale = (CELL - 4) / max(glyph.size)
    size = (max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale)))
    glyph = glyph.resize(size, Image.Resampling.LANCZOS)
    cell = Image.new("RGBA", (CELL, CELL))
    cell.paste(glyph, ((CELL - size[0]) // 2, (CELL - size[1]) // 2))
    return cell


def frequency(rank: int) -> str:
    """LVIS's three groups, dealt out in a fixed pattern: half frequent, three in ten common, two in ten rare."""
    return "fcfrfcfrfc"[rank % 10]


def main(font_path: str) -> None:
    """Render the sheet and complete the table."""
    font = ImageFont.truetype(font_path, FONT_SIZE)
    rows = [line.split("\t") for line in (GLYPHS / "names.tsv").read_text().splitlines() if line[:1] != "#"]
    sheet = Image.new("RGBA", (COLUMNS * CELL, -(-len(rows) // COLUMNS) * CELL))
    lines = ["# code point\tname\tsplit\tfrequency\tnatural colour"]
    for index, (code_point, name, split, *_) in enumerate(rows):
        cell = render(font, code_point)
        sheet.paste(cell, (index % COLUMNS * CELL, index // COLUMNS * CELL))
        lines.append("\t".join([code_point, name, split, frequency(index), natural_colour(np.asarray(cell)) or "-"]))
    sheet.save(GLYPHS / "sheet.webp", lossless=True, quality=100, method=6)
    (GLYPHS / "names.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
