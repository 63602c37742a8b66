"""Any TFDS builder with an image feature, prepared as array_record.

TFDS prepares TFRecord by default, which can only be read from its start; the order of training
needs any picture at any time.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from i2sb_jax.data import host_only  # noqa: F401
from i2sb_jax.data.record import MissingPicture, Record

# The first of these text features that a builder has names its pictures.
_NAME_FEATURES = ("file_name", "filename", "image/filename", "name", "id")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TfdsSource:
    """Pictures of one split.

    Attributes:
        data: examples by number, their image undecoded.
        prefix: starts the names of pictures whose builder gives them none.
        name_feature: which feature names a picture, if any.
        has_label: whether there is an integer feature "label".
        num_classes: of that label, None where it does not say.
    """

    data: Sequence[Mapping[str, Any]]
    prefix: str
    name_feature: str | None
    has_label: bool
    num_classes: int | None = None

    def __len__(self) -> int:
        return len(self.data)

    @functools.cached_property
    def names(self) -> Sequence[str]:
        return tuple(self.read(index).name for index in range(len(self)))

    def read(self, index: int) -> Record:
        name = f"{self.prefix}-{index:08d}"
        try:
            example = self.data[index]
        except (RuntimeError, ValueError, LookupError) as error:
            raise MissingPicture(name, error) from error
        if self.name_feature is not None:
            name = _text(example[self.name_feature])
        label = int(example["label"]) if self.has_label else -1
        return Record(name=name, image=bytes(example["image"]), label=label)


def tfds_source(name: str, *, split: str, data_dir: str | None = None) -> TfdsSource:
    """Opens one split of a prepared builder.

    Args:
        name: such as "imagenet2012" or "cifar10:3.0.2".
        split: TFDS's notation, such as "train[:95%]".
        data_dir: where builders are prepared; None is TFDS's own place.

    Raises:
        ValueError: no such builder or split, no image feature, or not prepared as array_record;
            one line, with the command that would.
    """
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.registered.DatasetNotFoundError, ValueError, AssertionError) as error:
        line = " ".join(str(error).split())
        raise ValueError(f"data.tfds_name={name!r}: {line}") from None
    features = builder.info.features
    features = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    if not isinstance(features.get("image"), tfds.features.Image):
        raise ValueError(f"data.tfds_name={name!r} has no feature 'image'")
    try:
        data = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    except NotImplementedError:
        raise ValueError(_not_random_access(builder, name, data_dir)) from None
    except (ValueError, KeyError, RuntimeError) as error:
        line = " ".join(str(error).split())
        raise ValueError(f"split {split!r} of data.tfds_name={name!r}: {line}") from None
    return TfdsSource(
        data=data,
        prefix=f"{builder.name}-{split}",
        name_feature=next((key for key in _NAME_FEATURES if _is_text(features.get(key))), None),
        has_label="label" in features and np.issubdtype(features["label"].np_dtype, np.integer),
        num_classes=_num_classes(features.get("label")),
    )


def _num_classes(label: Any) -> int | None:
    return label.num_classes if isinstance(label, tfds.features.ClassLabel) else None


def _not_random_access(builder: tfds.core.DatasetBuilder, name: str, data_dir: str | None) -> str:
    """One line that says how to get this builder as array_record."""
    if builder.is_prepared():
        return (
            f"{builder.data_path} is prepared as {builder.info.file_format.value}, which has no "
            "random access; convert it with: pip install apache-beam mlcroissant && "
            f"tfds convert_format --dataset_version_dir={builder.data_path} "
            "--out_file_format=array_record"
        )
    return (
        f"data.tfds_name={name!r} is not prepared as array_record in {builder.data_path}; run: "
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder({name!r}, data_dir={data_dir!r}, file_format='array_record')"
        '.download_and_prepare()"'
    )


def _is_text(feature: Any) -> bool:
    return isinstance(feature, tfds.features.Text)


def _text(value: Any) -> str:
    value = np.asarray(value).item()
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
