"""From a configuration to its source of pictures.

Only `records` needs array_record, `tfds` TensorFlow Datasets, `parquet` pyarrow and `lmdb` its
library; each is imported where it is asked for, so photographs, folders, tars and pairs need none.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from etils import epath

from i2sb_jax import files
from i2sb_jax.config import PAIRS, WITH_NAMES, DataConfig
from i2sb_jax.data.folder import folder_source, index_name, read_index
from i2sb_jax.data.name_list import listed, read_name_list
from i2sb_jax.data.photos import photos_source
from i2sb_jax.data.record import Source, Subset, held_out_of, hold_out
from i2sb_jax.data.shards import USUAL, Columns
from i2sb_jax.data.synthetic import synthetic_source
from i2sb_jax.data.webdataset_source import webdataset_source

PREPARED = (
    "photos", "folder", "records", "tfds", "parquet", "webdataset", "lmdb", "synthetic"
)  # fmt: skip
_PICTURES = "pictures.json"  # in a run's folder of listings
# what a path must name
_PLACES = {
    "folder": "a folder of pictures",
    "records": "a directory that i2sb-prepare wrote",
    "parquet": "a Parquet file or a folder of them",
    "webdataset": "a tar or a folder of them",
    "lmdb": "the folder of a database",
}
_COLUMNS = {
    "image": ("parquet", "webdataset"),
    "label": ("parquet", "webdataset"),
    "keys": ("lmdb",),
}


def make_sources(
    config: DataConfig,
    workdir: epath.PathLike,
    *,
    process_index: int = 0,
    report: Callable[[str], None],
) -> tuple[Source, Source]:
    """Opens a run's pictures for training and for evaluation.

    Args:
        config: the run's data section.
        workdir: the run's folder, where listings of folders are kept, and of pairs what their
            values become; process 0 writes what is missing.
        process_index: of this process.
        report: told, on process 0, what of the folders is left out, or has no partner.

    Raises:
        ValueError: something is missing or empty, or the run began with other pictures; one line
            that names it.
    """
    if config.source == PAIRS:
        from i2sb_jax.data.pairs import make_pairs

        return make_pairs(config, workdir, process_index=process_index, report=report)
    if config.source == "folder" and config.eval_path:
        files.require_apart(config.path, config.eval_path, what="data.eval_path")
    index = epath.Path(workdir) / "index"
    if not index.exists():  # both sides must have pictures before the listing of one is written
        require_pictures(config)
    where = {"index_dir": index, "process_index": process_index, "tell": report}
    train, held_out = (make_source(config, split=split, **where) for split in ("train", "eval"))
    if config.source in WITH_NAMES:
        _check_same_pictures(config, train, index / _PICTURES, may_write=process_index == 0)
    return train, held_out


def _check_same_pictures(
    config: DataConfig, train: Source, file: epath.Path, *, may_write: bool
) -> None:
    """Notes what a run is trained on, or finds it as noted; the order of training rests on it.

    Wherever the pictures lie, and in what kind of source, their names in order tell them.

    Raises:
        ValueError: these are others.
    """
    names = train.names
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    here = {"count": len(names), "first": names[0], "last": names[-1], "names": digest[:16]}
    if not file.exists():
        if may_write:
            files.write_atomically(file, json.dumps(here).encode())
        return
    try:
        there = files.read_json(file)
        is_list = there.keys() == here.keys()
    except (ValueError, AttributeError):
        is_list = False
    if not is_list:
        raise ValueError(f"{file} does not say what the run is trained on: delete it")
    if there != here:
        theirs, ours = (
            f"{one['count']}, from {one['first']} to {one['last']}" for one in (there, here)
        )
        what = ours if ours != theirs else f"{ours}, but not the same between"
        raise ValueError(
            f"data.path={config.path!r} has other pictures for training than those that the run "
            f"began with: {what} here, {theirs} there; name the same ones, or begin another run "
            "with training.init_from"
        )


def held_out_source(
    config: DataConfig,
    workdir: epath.PathLike,
    *,
    moved: DataConfig | None = None,
    report: Callable[[str], None],
) -> Source:
    """Opens a run's pictures for evaluation alone; nothing is written.

    Args:
        config: the run's data section.
        workdir: the run's folder, or a model folder: a listing that is there counts.
        moved: the same with the paths where these data lie now; training pictures may be missing
            there. What is held out is told by names, as the run did.
        report: as for `make_sources`.

    Raises:
        ValueError: something is missing or empty, or pairs without the run's value ranges; one
            line that names it.
    """
    here = config if moved is None else moved
    if config.source == PAIRS:
        from i2sb_jax.data.pairs import held_out_pairs

        return held_out_pairs(config, workdir, moved=here, report=report)
    index = epath.Path(workdir) / "index"
    has_listing = config.source == "folder" and (index / index_name(config.path)).exists()
    if moved is None or config.eval_path or not has_listing:
        return make_source(here, split="eval", index_dir=index, read_only=True)
    # a picture's side may depend on the others, of which some are gone
    names = read_index(index / index_name(config.path))["names"]
    held_out = hold_out(names, config.eval_fraction, split="eval", origin=config.path)
    source = held_out_of(folder_source(here.path), {names[i] for i in held_out}, origin=here.path)
    if not here.eval_list:
        return source
    return listed(source, read_name_list(here.eval_list), origin=here.eval_list)


def make_source(config: DataConfig, *, split: str, **listing: Any) -> Source:
    """Opens the pictures for training or for evaluation; no picture is in both.

    Folders, records, tars and databases hold out `eval_fraction` of their pictures by name, unless
    `eval_path` names others. TFDS has its own splits, photographs and synthetic pictures a fixed
    choice. Of those for evaluation, `eval_list` selects and orders.

    Args:
        config: the run's data section; of pairs, use `make_sources`.
        split: "train" or "eval".
        **listing: options of `folder_source`; other kinds list nothing.

    Raises:
        ValueError: something is missing or empty; one line that names it.
    """
    if split not in ("train", "eval"):
        raise ValueError(f"split={split!r} must be 'train' or 'eval'")
    path, source_split = config.path, split
    wanted = read_name_list(config.eval_list) if split == "eval" and config.eval_list else None
    holds_out = config.source in WITH_NAMES
    if holds_out and config.eval_path:
        holds_out = False
        path = config.eval_path if split == "eval" else config.path
    if config.source == "tfds":
        if config.tfds_split == config.tfds_eval_split:
            raise ValueError(
                f"data.tfds_eval_split={config.tfds_eval_split!r} must differ from "
                "data.tfds_split, e.g. 'train[:95%]' and 'train[95%:]'"
            )
        source_split = config.tfds_split if split == "train" else config.tfds_eval_split
    if config.source == "webdataset":  # what is held out lies among the others, or apart
        source_split = "" if path != config.path else "train"
    source = open_source(
        config.source, path=path, split=source_split, tfds_name=config.tfds_name, **listing
    )
    if holds_out:
        names = getattr(source, "held_out_by", source.names)
        side = hold_out(names, config.eval_fraction, split=split, origin=path)
        source = Subset(source=source, indices=side)
    return source if wanted is None else listed(source, wanted, origin=config.eval_list)


def require_pictures(config: DataConfig) -> None:
    """Raises ValueError, in one line, where a folder has too few pictures for its side.

    Looks for one picture, or for two where some are held out, and lists nothing.
    """
    if config.source != "folder":
        return
    files.require_pictures(config.path, at_least=1 if config.eval_path else 2)
    if config.eval_path:
        files.require_pictures(config.eval_path)


def open_source(
    kind: str,
    *,
    path: str = "",
    split: str = "train",
    tfds_name: str = "",
    columns: Columns = USUAL,
    **listing: Any,
) -> Source:
    """Opens a source whole, with nothing held out.

    Args:
        kind: one of `PREPARED`.
        path: of the folder, the records, the files or the database; TFDS's data_dir.
        split: for photos and synthetic "train" or "eval", for tfds any split, for parquet and
            webdataset what their files are called by; the others have none.
        tfds_name: the builder.
        columns: what is taken of parquet, webdataset and lmdb.
        **listing: options of `folder_source`, which keep what folders and tars hold.

    Raises:
        ValueError: something is missing, empty or of no use; one line that names it.
    """
    if path and kind in ("photos", "synthetic"):
        raise ValueError(
            f"path={path!r}: source={kind!r} brings its own pictures; use source='folder', or "
            "leave it ''"
        )
    _check_columns(kind, columns)
    if kind in _PLACES:
        _require("path", path, _PLACES[kind])
    match kind:
        case "photos":
            return photos_source(split=split)
        case "folder":
            return folder_source(path, **listing)
        case "records":
            from i2sb_jax.data.records import records_source

            return records_source(path)
        case "tfds":
            _require("tfds_name", tfds_name, "a builder, e.g. imagenet2012")
            from i2sb_jax.data.tfds_source import tfds_source

            return tfds_source(tfds_name, split=split, data_dir=path or None)
        case "parquet":
            from i2sb_jax.data.parquet_source import parquet_source

            return parquet_source(path, split=split, columns=columns)
        case "webdataset":
            listing.pop("tell", None)
            return webdataset_source(path, split=split, columns=columns, **listing)
        case "lmdb":
            from i2sb_jax.data.lmdb_source import lmdb_source

            return lmdb_source(path, columns=columns, tell=listing.get("tell"))
        case "synthetic":
            return synthetic_source(split=split)
        case "pairs":
            raise ValueError("source='pairs' is trained from its own folders, not prepared")
        case _:
            raise ValueError(f"source={kind!r} must be one of {', '.join(PREPARED)}")


def _check_columns(kind: str, columns: Columns) -> None:
    """Raises ValueError, in one line, where a source has no use for what is named."""
    for key, value in columns._asdict().items():
        if value and kind not in _COLUMNS[key]:
            raise ValueError(
                f"{key}={value!r} is for {' and '.join(_COLUMNS[key])}, not source={kind!r}"
            )


def _require(key: str, value: str, what: str) -> None:
    if not value:
        raise ValueError(f"{key}='' must name {what}")
