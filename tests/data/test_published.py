"""Parquet, WebDataset's tars and LMDB, made by their own libraries, beside the folder."""

import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile

import numpy as np
import pytest

pytest.importorskip("array_record")
pa = pytest.importorskip("pyarrow")
lmdb = pytest.importorskip("lmdb")
webdataset = pytest.importorskip("webdataset")

import pyarrow.parquet as pq  # noqa: E402

from i2sb_jax.data import MissingPicture, make_source, open_source  # noqa: E402
from i2sb_jax.data.fingerprint import fingerprint, imagenet_labels  # noqa: E402
from i2sb_jax.data.records import write_records  # noqa: E402
from i2sb_jax.data.shards import Columns, distinct_names, shard_files  # noqa: E402
from tests.data.pictures import ListSource, data_config, png, write_pictures  # noqa: E402

COUNT = 50
LABELS = [i % 3 for i in range(COUNT)]
NAMES = [f"{i:03d}.png" for i in range(COUNT)]


def write_parquet(folder, *, split="train", files=2, names=NAMES, rows=7, **columns):
    """As `datasets` writes a set with an Image and a ClassLabel."""
    folder.mkdir(parents=True, exist_ok=True)
    features = {"label": {"names": ["cat", "dog", "eel"], "_type": "ClassLabel"}}
    noted = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    for file in range(files):
        part = range(COUNT * file // files, COUNT * (file + 1) // files)
        table = {
            "image": [{"bytes": png(i), "path": names[i]} for i in part],
            "label": pa.array([LABELS[i] for i in part], pa.int64()),
        }
        table |= {key: [values[i] for i in part] for key, values in columns.items()}
        table = pa.table(table).replace_schema_metadata(noted)
        name = f"{split}-{file:05d}-of-{files:05d}.parquet"
        pq.write_table(table, folder / name, row_group_size=rows)
    return str(folder)


def write_tars(folder, *, split="train", **more):
    folder.mkdir(parents=True, exist_ok=True)
    for file in range(2):
        with webdataset.TarWriter(str(folder / f"{split}-{file:06d}.tar")) as writer:
            for i in range(COUNT * file // 2, COUNT * (file + 1) // 2):
                sample = {"__key__": f"{i:03d}", "png": png(i), "cls": LABELS[i]}
                writer.write(sample | {key: value[i] for key, value in more.items()})
    return str(folder)


def write_lmdb(folder, extra=()):
    with lmdb.open(str(folder), map_size=2**24) as database, database.begin(write=True) as put:
        for i in range(COUNT):
            put.put(NAMES[i].encode(), png(i))
        for key, value in extra:
            put.put(key, value)
    return str(folder)


def everything(source):
    return [source.read(i) for i in range(len(source))]


def pixels(source):
    return [(record.name, record.image) for record in everything(source)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("folder"), COUNT)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    place = tmp_path_factory.mktemp("sets")
    return {
        "parquet": write_parquet(place / "parquet"),
        "webdataset": write_tars(place / "tars"),
        "lmdb": write_lmdb(place / "lmdb"),
    }


@pytest.mark.parametrize("kind", ["parquet", "webdataset", "lmdb"])
def test_the_records_are_those_of_the_folder(tmp_path, run_prepare, kind, folder, sets):
    for name, (source, path) in {"a": ("folder", folder), "b": (kind, sets[kind])}.items():
        arguments = ("--source", source, "--path", path, "--output", tmp_path / name)
        assert run_prepare(*arguments, "--shards", 3, "--workers", 2) == 0
    mine, theirs = (open_source("records", path=str(tmp_path / name)) for name in "ba")
    assert pixels(mine) == pixels(theirs)
    labels = [record.label for record in everything(mine)]
    assert labels == ([-1] * COUNT if kind == "lmdb" else LABELS)
    assert mine.label_names == (("cat", "dog", "eel") if kind == "parquet" else ())
    assert mine.split == ("" if kind == "lmdb" else "train")
    files = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert files == ["index.json", *(f"pictures-{i:05d}-of-00003.array_record" for i in range(3))]


@pytest.mark.parametrize("kind", ["webdataset", "lmdb"])
def test_training_holds_out_what_it_does_of_the_folder(tmp_path, kind, folder, sets):
    sides = []
    for source, path in (("folder", folder), (kind, sets[kind])):
        config = data_config(source=source, path=path)
        sides.append([make_source(config, split=split) for split in ("train", "eval")])
    for mine, theirs in zip(*sides[::-1], strict=True):
        assert len(mine) and pixels(mine) == pixels(theirs)


def test_parquet_is_no_source_of_training():
    with pytest.raises(ValueError, match="i2sb-prepare --source parquet --path somewhere"):
        data_config(source="parquet", path="somewhere")


def test_what_tars_hold_is_listed_once(tmp_path, monkeypatch):
    path = write_tars(tmp_path / "tars")
    first = open_source("webdataset", path=path, index_dir=tmp_path / "index")
    monkeypatch.setattr(tarfile, "open", None)
    again = open_source("webdataset", path=path, index_dir=tmp_path / "index")
    assert everything(first) == everything(again)
    assert fingerprint(first, count=COUNT) == fingerprint(again, count=COUNT)
    (index,) = (tmp_path / "index").iterdir()
    index.write_text("{}")
    with pytest.raises(ValueError, match="delete it to list again"):
        open_source("webdataset", path=path, index_dir=tmp_path / "index")


def test_any_row_of_parquet_in_any_order_and_thread(sets):
    source = open_source("parquet", path=sets["parquet"])
    order = np.random.default_rng(0).permutation(COUNT)
    for index in order:
        assert source.read(index) == (source.read(index)) and source.read(index).image == png(index)
    assert imagenet_labels(source) == [-1] * COUNT  # three classes are not ImageNet's
    assert source.num_classes == 3


def test_large_groups_are_read_a_few_rows_at_a_time(tmp_path):
    source = open_source("parquet", path=write_parquet(tmp_path, files=1, rows=1000))
    source.read(40)
    assert len(source._place.images) < COUNT
    assert source.read(3).image == png(3) and source.read(49).image == png(49)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([None] * COUNT, "train-00001-of-00002/00000003"),
        (["x.png"] * COUNT, "train-00001-of-00002/00000003.png"),
        ([f"{i % 25}.png" for i in range(COUNT)], "train-00001-of-00002/3.png"),
    ],
)
def test_names_that_are_no_names(tmp_path, names, expected):
    source = open_source("parquet", path=write_parquet(tmp_path, names=names))
    assert source.names[28] == expected and len(set(source.names)) == COUNT
    assert source.read(28).name == expected and source.read(28).image == png(28)


def test_columns_of_other_names_and_types(tmp_path):
    table = {"photo": [png(i) for i in range(4)], "kind": pa.array([3, None, 1, 0], pa.int8())}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    columns = Columns(image="photo", label="kind")
    source = open_source("parquet", path=str(tmp_path / "a.parquet"), columns=columns)
    assert [record.label for record in everything(source)] == [3, -1, 1, 0]
    assert source.num_classes is None


def test_rows_without_bytes_are_missing(tmp_path):
    image = pa.array(
        [{"bytes": png(0), "path": "a.png"}, {"bytes": None, "path": "b.png"}, None],
        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
    )
    pq.write_table(pa.table({"image": image}), tmp_path / "a.parquet")
    source = open_source("parquet", path=str(tmp_path))
    assert source.read(0).image == png(0)
    for index in (1, 2):
        with pytest.raises(MissingPicture, match=r"no bytes in image\.bytes"):
            source.read(index)
    assert source.read(0).image == png(0)


def test_paths_alone_are_no_pictures(tmp_path):
    image = pa.array([{"bytes": None, "path": f"/home/me/{i}.png"} for i in range(40)])
    pq.write_table(pa.table({"image": image}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"no bytes of pictures in image\.bytes.*push_to_hub"):
        open_source("parquet", path=str(tmp_path))


def test_a_name_is_not_where_a_picture_was(tmp_path):
    names = [f"/home/me/{i:03d}.png" for i in range(COUNT)]
    assert open_source("parquet", path=write_parquet(tmp_path, names=names)).names == tuple(NAMES)


def test_labels_in_json_and_several_pictures_a_sample(tmp_path):
    more = {"json": [{"label": i + 7, "other": i} for i in range(COUNT)]}
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for i in range(3):
            sample = {"__key__": f"deep/{i}", "left.png": png(i), "right.png": png(i + 9)}
            writer.write(sample | {"json": more["json"][i]})
    with pytest.raises(ValueError, match=r"left\.png, right\.png: name one .* --image-column"):
        open_source("webdataset", path=str(tmp_path))
    for columns, labels in (
        (Columns(image="right.png"), [7, 8, 9]),
        (Columns(image="right.png", label="other"), [0, 1, 2]),
    ):
        source = open_source("webdataset", path=str(tmp_path), columns=columns)
        records = everything(source)
        assert [record.label for record in records] == labels
        assert [record.image for record in records] == [png(i + 9) for i in range(3)]
        assert records[0].name == "deep/0.right.png"
    wrong = Columns(image="right.png", label="none")
    with pytest.raises(ValueError, match=r"--label-column none: the JSON of .* has label, other$"):
        open_source("webdataset", path=str(tmp_path), columns=wrong)


def test_a_label_of_json_goes_before_a_number(tmp_path):
    path = write_tars(tmp_path / "both", json=[{"other": i + 9} for i in range(COUNT)])
    source = open_source("webdataset", path=path, columns=Columns(label="other"))
    assert [record.label for record in everything(source)] == [i + 9 for i in range(COUNT)]
    assert [record.label for record in everything(open_source("webdataset", path=path))] == LABELS
    numbers = write_tars(tmp_path / "numbers")
    with pytest.raises(ValueError, match=r"--label-column other: 000\.png of .* has no JSON"):
        open_source("webdataset", path=numbers, columns=Columns(label="other"))


def tar_of(path, files):
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def test_a_label_that_is_none_is_a_broken_picture(tmp_path):
    path = tar_of(tmp_path / "a.tar", [("0.png", png(0)), ("0.cls", b"cat"), ("1.png", png(1))])
    source = open_source("webdataset", path=path)
    with pytest.raises(MissingPicture, match="its label 'cat' is no whole number"):
        source.read(0)
    assert source.read(1).label == -1


def test_tars_that_are_of_no_use_are_named(tmp_path):
    whole = tar_of(tmp_path / "a.tar", [(f"{i}.png", png(i)) for i in range(3)])
    whole_bytes = pathlib.Path(whole).read_bytes()
    for kept in (2000, 4000):
        (tmp_path / "cut.tar").write_bytes(whole_bytes[:kept])
        with pytest.raises(ValueError, match=r"cut\.tar is cut off, damaged or compressed"):
            open_source("webdataset", path=str(tmp_path / "cut.tar"))
    twice = tar_of(tmp_path / "twice.tar", [("0.png", png(0)), ("0.png", png(1))])
    with pytest.raises(ValueError, match=r"has 0\.png twice"):
        open_source("webdataset", path=twice)
    other = tar_of(tmp_path / "other.tar", [("0.txt", b"no"), ("readme", b"no")])
    with pytest.raises(ValueError, match="has no pictures: its files end in txt"):
        open_source("webdataset", path=other)


def test_values_that_are_no_pictures_are_told(tmp_path, capsys, run_prepare):
    path = write_lmdb(tmp_path / "d", [(b"length", b"50"), (b"zz", b"\x89PNG nothing")])
    assert run_prepare("--source", "lmdb", "--path", path, "--output", tmp_path / "r") == 0
    assert "2 of 52 values are no pictures: length, zz" in capsys.readouterr().err
    keys = tmp_path / "keys.txt"
    keys.write_text("049.png\n007.png\nzz\n")
    source = open_source("lmdb", path=path, columns=Columns(keys=str(keys)))
    assert source.names == ("049.png", "007.png", "zz") and source.read(0).image == png(49)
    arguments = ("--source", "lmdb", "--path", path, "--keys", keys, "--output", tmp_path / "k")
    assert run_prepare(*arguments) == 0
    told = capsys.readouterr()
    assert "zz is written as it is, and cannot be read" in told.err
    assert "3 pictures (1 of them broken)" in told.out


def test_a_list_that_does_not_fit_is_told(tmp_path, sets):
    for text, message in (
        ("000.png\nnone\n", "lacks 1, such as none"),
        ("\n", "has no keys"),
        ("000.png\n000.png", "has a key twice"),
    ):
        (tmp_path / "keys").write_text(text)
        with pytest.raises(ValueError, match=message):
            open_source("lmdb", path=sets["lmdb"], columns=Columns(keys=str(tmp_path / "keys")))
    with pytest.raises(ValueError, match="cannot be read"):
        open_source("lmdb", path=sets["lmdb"], columns=Columns(keys=str(tmp_path / "no")))


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", ["a/train-0.tar", "train_1.tar"]),
        ("validation", ["b-val.tar", "valid.0.tar"]),
        ("val", ["b-val.tar", "valid.0.tar"]),
        ("test", ["test.tar"]),
        ("", ["a/train-0.tar", "b-val.tar", "constraint.tar", "test.tar", "train_1.tar",
              "valid.0.tar"]),
    ],
)  # fmt: skip
def test_splits_by_the_words_of_names(tmp_path, split, expected):
    for name in ("a/train-0", "train_1", "b-val", "valid.0", "test", "constraint"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.tar").write_bytes(b"")
    found = shard_files(tmp_path, suffix=".tar", split=split)
    assert [file.relative_to(tmp_path).as_posix() for file in found] == expected


def test_files_of_no_split_are_all_of_training(tmp_path):
    (tmp_path / "part-0.parquet").write_bytes(b"")
    assert len(shard_files(tmp_path, suffix=".parquet", split="train")) == 1
    with pytest.raises(ValueError, match="no files of split 'test': it has train"):
        shard_files(tmp_path, suffix=".parquet", split="test")


def test_names_are_distinct_only_where_they_are_not(tmp_path):
    places = [(tmp_path / f"s-{i // 2}.x.tar", i % 2) for i in range(4)]
    assert distinct_names(["a", "b", "c", "d"], places) == ("a", "b", "c", "d")
    assert distinct_names(["a", "b", "a", "b"], places) == ("s-0/a", "s-0/b", "s-1/a", "s-1/b")
    numbered = ("s-0/00000000.p", "s-0/00000001.p", "s-1/00000000", "s-1/00000001")
    assert distinct_names(["a.p", "a.p", None, None], places) == numbered


@pytest.mark.parametrize("stop_at", [3, 21, 49])
def test_a_job_that_was_stopped_goes_on_to_the_same(tmp_path, stop_at):
    source = ListSource([png(i) for i in range(COUNT)])
    options = {"num_shards": 7, "report": pytest.fail, "made_of": {"path": "p"}}
    write_records(source, tmp_path / "whole", **options)
    seen = []

    def stop():
        seen.append(1)
        if len(seen) == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_records(source, tmp_path / "r", **options, on_picture=stop)
    with pytest.raises(ValueError, match="not completely"):
        open_source("records", path=str(tmp_path / "r"))
    with pytest.raises(ValueError, match=r"was begun with path='p', not 'q'"):
        write_records(source, tmp_path / "r", **options | {"made_of": {"path": "q"}})
    source.reads.clear()
    assert write_records(source, tmp_path / "r", **options) == 0
    assert len(source.reads) < COUNT or stop_at < 7  # finished shards are not read again
    whole, again = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
        for name in ("whole", "r")
    )
    assert whole == again
    with pytest.raises(ValueError, match="is not empty"):
        write_records(source, tmp_path / "r", **options)


@pytest.mark.parametrize("kind", ["folder", "parquet", "webdataset", "lmdb"])
def test_a_set_whose_job_was_stopped_three_times_is_the_same(tmp_path, kind, folder, sets):
    options = {"num_shards": 7, "report": pytest.fail, "made_of": {"path": "p"}}

    def write(name, *, stop_after=None):
        calls = iter(range(1, COUNT + 1))

        def count():
            if next(calls) == stop_after:
                raise KeyboardInterrupt

        source = open_source(kind, path=(sets | {"folder": folder})[kind])
        return write_records(source, tmp_path / name, **options, on_picture=count)

    assert write("whole") == 0
    for stop_after in (3, 20, 35):  # in the first of seven shards, the third and the fifth
        with pytest.raises(KeyboardInterrupt):
            write("r", stop_after=stop_after)
    assert write("r") == 0
    whole, again = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
        for name in ("whole", "r")
    )
    assert whole == again and len(whole) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--source", "parquet", "--path", "{}/t"), "no pictures in {}/t (suffixes: .parquet)"),
        (("--source", "parquet", "--path", "{}/p", "--split", "test"), "it has train"),
        (("--source", "parquet", "--path", "{}/p", "--image-column", "x"), "it has image, label"),
        (("--source", "parquet", "--path", "{}/p", "--image-column", "label"), "is int64"),
        (("--source", "parquet", "--path", "{}/p", "--label-column", "x"), "no column 'x'"),
        (("--source", "parquet", "--path", "{}/p", "--label-column", "image"), "whole numbers"),
        (("--source", "parquet", "--path", "{}/bad.parquet"), "bad.parquet is no Parquet file"),
        (("--source", "webdataset", "--path", "{}/none"), "none does not exist"),
        (("--source", "webdataset", "--path", "{}/bad.parquet"), "must be a folder of .tar files"),
        (("--source", "lmdb", "--path", "{}/p"), "p is no LMDB"),
        (("--source", "lmdb", "--path", "{}/bad.parquet"), "is no LMDB that can be read"),
        (("--source", "lmdb", "--path", "gs://b/x"), "copy it to a local disk"),
        (("--path", "{}/p", "--keys", "k"), "keys='k' is for lmdb, not source='folder'"),
        (("--source", "lmdb", "--path", "{}/p", "--label-column", "k"), "parquet and webdataset"),
        (("--source", "parquet", "--path", "{}/p", "--workers", "0"), "workers=0"),
    ],
)
def test_it_refuses_in_one_line(tmp_path, capsys, run_prepare, arguments, message):
    write_parquet(tmp_path / "p")
    write_tars(tmp_path / "t")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1" + bytes(9000))
    given = [argument.format(tmp_path) for argument in arguments]
    assert run_prepare(*given, "--output", tmp_path / "out") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message.format(tmp_path) in error
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_pictures(tmp_path):
    peaks = {}
    for count in (10_000, 100_000):
        path = tmp_path / f"{count}.parquet"
        schema = pa.schema([("image", pa.binary()), ("label", pa.int64())])
        with pq.ParquetWriter(path, schema) as writer:
            for first in range(0, count, 10_000):
                rows = range(first, first + 10_000)
                images = [png(i, height=16, width=16) for i in rows]
                writer.write_table(pa.table({"image": images, "label": list(rows)}, schema=schema))
        tool = [sys.executable, "-m", "i2sb_jax.cli.prepare", "--source=parquet"]
        given = (f"--path={path}", f"--output={tmp_path / str(count)}", "--workers=2")
        child = subprocess.Popen(
            [*tool, *given], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        peaks[count] = usage.ru_maxrss * 1024
    # what grows is names, labels and their index, some hundred bytes a picture
    assert peaks[100_000] - peaks[10_000] < 90_000 * 1000, peaks
