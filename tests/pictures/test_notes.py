"""What is not read of many files is said once a kind, with the number of the others at the end."""

from concurrent.futures import ThreadPoolExecutor

from i2sb_jax.pictures import Notes

PAGES = "is read from page 1 of {}, and the others are left out"


def test_once_a_kind_and_how_many_more():
    lines = []
    notes = Notes(lines.append)
    for number in range(5):
        notes.tell(f"{number}.tif", PAGES.format(2 + number))
        notes.tell(f"{number}.tif", PAGES.format(2 + number))  # read again
    notes.tell("a.gif", "holds 9 pictures, of which the first is read")
    first = [
        "note: 0.tif " + PAGES.format(2),
        "note: a.gif holds 9 pictures, of which the first is read",
    ]
    assert lines == first
    notes.finish()
    assert lines == [*first, "note: 4 more as 0.tif, which " + PAGES.format(2)]
    notes.tell("late.tif", PAGES.format(7))
    notes.finish()
    assert len(lines) == 3
    notes.tell("b.jpg", "is CMYK, and becomes sRGB")
    notes.tell("c.jpg", "is CMYK, and becomes sRGB")
    notes.finish()
    assert lines[3:] == [
        "note: b.jpg is CMYK, and becomes sRGB",
        "note: 1 more as b.jpg, which is CMYK, and becomes sRGB",
    ]


def test_many_threads_say_it_once():
    lines = []
    notes = Notes(lines.append)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: notes.tell(str(n), "is CMYK, and becomes sRGB"), range(500)))
    notes.finish()
    assert len(lines) == 2 and lines[1].startswith("note: 499 more as ")
