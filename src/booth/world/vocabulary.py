"""Every word of the world's captions: nouns, scenes, colours, materials and accessories."""

from dataclasses import dataclass

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Noun:
    """A kind of thing; `glyphs` are its shapes in the atlas, and a `live` one can wear accessories."""

    name: str
    glyphs: tuple[str, ...]
    live: bool = False
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scene:
    """A background; `support` says how a thing rests in it: "ground", "flat" (seen from above), "float" or "none".

    `phrases` say where a thing is, `empty` names the place with nothing in it; feet stand below `foot` (a fraction of
    the height), wherever the scene's horizon falls.
    """

    name: str
    phrases: tuple[str, ...]
    support: str
    empty: tuple[str, ...]
    foot: float = 0.0


@dataclass(frozen=True)
class Accessory:
    """Something a live subject wears; the first phrase is DreamBooth's own wording."""

    name: str
    phrases: tuple[str, ...]


def _by_name(items):
    return {item.name: item for item in items}


DESIGNERS: tuple[str, ...] = ("noto", "noto-v1", "twemoji", "emojione", "fxemoji")
HELD_OUT_DESIGNER = "emojione"  # drew shapes of nearly every noun, and training sees none of them


def designer_of(glyph: str) -> str:
    """Who drew a glyph: what stands behind the @ of its name, and Noto where nothing does."""
    return glyph.partition("@")[2] or "noto"


def _drawn(shape: str, designers: str) -> tuple[str, ...]:
    """A shape's glyphs by the designers whose letters are given: n(oto), v(1), t(wemoji), e(mojione), f(irefox)."""
    names = dict(zip("nvtef", DESIGNERS, strict=True))
    return tuple(shape if d == "n" else f"{shape}@{names[d]}" for d in designers)


def _noun(name: str, *shapes: str, live: bool = False, synonyms: tuple[str, ...] = ()) -> Noun:
    """Each shape as "name:designers", all five where none are named."""
    parts = [shape.partition(":") for shape in shapes]
    return Noun(name, tuple(g for shape, _, who in parts for g in _drawn(shape, who or "nvtef")), live, synonyms)


# The first fifteen are the classes of the DreamBooth data set.
NOUNS: dict[str, Noun] = _by_name(
    [
        _noun("backpack", "backpack", synonyms=("rucksack",)),
        _noun("stuffed animal", "teddy:nt", synonyms=("teddy bear", "plushie")),
        _noun("bowl", "bowl:nt", "soup_bowl"),
        _noun("can", "can:nt", synonyms=("tin can",)),
        _noun("candle", "candle"),
        _noun("cat", "cat", "cat_face", live=True, synonyms=("kitten",)),
        _noun("clock", "alarm_clock", "mantel_clock"),
        _noun("sneaker", "sneaker", synonyms=("shoe",)),
        _noun("dog", "dog", "dog_face", "poodle", live=True, synonyms=("puppy",)),
        _noun("toy", "robot:nvt", "space_invader"),
        _noun("boot", "hiking_boot:nt", "long_boot"),
        _noun("glasses", "glasses", "sunglasses", synonyms=("spectacles",)),
        _noun("cartoon", "clown:nvte", synonyms=("cartoon character",)),
        _noun("teapot", "teapot:nt"),
        _noun("vase", "vase:nvte"),
        _noun("car", "car", "jeep"),
        _noun("bicycle", "bicycle", synonyms=("bike",)),
        _noun("guitar", "guitar"),
        _noun("umbrella", "umbrella:nvte"),
        _noun("balloon", "balloon"),
        _noun("chair", "chair:nt", "seat:te"),
        _noun("cup", "cup"),
        _noun("camera", "camera"),
        _noun("key", "key", "old_key:nvte"),
        _noun("ball", "football", "basketball:nt", "baseball"),
        _noun("fish", "fish:nvtf", "tropical_fish"),
        _noun("bird", "bird:nvte", live=True),
        _noun("horse", "horse", live=True),
        _noun("rabbit", "rabbit:nvte", "rabbit_face", live=True, synonyms=("bunny",)),
        _noun("elephant", "elephant", live=True),
        _noun("butterfly", "butterfly:nvte"),
        _noun("turtle", "turtle", live=True),
        _noun("apple", "apple"),
        _noun("mushroom", "mushroom"),
        _noun("cactus", "cactus"),
        _noun("airplane", "airplane", synonyms=("plane",)),
        _noun("rocket", "rocket"),
        _noun("boat", "sailboat:nv", "ship:nve"),
        _noun("drum", "drum:nvte"),
        _noun("owl", "owl:nvte", live=True),
        _noun("penguin", "penguin", live=True),
        _noun("dinosaur", "sauropod:nt", "tyrannosaur:nt", live=True),
        _noun("bear", "bear_face", live=True),
        _noun("duck", "duck:nvt", live=True),
        _noun("lion", "lion_face:nvte", live=True),
        _noun("tiger", "tiger", "tiger_face", live=True),
        _noun("cow", "cow", "cow_face:nvte", live=True),
        _noun("pig", "pig", "pig_face", live=True, synonyms=("piglet",)),
        _noun("sheep", "sheep:nvte", live=True),
        _noun("monkey", "monkey", "monkey_face", live=True),
        _noun("frog", "frog_face", live=True),
        _noun("fox", "fox_face:nvte", live=True),
        _noun("panda", "panda_face", live=True),
        _noun("bee", "bee"),
        _noun("cake", "cake"),
        _noun("strawberry", "strawberry"),
        _noun("pumpkin", "pumpkin"),
        _noun("flower", "rose", "tulip"),
        _noun("bus", "bus"),
        _noun("train", "train"),
        _noun("handbag", "handbag"),
        _noun("telephone", "telephone", synonyms=("phone",)),
        _noun("television", "television", synonyms=("tv",)),
        _noun("snowman", "snowman"),
    ]
)

SCENES: dict[str, Scene] = _by_name(
    [
        Scene(
            "studio",
            ("on a white background",),
            "ground",
            ("a white background", "a plain white background", "an empty white background"),
            0.62,
        ),
        Scene("jungle", ("in the jungle",), "ground", ("a jungle", "the jungle", "a green jungle"), 0.77),
        Scene("snow", ("in the snow",), "ground", ("a snowy landscape", "snow", "a field of snow"), 0.63),
        Scene("beach", ("on the beach",), "ground", ("a beach", "the beach", "a sandy beach", "an empty beach"), 0.66),
        Scene(
            "cobblestone",
            ("on a cobblestone street",),
            "flat",
            ("a cobblestone street", "cobblestones", "an empty cobblestone street"),
        ),
        Scene(
            "pink fabric",
            ("on top of pink fabric", "on pink fabric"),
            "flat",
            ("pink fabric", "a piece of pink fabric"),
        ),
        Scene(
            "wooden floor",
            ("on top of a wooden floor", "on a wooden floor"),
            "flat",
            ("a wooden floor", "an empty wooden floor"),
        ),
        Scene(
            "city",
            ("with a city in the background",),
            "ground",
            ("a city", "a city street", "the skyline of a city"),
            0.79,
        ),
        Scene(
            "mountain",
            ("with a mountain in the background",),
            "ground",
            ("a mountain", "mountains", "a mountain landscape"),
            0.75,
        ),
        Scene(
            "blue house",
            ("with a blue house in the background",),
            "ground",
            ("a blue house", "the front of a blue house"),
            0.76,
        ),
        Scene(
            "purple rug",
            ("on top of a purple rug in a forest", "on a purple rug in a forest"),
            "ground",
            ("a purple rug in a forest", "a forest with a purple rug"),
            0.74,
        ),
        Scene(
            "wheat field",
            ("with a wheat field in the background", "in a wheat field"),
            "ground",
            ("a wheat field", "a field of wheat"),
            0.6,
        ),
        Scene(
            "autumn",
            ("with a tree and autumn leaves in the background", "among autumn leaves"),
            "ground",
            ("a tree and autumn leaves", "autumn leaves", "a tree in autumn"),
            0.73,
        ),
        Scene(
            "eiffel tower",
            ("with the Eiffel Tower in the background",),
            "ground",
            ("the Eiffel Tower", "a view of the Eiffel Tower"),
            0.79,
        ),
        Scene(
            "water",
            ("floating on top of water", "floating on water"),
            "float",
            ("open water", "water", "the surface of water"),
            0.5,
        ),
        Scene("milk", ("floating in an ocean of milk",), "float", ("an ocean of milk", "milk"), 0.5),
        Scene(
            "sunflowers",
            ("on top of green grass with sunflowers around it",),
            "ground",
            ("green grass with sunflowers", "sunflowers", "a field of sunflowers"),
            0.6,
        ),
        Scene(
            "sidewalk",
            ("on top of the sidewalk in a crowded street", "in a crowded street"),
            "ground",
            ("a crowded street", "the sidewalk in a crowded street"),
            0.78,
        ),
        Scene(
            "dirt road",
            ("on top of a dirt road", "on a dirt road"),
            "ground",
            ("a dirt road", "an empty dirt road"),
            0.6,
        ),
        Scene("white rug", ("on top of a white rug", "on a white rug"), "flat", ("a white rug", "an empty white rug")),
        Scene(
            "meadow", ("on green grass", "in a meadow"), "ground", ("green grass", "a meadow", "a green meadow"), 0.62
        ),
        Scene(
            "night",
            ("at night", "under a starry sky"),
            "ground",
            ("a landscape at night", "a starry sky", "the night"),
            0.76,
        ),
        Scene("desert", ("in the desert",), "ground", ("a desert", "the desert", "an empty desert"), 0.72),
        Scene("space", ("in space",), "none", ("space", "outer space")),
        Scene(
            "underwater",
            ("under the sea", "underwater"),
            "none",
            ("the bottom of the sea", "the sea floor", "an underwater landscape"),
        ),
        Scene("tiles", ("on a checkered floor",), "ground", ("a checkered floor", "an empty checkered floor"), 0.6),
    ]
)

# Each colour is a ramp (shadow, body, light); bodies are vivid, so that they read apart from the muted palettes.
COLOURS: dict[str, tuple[RGB, RGB, RGB]] = {
    "red": ((80, 0, 0), (222, 24, 28), (255, 165, 155)),
    "orange": ((110, 40, 0), (255, 128, 10), (255, 215, 150)),
    "yellow": ((120, 85, 0), (255, 216, 10), (255, 250, 185)),
    "green": ((0, 50, 10), (30, 165, 50), (175, 245, 165)),
    "blue": ((0, 10, 90), (25, 85, 225), (165, 205, 255)),
    "purple": ((45, 0, 75), (135, 40, 190), (225, 175, 250)),
    "pink": ((135, 15, 85), (255, 95, 175), (255, 215, 235)),
    "black": ((0, 0, 0), (34, 34, 38), (135, 135, 142)),
    "white": ((95, 95, 105), (232, 232, 236), (255, 255, 255)),
}

MATERIALS: tuple[str, ...] = ("shiny", "golden", "wooden")

ACCESSORIES: dict[str, Accessory] = _by_name(
    [
        Accessory("red hat", ("wearing a red hat", "with a red hat")),
        Accessory("santa hat", ("wearing a santa hat", "with a santa hat")),
        Accessory("rainbow scarf", ("wearing a rainbow scarf", "with a rainbow scarf")),
        Accessory("black top hat", ("wearing a black top hat", "with a black top hat")),
        Accessory("pink glasses", ("wearing pink glasses", "with pink glasses")),
        Accessory("yellow shirt", ("wearing a yellow shirt", "in a yellow shirt")),
        Accessory("wizard hat", ("in a purple wizard outfit", "wearing a purple wizard hat")),
        Accessory("chef hat", ("in a chef outfit", "wearing a chef hat")),
    ]
)
