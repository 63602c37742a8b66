"""Lists of evaluation pictures: which, in which order, under names of other disks."""

import pytest

from i2sb_jax.data import make_source
from i2sb_jax.data.name_list import Entry, listed, read_name_list
from i2sb_jax.data.record import Subset
from tests.data.pictures import data_config, png


class Named:
    """A source of names alone."""

    def __init__(self, *names):
        self.names = names


VAL = Named(*(f"n0144{i % 3}/ILSVRC2012_val_{i:08d}.JPEG" for i in range(5)))
FLAT = Named(*(f"ILSVRC2012_val_{i:08d}.png" for i in range(5)))


def read(tmp_path, text):
    (tmp_path / "list.txt").write_text(text)
    return read_name_list(tmp_path / "list.txt")


def test_lines_have_labels_or_none(tmp_path):
    text = "ILSVRC2012_val_00000001.JPEG 65\n\nb c.png\t-1 \r\nn01/d.JPEG\n  patch 7.png\n"
    assert read(tmp_path, text) == [
        Entry("ILSVRC2012_val_00000001.JPEG", 65),
        Entry("b c.png", -1),
        Entry("n01/d.JPEG", None),
        Entry("patch 7.png", None),
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-8"])
def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path, encoding):
    """As Windows' editors and shells write lists."""
    mark = "\ufeff" if encoding.endswith("e") else ""
    (tmp_path / "list.txt").write_bytes((mark + "Bäume 1.png 3\r\nb.png\r\n").encode(encoding))
    assert read_name_list(tmp_path / "list.txt") == [Entry("Bäume 1.png", 3), Entry("b.png", None)]


@pytest.mark.parametrize("source", [VAL, FLAT])
@pytest.mark.parametrize(
    "names",
    [
        ("ILSVRC2012_val_00000003.JPEG", "ILSVRC2012_val_00000001.JPEG"),
        ("n01449/ILSVRC2012_val_00000003.JPEG", "n01441/ILSVRC2012_val_00000001.JPEG"),
        ("val/ILSVRC2012_val_00000003", "ILSVRC2012_val_00000001.png"),
    ],
)
def test_the_list_selects_and_orders_whatever_its_folders_and_suffixes(source, names):
    found = listed(source, [Entry(name, 4) for name in names], origin="list")
    assert list(found.indices) == [3, 1] and list(found.labels) == [4, 4]
    assert found.names == (source.names[3], source.names[1])


def test_the_surest_match_wins():
    source = Named("a/x.png", "b/x.png", "x.png", "a/y.png", "b/y.jpg", "p.1/q.12", "p.1/q.13")
    entries = [Entry(name, None) for name in ("x.png", "b/x.png", "b/y.png", "q.13")]
    assert list(listed(source, entries, origin="list").indices) == [2, 1, 4, 6]


@pytest.mark.parametrize(
    "names, words",
    [
        (["a", "b", "c", "d"], ("4 of the 4 names", "'list'", "are not among", "a, b, c, …")),
        (["00000001"], ("1 of the 1 names", "00000001")),
        ([VAL.names[2], FLAT.names[2]], ("names pictures twice", FLAT.names[2])),
    ],
)
def test_a_list_that_does_not_fit(names, words):
    with pytest.raises(ValueError) as error:
        listed(VAL, [Entry(name, None) for name in names], origin="list")
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


def test_a_name_that_fits_several():
    with pytest.raises(ValueError, match=r"1 of the 1 names .* fit several of .*: z/x\.png"):
        listed(Named("a/x.png", "b/x.png"), [Entry("z/x.png", None)], origin="list")


@pytest.mark.parametrize("data, words", [(b"", "names no picture"), (b"\xff\xfe\xfa", "no text")])
def test_a_list_that_is_none(tmp_path, data, words):
    (tmp_path / "list.txt").write_bytes(data)
    with pytest.raises(ValueError, match=words):
        read_name_list(tmp_path / "list.txt")
    with pytest.raises(ValueError, match=r"none' cannot be read: No such file"):
        read_name_list(tmp_path / "none")


def folder_config(tmp_path, lines, **changes):
    for name in ("train/a.png", "eval/c.png", "eval/sub/b.png", "eval/d.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(ord(path.stem)))
    (tmp_path / "list.txt").write_text("\n".join(lines))
    folders = {"path": str(tmp_path / "train"), "eval_path": str(tmp_path / "eval")}
    more = {"source": "folder", "eval_list": str(tmp_path / "list.txt")}
    return data_config(**folders, **more, **changes)


def test_a_folder_shows_what_the_list_names(tmp_path):
    config = folder_config(tmp_path, ["d.JPEG 3", "b.JPEG"])
    source = make_source(config, split="eval")
    records = [source.read(index) for index in range(len(source))]
    assert [(record.name, record.label) for record in records] == [("d.png", 3), ("sub/b.png", -1)]
    assert records[0].image == png(ord("d"))
    assert make_source(config, split="train").names == ("a.png",)


def test_a_training_picture_is_not_evaluated(tmp_path):
    with pytest.raises(ValueError, match=r"1 of the 2 names .* held out for evaluation: a.png"):
        make_source(folder_config(tmp_path, ["a.png", "b.png"]), split="eval")


def test_a_part_of_a_source_has_names():
    assert Subset(source=VAL, indices=[4, 0]).names == (VAL.names[4], VAL.names[0])
