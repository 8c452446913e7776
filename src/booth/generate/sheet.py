"""Contact sheets: pictures in a grid, rows and columns named."""

from __future__ import annotations

import textwrap

from PIL import Image, ImageDraw, ImageFont

CELL = 192  # pixels; smaller pictures are enlarged to it
GAP = 6
LABEL = 148  # width of the row names
HEADER = 44  # two lines of column names
INK, PAPER = (24, 24, 24), (255, 255, 255)


def contact_sheet(
    rows: list[list[Image.Image]], row_names: list[str], column_names: list[str] | None = None
) -> Image.Image:
    """A picture of all `rows`, which may be of different lengths; with names, the first column holds the rows'."""
    left = LABEL if any(row_names) else 0
    top = HEADER if column_names else 0
    width = left + max(map(len, rows)) * (CELL + GAP) + GAP
    sheet = Image.new("RGB", (width, top + len(rows) * (CELL + GAP) + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for c, name in enumerate(column_names or []):
        x = left + GAP + c * (CELL + GAP) + CELL // 2
        text = textwrap.fill(name, 26, max_lines=2, placeholder=" ...")
        pen.multiline_text((x, top // 2), text, INK, font, anchor="mm", align="center")
    for r, (row, name) in enumerate(zip(rows, row_names, strict=True)):
        y = top + GAP + r * (CELL + GAP)
        if left:
            text = textwrap.fill(name, 17, max_lines=8)
            pen.multiline_text((GAP, y + CELL // 2), text, INK, font, anchor="lm")
        for c, image in enumerate(row):
            sheet.paste(_fitted(image), (left + GAP + c * (CELL + GAP), y))
    return sheet


def stacked(sheets: list[Image.Image]) -> Image.Image:
    """Sheets below one another."""
    whole = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), PAPER)
    y = 0
    for sheet in sheets:
        whole.paste(sheet, (0, y))
        y += sheet.height
    return whole


def _fitted(image: Image.Image) -> Image.Image:
    """A cell's picture: whole, enlarged or reduced to the cell."""
    scale = CELL / max(image.size)
    side = (round(image.width * scale), round(image.height * scale))
    cell = Image.new("RGB", (CELL, CELL), PAPER)
    resized = image.convert("RGB").resize(side, Image.Resampling.LANCZOS)
    cell.paste(resized, ((CELL - side[0]) // 2, (CELL - side[1]) // 2))
    return cell
