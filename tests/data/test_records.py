"""Records, TFDS builders, i2sb-prepare; the same pictures give the same batches anywhere."""

import io
import itertools
import json

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("array_record")
tfds = pytest.importorskip("tensorflow_datasets")

from i2sb_jax.data import MissingPicture, make_source, open_source  # noqa: E402
from i2sb_jax.data.pipeline import Examples, Reading, Share, train_batches  # noqa: E402
from i2sb_jax.data.records import write_records  # noqa: E402
from tests.data.pictures import (  # noqa: E402
    ListSource,
    data_config,
    flat_source,
    png,
    tell_key,
    write_pictures,
)

COUNT = 7


class Tiny(tfds.core.GeneratorBasedBuilder):
    """The pictures of `write_pictures`, in their order."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(num_classes=3),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(COUNT):
            name = f"{i:03d}.png"
            yield i, {"image": io.BytesIO(png(i)), "label": i % 3, "file_name": name}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    monkeypatch.setattr("tensorflow_datasets.core.utils.gcs_utils._is_gcs_disabled", True)


def built(tmp_path, file_format):
    data_dir = str(tmp_path / file_format)
    Tiny(data_dir=data_dir, file_format=file_format).download_and_prepare()
    return data_dir


def everything(source):
    return [source.read(i) for i in range(len(source))]


def test_the_same_pictures_give_the_same_batches_through_all_sources(tmp_path, run_prepare):
    path = write_pictures(tmp_path / "folder", COUNT)
    assert run_prepare("--path", path, "--output", tmp_path / "records", "--shards", 3) == 0
    data_dir = built(tmp_path, "array_record")
    sources = {
        "folder": open_source("folder", path=path, index_dir=tmp_path),
        "records": open_source("records", path=str(tmp_path / "records")),
        "tfds": open_source("tfds", path=data_dir, tfds_name="tiny"),
    }
    config = data_config(crop="window", quarter_turns=True)
    examples = Examples(tell_key, config, 16)
    streams = [train_batches(s, examples, Share(4), seed=3) for s in sources.values()]
    for batches in itertools.islice(zip(*streams, strict=True), 5):
        for field in ("clean", "degraded", "mask", "name"):
            first, *others = (getattr(batch, field) for batch in batches)
            for other in others:
                np.testing.assert_array_equal(first, other)
        assert (batches[1].label == -1).all() and (batches[2].label >= 0).all()


def test_records_keep_bytes_names_labels_and_the_split(tmp_path, run_prepare):
    source = ListSource([png(i) for i in range(40)])
    write_records(source, tmp_path / "r", num_shards=4, report=pytest.fail)
    assert len(list((tmp_path / "r").iterdir())) == 5
    assert everything(open_source("records", path=str(tmp_path / "r"))) == everything(source)

    path = write_pictures(tmp_path / "folder", 40)
    run_prepare("--path", path, "--output", tmp_path / "f")
    for split in ("train", "eval"):
        from_folder = make_source(data_config(source="folder", path=path), split=split)
        config = data_config(source="records", path=str(tmp_path / "f"))
        assert everything(make_source(config, split=split)) == everything(from_folder)


def test_arrays_become_png(tmp_path):
    write_records(flat_source(3), tmp_path / "r", num_shards=1, report=pytest.fail)
    records = open_source("records", path=str(tmp_path / "r"))
    assert records.read(2).image.startswith(b"\x89PNG") and records.read(2).label == 2


def test_missing_files_keep_their_number(tmp_path, capsys, run_prepare):
    path = write_pictures(tmp_path / "p", 3)
    (tmp_path / "p" / "001.png").unlink()
    (tmp_path / "p" / "001.png").symlink_to(tmp_path / "nowhere")
    assert run_prepare("--path", path, "--output", tmp_path / "r") == 0
    assert "001.png is written as an empty picture" in capsys.readouterr().err
    records = everything(open_source("records", path=str(tmp_path / "r")))
    assert [bool(record.image) for record in records] == [True, False, True]
    with pytest.raises(MissingPicture):
        open_source("folder", path=path).read(1)


def test_prepare_from_the_other_sources(tmp_path, run_prepare):
    pytest.importorskip("skimage")
    assert run_prepare("--source", "photos", "--split", "eval", "--output", tmp_path / "a") == 0
    photos = everything(open_source("photos", split="eval"))
    assert everything(open_source("records", path=str(tmp_path / "a"))) == photos
    arguments = ("--source", "records", "--path", tmp_path / "a", "--shards", 2)
    assert run_prepare(*arguments, "--output", tmp_path / "b") == 0
    assert everything(open_source("records", path=str(tmp_path / "b"))) == photos


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--path", "{}/none", "--output", "{}/out"), "none does not exist"),
        (("--path", "{}/empty", "--output", "{}/out"), "no pictures in"),
        (("--output", "{}/out"), "path='' must name a folder"),
        (("--path", "{}/p", "--output", "{}/p"), "is not empty"),
        (("--path", "{}/p", "--output", "{}/p/000.png"), "is not empty"),
        (("--path", "{}/p", "--output", "{}/out", "--shards", "9"), "shards=9 must lie in 1…2"),
        (("--path", "{}/p", "--output", "{}/out", "--shards", "-1"), "shards=-1"),
        (("--source", "tfds", "--output", "{}/out"), "tfds_name=''"),
        (("--source", "photos", "--split", "x", "--output", "{}/out"), "split='x'"),
        (("--source", "photos", "--path", "x", "--output", "{}/out"), "path='x': source='photos'"),
        (("--source", "records", "--path", "{}/p", "--output", "{}/out"), "i2sb-prepare --source"),
    ],
)
def test_prepare_refuses_in_one_line(tmp_path, capsys, run_prepare, arguments, message):
    write_pictures(tmp_path / "p", 2)
    (tmp_path / "empty").mkdir()
    assert run_prepare(*(argument.format(tmp_path) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not (tmp_path / "out").exists()


def test_prepare_refuses_unknown_sources_with_status_2(tmp_path, capsys, run_prepare):
    assert run_prepare("--source", "web", "--output", tmp_path / "out") == 2
    assert "web" in capsys.readouterr().err


def test_prepare_expands_home(tmp_path, monkeypatch, run_prepare):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_pictures(tmp_path / "p", 2)
    assert run_prepare("--path=~/p", "--output=~/r") == 0
    assert len(open_source("records", path=str(tmp_path / "r"))) == 2


def test_unfinished_or_strange_records_are_named(tmp_path):
    path = tmp_path / "r"
    write_records(flat_source(4), path, num_shards=2, report=pytest.fail)
    index = json.loads((path / "index.json").read_text())
    (path / index["shards"][1]["file"]).unlink()
    with pytest.raises(ValueError, match="lacks pictures-00001-of-00002"):
        open_source("records", path=str(path))
    for text in ("{}", "no json", json.dumps({**index, "format": "other"})):
        (path / "index.json").write_text(text)
        with pytest.raises(ValueError, match=r"is no index of i2sb-prepare"):
            open_source("records", path=str(path))
    (path / "index.json").unlink()
    with pytest.raises(ValueError, match="not completely"):
        open_source("records", path=str(path))


def test_damaged_records_are_unreadable_pictures(tmp_path):
    path = tmp_path / "r"
    write_records(ListSource([png(i) for i in range(4)]), path, num_shards=4, report=pytest.fail)
    shard = path / "pictures-00002-of-00004.array_record"
    data = bytearray(shard.read_bytes())
    middle = data.index(png(2)[:60]) + 200
    data[middle : middle + 9] = bytes(9)
    shard.write_bytes(bytes(data))
    source = open_source("records", path=str(path))
    with pytest.raises(MissingPicture) as error:
        source.read(2)
    assert error.value.name == "p2" and "\n" not in str(error.value)
    warnings = []
    examples = Examples(tell_key, data_config(max_unreadable=1), 8)
    reading = Reading(warn=warnings.append)
    stream = train_batches(source, examples, Share(4), seed=0, reading=reading)
    assert b"p2" not in next(stream).name and len(warnings) == 1


def test_mocked_builder():
    config = data_config(source="tfds", tfds_name="cifar10")
    with tfds.testing.mock_data(num_examples=5):
        source = make_source(config, split="train")
        assert len(source) == 5 and 0 <= source.read(0).label < 10
        stream = train_batches(source, Examples(tell_key, config, 32), Share(4), seed=0)
        assert next(stream).clean.shape == (4, 32, 32, 3)


def test_builder_as_array_record(tmp_path):
    config = data_config(source="tfds", tfds_name="tiny", path=built(tmp_path, "array_record"))
    source = make_source(config, split="train")
    want = [(f"{i:03d}.png", png(i), i % 3) for i in range(COUNT)]
    assert [(r.name, r.image, r.label) for r in everything(source)] == want
    with pytest.raises(ValueError, match=r"split 'test' of data\.tfds_name='tiny'"):
        make_source(config, split="eval")


def test_builder_as_tfrecord_gets_the_conversion_command(tmp_path):
    config = data_config(source="tfds", tfds_name="tiny", path=built(tmp_path, "tfrecord"))
    with pytest.raises(ValueError, match="tfds convert_format --dataset_version_dir=") as error:
        make_source(config, split="train")
    assert "--out_file_format=array_record" in str(error.value)
    assert f"{config.path}/tiny/1.0.0" in str(error.value) and "\n" not in str(error.value)


def test_unprepared_unknown_and_unsplit_builders(tmp_path):
    config = data_config(source="tfds", tfds_name="cifar10", path=str(tmp_path))
    with pytest.raises(
        ValueError, match=r"file_format='array_record'\)\.download_and_prepare"
    ) as e:
        make_source(config, split="train")
    assert "\n" not in str(e.value)
    with pytest.raises(ValueError, match=r"data\.tfds_name='no_such_builder'") as e:
        open_source("tfds", path=str(tmp_path), tfds_name="no_such_builder")
    assert "\n" not in str(e.value)
    same = data_config(source="tfds", tfds_name="cifar10", tfds_eval_split="train")
    with pytest.raises(ValueError, match=r"must differ from data\.tfds_split"):
        make_source(same, split="train")
