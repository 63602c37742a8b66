"""A run goes on with its pictures wherever they lie, and not with others."""

import shutil

import pytest

pytest.importorskip("array_record")

from i2sb_jax import config as config_lib
from i2sb_jax.config import from_config_dict
from i2sb_jax.data import make_sources, open_source
from i2sb_jax.data.records import write_records
from tests.data.pictures import data_config, png, write_pictures
from tests.test_config import values


def started(tmp_path, **changes):
    """A run on a folder of twenty -> how to open it again with changes; names of its training."""
    run = tmp_path / "run"
    config = {"source": "folder", "path": write_pictures(tmp_path / "a", 20)} | changes
    first, _ = make_sources(data_config(**config), run, report=pytest.fail)

    def again(**other):
        return make_sources(data_config(**config | other), run, report=pytest.fail)[0]

    return again, first.names


def test_a_folder_that_moved_or_became_records_is_the_same(tmp_path):
    again, names = started(tmp_path)
    records = tmp_path / "records"
    source = open_source("folder", path=str(tmp_path / "a"))
    write_records(source, records, num_shards=3, report=pytest.fail)
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert again(path=str(tmp_path / "b")).names == names
    assert again(source="records", path=str(records)).names == names


def test_other_pictures_are_refused(tmp_path):
    again, names = started(tmp_path)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / names[3]).unlink()
    with pytest.raises(ValueError, match=rf"{len(names) - 1}, from .* here, {len(names)}, from"):
        again(path=str(tmp_path / "b"))
    (tmp_path / "b" / f"x{names[3]}").write_bytes(png(3))
    with pytest.raises(ValueError, match=r"other pictures .*training\.init_from"):
        again(path=str(tmp_path / "b"))
    (tmp_path / "run" / "index" / "pictures.json").write_text("[]")
    with pytest.raises(ValueError, match=r"pictures\.json does not say .*: delete it"):
        again()


def test_what_is_held_out_elsewhere_may_change(tmp_path):
    eval_path = write_pictures(tmp_path / "e", 3)
    again, names = started(tmp_path, eval_path=eval_path)
    assert again(eval_path=write_pictures(tmp_path / "f", 5)).names == names
    with pytest.raises(ValueError, match="other pictures"):  # a part of them would be held out
        again(eval_path="")


@pytest.mark.parametrize(
    ("there", "here", "is_same"),
    [("folder", "records", True), ("lmdb", "webdataset", True), ("folder", "synthetic", False)],
)
def test_the_kind_of_source_may_change_among_those_with_names(tmp_path, there, here, is_same):
    def config(source):
        path = "" if source == "synthetic" else "somewhere"
        return from_config_dict(values({"data.source": source, "data.path": path}))

    config_lib.save(tmp_path, config(there))
    if is_same:
        config_lib.check_same_run(tmp_path, config(here))
    else:
        with pytest.raises(ValueError, match=r"data\.source is 'folder' there, 'synthetic' here"):
            config_lib.check_same_run(tmp_path, config(here))
