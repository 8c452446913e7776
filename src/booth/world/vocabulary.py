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
    """A background; `support` says how a thing rests in it: "ground", "flat" (seen from above), "float" or "none"."""

    name: str
    phrases: tuple[str, ...]
    support: str


@dataclass(frozen=True)
class Accessory:
    """Something a live subject wears; the first phrase is DreamBooth's own wording."""

    name: str
    phrases: tuple[str, ...]


def _by_name(items):
    return {item.name: item for item in items}


# The first fifteen are the classes of the DreamBooth data set.
NOUNS: dict[str, Noun] = _by_name(
    [
        Noun("backpack", ("backpack",), synonyms=("rucksack",)),
        Noun("stuffed animal", ("teddy",), synonyms=("teddy bear", "plushie")),
        Noun("bowl", ("bowl",)),
        Noun("can", ("can",), synonyms=("tin can",)),
        Noun("candle", ("candle",)),
        Noun("cat", ("cat",), live=True, synonyms=("kitten",)),
        Noun("clock", ("alarm_clock", "mantel_clock")),
        Noun("sneaker", ("sneaker",), synonyms=("shoe",)),
        Noun("dog", ("dog", "poodle"), live=True, synonyms=("puppy",)),
        Noun("toy", ("robot", "space_invader")),
        Noun("boot", ("hiking_boot", "long_boot")),
        Noun("glasses", ("glasses",), synonyms=("spectacles",)),
        Noun("cartoon", ("clown",), synonyms=("cartoon character",)),
        Noun("teapot", ("teapot",)),
        Noun("vase", ("vase",)),
        Noun("car", ("car",)),
        Noun("bicycle", ("bicycle",), synonyms=("bike",)),
        Noun("guitar", ("guitar",)),
        Noun("umbrella", ("umbrella",)),
        Noun("balloon", ("balloon",)),
        Noun("chair", ("chair",)),
        Noun("cup", ("cup",)),
        Noun("camera", ("camera",)),
        Noun("key", ("key",)),
        Noun("ball", ("football", "basketball")),
        Noun("fish", ("fish",)),
        Noun("bird", ("bird",), live=True),
        Noun("horse", ("horse",), live=True),
        Noun("rabbit", ("rabbit",), live=True, synonyms=("bunny",)),
        Noun("elephant", ("elephant",), live=True),
        Noun("butterfly", ("butterfly",)),
        Noun("turtle", ("turtle",), live=True),
        Noun("apple", ("apple",)),
        Noun("mushroom", ("mushroom",)),
        Noun("cactus", ("cactus",)),
        Noun("airplane", ("airplane",), synonyms=("plane",)),
        Noun("rocket", ("rocket",)),
        Noun("boat", ("sailboat",), synonyms=("sailboat",)),
        Noun("drum", ("drum",)),
        Noun("owl", ("owl",), live=True),
        Noun("penguin", ("penguin",), live=True),
        Noun("dinosaur", ("sauropod", "tyrannosaur"), live=True),
    ]
)

SCENES: dict[str, Scene] = _by_name(
    [
        Scene("studio", ("on a white background",), "ground"),
        Scene("jungle", ("in the jungle",), "ground"),
        Scene("snow", ("in the snow",), "ground"),
        Scene("beach", ("on the beach",), "ground"),
        Scene("cobblestone", ("on a cobblestone street",), "flat"),
        Scene("pink fabric", ("on top of pink fabric", "on pink fabric"), "flat"),
        Scene("wooden floor", ("on top of a wooden floor", "on a wooden floor"), "flat"),
        Scene("city", ("with a city in the background",), "ground"),
        Scene("mountain", ("with a mountain in the background",), "ground"),
        Scene("blue house", ("with a blue house in the background",), "ground"),
        Scene("purple rug", ("on top of a purple rug in a forest", "on a purple rug in a forest"), "ground"),
        Scene("wheat field", ("with a wheat field in the background", "in a wheat field"), "ground"),
        Scene("autumn", ("with a tree and autumn leaves in the background", "among autumn leaves"), "ground"),
        Scene("eiffel tower", ("with the Eiffel Tower in the background",), "ground"),
        Scene("water", ("floating on top of water", "floating on water"), "float"),
        Scene("milk", ("floating in an ocean of milk",), "float"),
        Scene("sunflowers", ("on top of green grass with sunflowers around it",), "ground"),
        Scene("sidewalk", ("on top of the sidewalk in a crowded street", "in a crowded street"), "ground"),
        Scene("dirt road", ("on top of a dirt road", "on a dirt road"), "ground"),
        Scene("white rug", ("on top of a white rug", "on a white rug"), "flat"),
        Scene("meadow", ("on green grass", "in a meadow"), "ground"),
        Scene("night", ("at night", "under a starry sky"), "ground"),
        Scene("desert", ("in the desert",), "ground"),
        Scene("space", ("in space",), "none"),
        Scene("underwater", ("under the sea", "underwater"), "none"),
        Scene("tiles", ("on a checkered floor",), "ground"),
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
