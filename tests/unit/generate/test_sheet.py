"""Contact sheets."""

from PIL import Image

from booth.generate.sheet import CELL, GAP, HEADER, LABEL, contact_sheet, stacked

RED, BLUE = (250, 0, 0), (0, 0, 250)


def cell(sheet: Image.Image, row: int, column: int, left: int = 0, top: int = 0) -> tuple[int, ...]:
    x = left + GAP + column * (CELL + GAP) + CELL // 2
    y = top + GAP + row * (CELL + GAP) + CELL // 2
    return sheet.getpixel((x, y))


def test_each_picture_stands_in_its_row_and_column() -> None:
    red, blue = Image.new("RGB", (64, 64), RED), Image.new("RGB", (512, 512), BLUE)
    sheet = contact_sheet([[red, blue], [blue]], ["", ""])
    assert sheet.size == (2 * (CELL + GAP) + GAP, 2 * (CELL + GAP) + GAP)
    assert [cell(sheet, 0, 0), cell(sheet, 0, 1), cell(sheet, 1, 0), cell(sheet, 1, 1)] == [
        RED,
        BLUE,
        BLUE,
        (255, 255, 255),
    ]


def test_names_get_room_of_their_own() -> None:
    red = Image.new("RGB", (64, 64), RED)
    sheet = contact_sheet([[red]], ["a long name of a row that has to be broken"], ["a column"])
    assert sheet.size == (LABEL + CELL + 2 * GAP, HEADER + CELL + 2 * GAP)
    assert cell(sheet, 0, 0, LABEL, HEADER) == RED
    assert sheet.crop((0, 0, LABEL, sheet.height)).getextrema()[0][0] < 128  # ink


def test_a_picture_that_is_not_square_is_shown_whole() -> None:
    sheet = contact_sheet([[Image.new("RGB", (100, 50), RED)]], [""])
    assert cell(sheet, 0, 0) == RED
    assert sheet.getpixel((GAP + CELL // 2, GAP + 5)) == (255, 255, 255)


def test_stacked_sheets_stand_below_one_another() -> None:
    whole = stacked([Image.new("RGB", (30, 10), RED), Image.new("RGB", (20, 5), BLUE)])
    assert whole.size == (30, 15)
    assert [whole.getpixel(at) for at in ((29, 9), (19, 10), (20, 10))] == [RED, BLUE, (255, 255, 255)]
