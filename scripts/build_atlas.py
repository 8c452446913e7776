"""Render the world's glyphs from five designers' emoji into the packed atlas that ships with the package.

npm install @iconify-json/noto @iconify-json/noto-v1 @iconify-json/twemoji @iconify-json/emojione @iconify-json/fxemoji
pip install resvg-py
python scripts/build_atlas.py node_modules/@iconify-json
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

from PIL import Image

ASSETS = Path(__file__).parents[1] / "src" / "booth" / "world" / "assets"
SIDE = 160  # longest side of a stored glyph, in pixels
GAP = 1
WIDTH = 2048
SHADES = 4  # step of the stored colours: half the bytes, and nothing to be seen

# shape -> its name in Noto, Noto 1, Twemoji and EmojiOne, and its name in Firefox OS emoji ("" where it has none).
SHAPES: dict[str, tuple[str, str]] = {
    "backpack": ("backpack", "schoolsatchel"),
    "teddy": ("teddy-bear", ""),
    "bowl": ("bowl-with-spoon", ""),
    "soup_bowl": ("steaming-bowl", "steamingbowl"),
    "can": ("canned-food", ""),
    "candle": ("candle", "candle"),
    "cat": ("cat", "catside"),
    "cat_face": ("cat-face", "cat"),
    "alarm_clock": ("alarm-clock", "alarmclock"),
    "mantel_clock": ("mantelpiece-clock", "manltepiececlock"),
    "sneaker": ("running-shoe", "mensrunner"),
    "dog": ("dog", "dogside"),
    "dog_face": ("dog-face", "dog"),
    "poodle": ("poodle", "poodle"),
    "robot": ("robot", ""),
    "space_invader": ("alien-monster", "alienmonster"),
    "hiking_boot": ("hiking-boot", ""),
    "long_boot": ("womans-boot", "boot"),
    "glasses": ("glasses", "glasses"),
    "sunglasses": ("sunglasses", "darksunglasses"),
    "clown": ("clown-face", ""),
    "teapot": ("teapot", ""),
    "vase": ("amphora", ""),
    "car": ("automobile", "automobile"),
    "jeep": ("sport-utility-vehicle", "recreationalvehicle"),
    "bicycle": ("bicycle", "bicycle"),
    "guitar": ("guitar", "guitar"),
    "umbrella": ("umbrella", ""),
    "balloon": ("balloon", "balloon"),
    "chair": ("chair", ""),
    "seat": ("seat", ""),
    "cup": ("hot-beverage", "hotbeverage"),
    "camera": ("camera", "camera"),
    "key": ("key", "key"),
    "old_key": ("old-key", ""),
    "football": ("soccer-ball", "soccerball"),
    "basketball": ("basketball", ""),
    "baseball": ("baseball", "baseball"),
    "fish": ("fish", "fish"),
    "tropical_fish": ("tropical-fish", "tropicalfish"),
    "bird": ("bird", ""),
    "horse": ("horse", "horse"),
    "rabbit": ("rabbit", ""),
    "rabbit_face": ("rabbit-face", "bunny"),
    "elephant": ("elephant", "elephant"),
    "butterfly": ("butterfly", ""),
    "turtle": ("turtle", "turtle"),
    "apple": ("red-apple", "redapple"),
    "mushroom": ("mushroom", "mushroom"),
    "cactus": ("cactus", "cactus"),
    "airplane": ("airplane", "airplane"),
    "rocket": ("rocket", "rocket"),
    "sailboat": ("sailboat", ""),
    "ship": ("ship", ""),
    "drum": ("drum", ""),
    "owl": ("owl", ""),
    "penguin": ("penguin", "penguin"),
    "sauropod": ("sauropod", ""),
    "tyrannosaur": ("t-rex", ""),
    "bear_face": ("bear", "bear"),
    "duck": ("duck", ""),
    "lion_face": ("lion", ""),
    "tiger": ("tiger", "tigerside"),
    "tiger_face": ("tiger-face", "tiger"),
    "cow": ("cow", "cow"),
    "cow_face": ("cow-face", "cowface"),
    "pig": ("pig", "pigside"),
    "pig_face": ("pig-face", "pig"),
    "sheep": ("ewe", ""),
    "monkey": ("monkey", "monkey"),
    "monkey_face": ("monkey-face", "monkeyface"),
    "frog_face": ("frog", "frog"),
    "fox_face": ("fox", ""),
    "panda_face": ("panda", "pandaface"),
    "bee": ("honeybee", "honeybee"),
    "cake": ("birthday-cake", "birthdaycake"),
    "strawberry": ("strawberry", "strawberry"),
    "pumpkin": ("jack-o-lantern", "jackolantern"),
    "rose": ("rose", "rose"),
    "tulip": ("tulip", "tulip"),
    "bus": ("bus", "bus"),
    "train": ("locomotive", "steamlocomotive"),
    "handbag": ("handbag", "handbag"),
    "telephone": ("telephone", "blacktelephone"),
    "television": ("television", "television"),
    "snowman": ("snowman-without-snow", "snowmanwithoutsnow"),
}  # fmt: skip

# Shapes that do not read as their noun, or that bring a piece of scenery with them.
DROPPED = {
    ("seat", "noto"), ("seat", "noto-v1"), ("basketball", "noto-v1"), ("basketball", "emojione"), ("fish", "emojione"),
    ("sailboat", "twemoji"), ("sailboat", "emojione"), ("ship", "twemoji"), ("duck", "emojione"),
    ("cow_face", "fxemoji"),
}  # fmt: skip

DESIGNERS = ("noto", "noto-v1", "twemoji", "emojione", "fxemoji")


def glyph_name(shape: str, designer: str) -> str:
    """Noto's shapes, which were here first, keep their bare names."""
    return shape if designer == "noto" else f"{shape}@{designer}"


def icon_svg(icons: dict, name: str) -> str | None:
    """The SVG of an icon or of the one it is an alias of, or None."""
    name = icons.get("aliases", {}).get(name, {}).get("parent", name)
    icon = icons["icons"].get(name)
    if icon is None:
        return None
    left, top = icon.get("left", 0), icon.get("top", 0)
    width, height = (icon.get(k, icons.get(k, 16)) for k in ("width", "height"))
    space = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {space} viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'


def render_glyph(svg: str) -> Image.Image:
    """Draw one emoji, cropped to its alpha and scaled to a longest side of `SIDE` (RGBA)."""
    import resvg_py

    picture = resvg_py.svg_to_bytes(svg_string=svg, width=4 * SIDE, height=4 * SIDE)
    image = Image.open(io.BytesIO(bytes(picture))).convert("RGBA")
    image = image.crop(image.getchannel("A").point(lambda a: 255 * (a > 24)).getbbox())
    scale = SIDE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    alpha = image.getchannel("A").resize(size, Image.Resampling.LANCZOS)
    flat = image.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    colours = flat.convert("RGB").point(lambda c: min(255, (c + SHADES // 2) // SHADES * SHADES))
    colours.putalpha(alpha.point(lambda a: 0 if a < 8 else 255 if a > 250 else a))
    blank = Image.new("RGBA", size)
    return Image.composite(colours, blank, colours.getchannel("A").point(lambda a: 255 * (a > 0)))


def main() -> None:
    """Write atlas.webp and atlas.json (glyph name -> left, top, right, bottom)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="the folder @iconify-json under node_modules")
    packages = parser.parse_args().packages
    icons = {d: json.loads((packages / d / "icons.json").read_text(encoding="utf-8")) for d in DESIGNERS}
    glyphs: dict[str, Image.Image] = {}
    for shape, (name, firefox) in SHAPES.items():
        for designer in DESIGNERS:
            svg = icon_svg(icons[designer], firefox if designer == "fxemoji" else name)
            if svg is not None and (shape, designer) not in DROPPED:
                glyphs[glyph_name(shape, designer)] = render_glyph(svg)
    pack(glyphs)


def pack(glyphs: dict[str, Image.Image]) -> None:
    """Lay the glyphs out in rows, the tall ones first, and write both files."""
    boxes: dict[str, list[int]] = {}
    x = y = GAP
    row = 0
    for name, glyph in sorted(glyphs.items(), key=lambda item: (-item[1].height, item[0])):
        if x + glyph.width + GAP > WIDTH:
            x, y, row = GAP, y + row + GAP, 0
        boxes[name] = [x, y, x + glyph.width, y + glyph.height]
        x, row = x + glyph.width + GAP, max(row, glyph.height)
    atlas = Image.new("RGBA", (WIDTH, y + row + GAP))
    for name, (left, top, _, _) in boxes.items():
        atlas.paste(glyphs[name], (left, top))
    ASSETS.mkdir(parents=True, exist_ok=True)
    atlas.save(ASSETS / "atlas.webp", lossless=True, quality=100, method=6, exact=True)
    lines = [f" {json.dumps(name)}: {json.dumps(boxes[name])}" for name in glyphs]
    (ASSETS / "atlas.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
