"""Paired data: what goes with what, on which side of the split, and what a run keeps of it."""

import json
import shutil

import numpy as np
import pytest

from i2sb_jax.data import MissingPicture, make_sources, open_source
from i2sb_jax.data.matching import match_names
from i2sb_jax.data.scaling import load_value_ranges
from i2sb_jax.pictures import encode_array
from tests.data.paired import noise, pairs_config, write_arrays, write_noise


def sources(config, workdir, report=None, **options):
    lines = [] if report is None else report
    return make_sources(config, workdir, report=lines.append, **options)


def units(source, index=0):
    """Both sides of a pair of one value each, as 0…255."""
    image = source.read(index).image
    assert image.dtype == np.float32
    return [round(float(image[0, 0, channel]) * 127.5 + 127.5) for channel in (0, -1)]


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_folders_are_matched_by_name_whatever_the_suffix():
    found = match_names(
        ["a.tif", "b/x.1.tif", "b/y.tif", "lone.npy"],
        ["a.png", "b/x.1.npy", "b/x.2.npy", "b/y.TIFF"],
        path="S",
        target_path="T",
    )
    assert found.pairs == [("a.tif", "a.png"), ("b/x.1.tif", "b/x.1.npy"), ("b/y.tif", "b/y.TIFF")]
    assert found.lone_sources == ["lone.npy"] and found.lone_targets == ["b/x.2.npy"]
    assert found.unmatched() == [
        "1 files of S have no target in T and are left out: lone.npy",
        "1 files of T have no source in S and are left out: b/x.2.npy",
    ]


def test_only_the_first_unmatched_names_are_told():
    names = [f"{number:03d}.png" for number in range(50)]
    (line,) = match_names(names, ["000.tif"], path="S", target_path="T").unmatched()
    assert line.startswith("49 files of S") and line.endswith("009.png, 010.png, …")


@pytest.mark.parametrize(
    "names, targets, words",
    [
        (["a.png"], ["b.png"], ("no file of S has its target in T", "a.png in one, b.png")),
        (["a.png", "a.tif"], ["a.png"], ("a.png and a.tif of S", "one pair")),
    ],
)
def test_what_cannot_be_matched(names, targets, words):
    with pytest.raises(ValueError) as error:
        match_names(names, targets, path="S", target_path="T")
    assert all(word in one_line(error) for word in words), error.value


def test_a_pair_is_one_array_the_target_first(tmp_path):
    """Values are told by the file: sources 2n, targets 2n + 1."""
    train, held_out = sources(pairs_config(**write_noise(tmp_path, 12)), tmp_path / "run")
    assert len(train) + len(held_out) == 12 and len(held_out)
    assert set(train.names).isdisjoint(held_out.names)
    for source in (train, held_out):
        for index, name in enumerate(source.names):
            number = int(name[1:3])
            assert source.read(index).name == name
            assert units(source, index) == [2 * number + 1, 2 * number]


@pytest.mark.parametrize("side", ["left", "right"])
def test_side_by_side(tmp_path, side):
    left, right = (np.full((6, 5, 3), value, np.uint8) for value in (10, 20))
    both = np.concatenate([left, right], axis=1)
    path = write_arrays(tmp_path / "ab", {f"{n}_AB.png": both for n in range(3)})
    config = pairs_config(path=path, target_path="", source_side=side)
    train, held_out = sources(config, tmp_path / "run")
    assert train.read(0).image.shape == (6, 5, 6) and len(train) + len(held_out) == 3
    assert units(train) == ([20, 10] if side == "left" else [10, 20])


def test_mixed_formats_types_and_channels(tmp_path):
    names = [f"{n}" for n in range(4)]
    config = pairs_config(
        path=write_arrays(
            tmp_path / "s", {f"{n}.tif": noise(0, channels=2, dtype=np.uint16) for n in names}
        ),
        target_path=write_arrays(
            tmp_path / "t", {f"{n}.npy": noise(1, channels=1) / 255 for n in names}
        ),
        source_channels=2,
        target_channels=1,
        cond_x1=True,
        scaling="fixed",
        source_range=(0.0, 65535.0),
    )
    train, _ = sources(config, tmp_path / "run")
    image = train.read(0).image
    assert image.shape == (20, 24, 3)
    ranges = load_value_ranges(tmp_path / "run")
    assert (ranges.source.suffix, ranges.target.suffix) == (".tif", ".npy")
    assert (ranges.source.dtype, ranges.target.dtype) == ("uint16", "float64")
    back = ranges.source.from_unit(image[..., 1:])
    np.testing.assert_array_equal(back, noise(0, channels=2, dtype=np.uint16))
    np.testing.assert_allclose(image[..., :1], noise(1, channels=1) / 127.5 - 1, atol=1e-6)


def test_a_group_is_never_split(tmp_path):
    folders = write_noise(tmp_path, 40, stem="patient{:02d}")
    for folder in folders.values():  # four fields of view of each of ten patients
        for number, path in enumerate(sorted((tmp_path / folder).iterdir())):
            path.rename(path.with_name(f"patient{number // 4}_fov{number % 4}.png"))
    for pattern in (r"patient\d+", r"^(patient\d+)_fov"):
        config = pairs_config(**folders, group_pattern=pattern)
        train, held_out = sources(config, tmp_path / "run")
        groups = [{name.partition("_")[0] for name in side.names} for side in (train, held_out)]
        assert all(groups) and groups[0].isdisjoint(groups[1])
        assert len(train) + len(held_out) == 40 and len(held_out) % 4 == 0
    # the control: without the pattern patients are torn apart
    sides = sources(pairs_config(**folders), tmp_path / "run")
    groups = [{name.partition("_")[0] for name in side.names} for side in sides]
    assert groups[0] & groups[1]


def eval_folders(tmp_path, stem, **changes):
    there = write_noise(tmp_path / "eval", 2, stem=stem)
    folders = write_noise(tmp_path, 4, stem="patient{:02d}")
    eval_paths = {"eval_path": there["path"], "eval_target_path": there["target_path"]}
    return pairs_config(**folders, **eval_paths, **changes)


def test_a_group_in_both_splits_is_an_error_that_names_it(tmp_path):
    config = eval_folders(tmp_path, "patient03-later-{}", group_pattern=r"^patient\d+")
    with pytest.raises(ValueError) as error:
        sources(config, tmp_path / "run")
    assert "1 groups" in one_line(error) and ": patient03;" in one_line(error)
    assert not (tmp_path / "run").exists()
    train, held_out = sources(  # and others pass
        eval_folders(tmp_path / "b", "patient1{}", group_pattern=r"^patient\d+"), tmp_path / "run"
    )
    assert len(train) == 4 and held_out.names == ("patient10.png", "patient11.png")


def test_pictures_of_another_folder_may_have_the_same_names(tmp_path):
    """As pix2pix numbers each split from 1; it is the folders that may not overlap."""
    config = eval_folders(tmp_path, "patient{:02d}")
    train, held_out = sources(config, tmp_path / "run")
    assert len(train) == 4 and len(held_out) == 2
    inside = pairs_config(path=str(tmp_path), target_path="", eval_path=config.eval_path)
    with pytest.raises(ValueError, match=r"^data.eval_path: .* lies in .*"):
        sources(inside, tmp_path / "other")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"group_pattern": "x"}, ("group_pattern='x'", "does not match 'p00'")),
        ({"group_pattern": "p(q*)"}, ("group_pattern='p(q*)'", "'p00' no group")),
        ({"group_pattern": "p"}, ("all 3 pairs", "group 'p'", "data.eval_path")),
        ({"source_channels": 1}, ("path/p00.png has 3 channels", "data.source_channels=1")),
        ({"target_channels": 1}, ("target_path/p00.png has 3", "data.target_channels=1")),
        ({"target_path": "none"}, ("none does not exist",)),
        ({"path": "none"}, ("none does not exist",)),
        ({"eval_list": "none"}, ("data.eval_list='none'", "No such file")),
    ],
)
def test_what_is_refused_before_anything_is_written(tmp_path, changes, words):
    folders = write_noise(tmp_path, 3)
    if "source_channels" in changes or "target_channels" in changes:
        changes = {**changes, "cond_x1": True}
    with pytest.raises(ValueError) as error:
        sources(pairs_config(**{**folders, **changes}), tmp_path / "run")
    assert all(word in one_line(error) for word in words), error.value
    assert not (tmp_path / "run").exists()


def test_files_of_one_side_are_of_one_type(tmp_path):
    folders = write_noise(tmp_path, 5)
    write_arrays(tmp_path / "path", {"p03.png": noise(0, dtype=np.uint16)})
    with pytest.raises(ValueError, match=r"p03.png holds uint16, and .*p0\d.png uint8: make"):
        sources(pairs_config(**folders), tmp_path / "run")


def test_broken_pairs_are_told_and_left_to_training_and_none_at_all_is_an_error(tmp_path):
    folders = write_noise(tmp_path, 4)
    (tmp_path / "path" / "p00.png").write_bytes(b"broken")
    write_arrays(tmp_path / "target_path", {"p01.png": noise(0, height=9, width=7)})
    told, config = [], pairs_config(**folders, max_unreadable=2)
    train, held_out = sources(config, tmp_path / "run", told)
    assert told == [f"1 of the 4 pairs cannot be read: {tmp_path}/path/p00.png (not a PNG)"]
    reasons = {}
    for source in (train, held_out):
        for index, name in enumerate(source.names):
            try:
                source.read(index)
            except MissingPicture as error:
                reasons[error.name] = str(error)
                assert error.name == name
    assert set(reasons) == {"p00.png", "p01.png"}
    assert reasons["p01.png"] == "the source has 8×8 pixels, the target 7×9"
    for name in train.names[:3]:
        (tmp_path / "path" / name).write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"of the 4 pairs cannot be read: .*max_unreadable=2"):
        sources(config, tmp_path / "third")
    for path in (tmp_path / "path").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"no pair of .*path can be read; the last of them p0"):
        sources(config, tmp_path / "other")


def test_a_file_that_changes_its_kind_later_is_unreadable(tmp_path):
    train, _ = sources(pairs_config(**write_noise(tmp_path, 4)), tmp_path / "run")
    (tmp_path / "path" / train.names[0]).write_bytes(
        encode_array(noise(0, dtype=np.uint16)[:8, :8], suffix=".png")
    )
    with pytest.raises(MissingPicture, match="it is uint16, the others uint8"):
        train.read(0)


def test_an_odd_width_has_no_halves(tmp_path):
    arrays = {f"{n}.png": noise(n, width=24 + (n == 1)) for n in range(3)}
    config = pairs_config(path=write_arrays(tmp_path / "ab", arrays), target_path="")
    sides = sources(config, tmp_path / "run")
    (index, side) = next((s.names.index("1.png"), s) for s in sides if "1.png" in s.names)
    with pytest.raises(MissingPicture, match="width of 25 pixels cannot be halved"):
        side.read(index)


def test_unmatched_names_are_told_at_every_start(tmp_path):
    folders = write_noise(tmp_path, 4)
    (tmp_path / "target_path" / "p02.png").unlink()
    for _ in range(2):
        lines = []
        sources(pairs_config(**folders), tmp_path / "run", lines)
        assert len(lines) == 1 and lines[0].startswith("1 files of") and "p02.png" in lines[0]


def test_percentiles_are_fitted_once_and_on_the_training_side_alone(tmp_path):
    folders = write_noise(tmp_path, 12)
    config = pairs_config(**folders, scaling="percentiles", percentiles=(0.0, 100.0))
    train, held_out = sources(config, tmp_path / "run")
    numbers = [int(name[1:3]) for name in train.names]
    assert train.ranges.source.low == (2 * min(numbers),) * 3
    assert train.ranges.target.high == (2 * max(numbers) + 1,) * 3
    before = (tmp_path / "run" / "value_ranges.json").read_bytes()
    for folder in folders.values():  # everything changes but what was found
        for path in (tmp_path / folder).iterdir():
            write_arrays(path.parent, {path.name: noise(3)})
    again, _ = sources(config, tmp_path / "run")
    assert again.ranges == train.ranges == held_out.ranges
    assert (tmp_path / "run" / "value_ranges.json").read_bytes() == before
    other, _ = sources(config, tmp_path / "other")
    assert other.ranges != train.ranges


def test_ranges_of_another_wish_are_not_taken(tmp_path):
    folders = write_noise(tmp_path, 4)
    sources(pairs_config(**folders), tmp_path / "run")
    config = pairs_config(**folders, scaling="percentiles")
    with pytest.raises(ValueError, match=r"is of dtype, .* asks for percentiles \(0.1, 99.9\)"):
        sources(config, tmp_path / "run")


def test_a_second_start_takes_the_matching_from_its_index(tmp_path, monkeypatch):
    folders = write_noise(tmp_path, 6)
    first = sources(pairs_config(**folders), tmp_path / "run")
    assert len(files_below(tmp_path / "run")) == 2  # the index, the ranges
    monkeypatch.setattr("i2sb_jax.data.pairs.list_images", None)
    again = sources(pairs_config(**folders), tmp_path / "run")
    other = sources(pairs_config(**folders), tmp_path / "run", process_index=1)
    for side, its, others in zip(first, again, other, strict=True):
        assert side.files == its.files == others.files
    (index,) = (tmp_path / "run" / "index").iterdir()
    index.write_text(json.dumps({"pairs": 3}))
    with pytest.raises(ValueError, match="is no index of pairs: delete it"):
        sources(pairs_config(**folders), tmp_path / "run")


def test_other_processes_wait_for_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr("i2sb_jax.data.folder.INDEX_WAIT_SECONDS", 0.1)
    config = pairs_config(**write_noise(tmp_path, 4))
    with pytest.raises(ValueError, match=r"process 0 wrote no .*pairs-"):
        sources(config, tmp_path / "run", process_index=1)
    sources(config, tmp_path / "run")
    sources(config, tmp_path / "run", process_index=1)
    (tmp_path / "run" / "value_ranges.json").unlink()
    with pytest.raises(ValueError, match=r"process 0 wrote no .*value_ranges\.json"):
        sources(config, tmp_path / "run", process_index=1)


def test_a_list_selects_held_out_pairs(tmp_path):
    folders = write_noise(tmp_path, 12)
    _, held_out = sources(pairs_config(**folders), tmp_path / "run")
    (tmp_path / "list").write_text("\n".join(reversed(held_out.names)))
    config = pairs_config(**folders, eval_list=str(tmp_path / "list"))
    _, selected = sources(config, tmp_path / "run")
    assert selected.names == held_out.names[::-1] and len(held_out) > 1
    assert units(selected) == units(held_out, len(held_out) - 1)


def test_folders_may_move(tmp_path):
    folders = write_noise(tmp_path / "a", 6)
    first, _ = sources(pairs_config(**folders), tmp_path / "run")
    image = first.read(0).image
    shutil.move(tmp_path / "a", tmp_path / "b")
    moved = {key: value.replace("/a/", "/b/") for key, value in folders.items()}
    again, _ = sources(pairs_config(**moved), tmp_path / "run")
    assert again.names == first.names
    np.testing.assert_array_equal(again.read(0).image, image)


def test_pairs_are_not_prepared_as_records():
    with pytest.raises(ValueError, match="trained from its own folders"):
        open_source("pairs")
