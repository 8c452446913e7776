"""Render the world's glyphs from Noto Color Emoji into the packed atlas that ships with the package."""

import argparse
import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
ASSETS = Path(__file__).parents[1] / "src" / "booth" / "world" / "assets"
SIDE = 84  # longest side of a stored glyph, in pixels
CELL = SIDE + 2
COLUMNS = 8

GLYPHS = {
    "backpack": "🎒", "teddy": "🧸", "bowl": "🥣", "can": "🥫", "candle": "🕯", "cat": "🐈",
    "alarm_clock": "⏰", "mantel_clock": "🕰", "sneaker": "👟", "dog": "🐕", "poodle": "🐩",
    "robot": "🤖", "space_invader": "👾", "hiking_boot": "🥾", "long_boot": "👢", "glasses": "👓",
    "clown": "🤡", "teapot": "🫖", "vase": "🏺", "car": "🚗", "bicycle": "🚲", "guitar": "🎸",
    "umbrella": "☂", "balloon": "🎈", "chair": "🪑", "cup": "☕", "camera": "📷", "key": "🔑",
    "football": "⚽", "basketball": "🏀", "fish": "🐟", "bird": "🐦", "horse": "🐎", "rabbit": "🐇",
    "elephant": "🐘", "butterfly": "🦋", "turtle": "🐢", "apple": "🍎", "mushroom": "🍄",
    "cactus": "🌵", "airplane": "✈", "rocket": "🚀", "sailboat": "⛵", "drum": "🥁", "owl": "🦉",
    "penguin": "🐧", "sauropod": "🦕", "tyrannosaur": "🦖",
}  # fmt: skip


def render_glyph(character: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Draw one emoji, cropped to its alpha and scaled to a longest side of `SIDE` (RGBA)."""
    image = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(image).text((8, 8), character, font=font, embedded_color=True)
    image = image.crop(image.getchannel("A").point(lambda a: 255 * (a > 24)).getbbox())
    scale = SIDE / max(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def main() -> None:
    """Write atlas.png and atlas.json (glyph name -> left, top, right, bottom)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--font", default=FONT)
    font = ImageFont.truetype(parser.parse_args().font, 109)  # the only size the bitmap font has
    rows = -(-len(GLYPHS) // COLUMNS)
    atlas = Image.new("RGBA", (COLUMNS * CELL, rows * CELL))
    boxes = {}
    for index, (name, character) in enumerate(GLYPHS.items()):
        glyph = render_glyph(character, font)
        left, top = index % COLUMNS * CELL + 1, index // COLUMNS * CELL + 1
        atlas.paste(glyph, (left, top))
        boxes[name] = [left, top, left + glyph.width, top + glyph.height]
    ASSETS.mkdir(parents=True, exist_ok=True)
    atlas.save(ASSETS / "atlas.png", optimize=True)
    (ASSETS / "atlas.json").write_text(json.dumps(boxes, indent=1) + "\n")


if __name__ == "__main__":
    main()
