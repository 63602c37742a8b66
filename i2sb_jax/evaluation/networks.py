"""The networks that metrics look through: their files, checked before anything is computed.

Nothing is downloaded. A file is the published one if its SHA-256 begins as the publishers put it
into its name; ResNet-50, for one, was trained twice, and both fit the network.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from etils import epath

from i2sb_jax import interop
from i2sb_jax.config import EvaluationConfig
from i2sb_jax.evaluation.inception import inception_params
from i2sb_jax.evaluation.lpips import lpips_params
from i2sb_jax.evaluation.resnet import resnet50_params
from i2sb_jax.types import Params

INCEPTION, RESNET50, LPIPS = "inception", "resnet50", "lpips"
_CHUNK = 2**24  # bytes


class WeightFile(NamedTuple):
    """A file of published weights.

    Attributes:
        key: of the configuration's section `evaluation`.
        file: as its publishers call it.
        origin: where it comes from.
        sha256: how its SHA-256 may begin; empty where its publishers tell none.
    """

    key: str
    file: str
    origin: str
    sha256: tuple[str, ...] = ()


_INCEPTION = WeightFile(
    "inception",
    "pt_inception-2015-12-05-6726825d.pth",
    "the release fid_weights of mseitzer/pytorch-fid",
    ("6726825d",),
)
_RESNET50 = WeightFile(
    "resnet50",
    "resnet50-0676ba61.pth",
    "torchvision's ResNet50_Weights.IMAGENET1K_V1",
    ("0676ba61", "19c8e357"),
)
_LPIPS_BACKBONE = WeightFile(
    "lpips_backbone",
    "alexnet-owt-7be5be79.pth or vgg16-397923af.pth",
    "torchvision's AlexNet_Weights or VGG16_Weights.IMAGENET1K_V1",
    ("7be5be79", "4df8aa71", "397923af"),
)
_LPIPS_LINEAR = WeightFile(
    "lpips_linear", "alex.pth or vgg.pth", "lpips/weights/v0.1 of richzhang/PerceptualSimilarity"
)


class Network(NamedTuple):
    """A network that is there.

    Attributes:
        params: of its Flax module.
        sha256: of each of its files, hexadecimal, by key.
    """

    params: Params
    sha256: Mapping[str, str]

    @property
    def version(self) -> str:
        """The text that tells scores by these weights from others."""
        return hashlib.sha256("".join(self.sha256.values()).encode()).hexdigest()[:16]


def load_networks(
    paths: EvaluationConfig, *, any_weights: bool = False
) -> tuple[dict[str, Network], dict[str, str]]:
    """Reads the networks whose files are named.

    Args:
        paths: the section `evaluation` of a configuration.
        any_weights: take files that are not the published ones.

    Returns:
        Name -> network, and name -> why it is left out, in one line.
    """
    wanted: dict[str, tuple[Callable[..., Params], dict[WeightFile, str]]] = {
        INCEPTION: (inception_params, {_INCEPTION: paths.inception}),
        RESNET50: (resnet50_params, {_RESNET50: paths.resnet50}),
        LPIPS: (
            lpips_params,
            {_LPIPS_BACKBONE: paths.lpips_backbone, _LPIPS_LINEAR: paths.lpips_linear},
        ),
    }
    networks, left_out = {}, {}
    for name, (make, files) in wanted.items():
        try:
            networks[name] = _network(make, files, any_weights)
        except (ValueError, OSError) as error:
            left_out[name] = str(error)
    return networks, left_out


def _network(
    make: Callable[..., Params], files: Mapping[WeightFile, str], any_weights: bool
) -> Network:
    read = [_read(file, path, any_weights) for file, path in files.items()]
    try:
        params = make(*(tensors for tensors, _ in read))
    except ValueError as error:
        where = " and ".join(f"evaluation.{file.key}={path!r}" for file, path in files.items())
        wanted = " and ".join(file.file for file in files)
        raise ValueError(f"{where}: no {wanted}: {error}") from None
    return Network(params, {file.key: sha for file, (_, sha) in zip(files, read, strict=True)})


def _read(file: WeightFile, path: str, any_weights: bool) -> tuple[dict[str, np.ndarray], str]:
    """(PyTorch's names -> arrays, SHA-256) of a file; ValueError where it will not do."""
    description = f"{file.file}, from {file.origin}"
    if not path:
        raise ValueError(f"evaluation.{file.key} names no file: {description}")
    where = epath.Path(path).expanduser()
    if not where.is_file():
        raise ValueError(f"evaluation.{file.key}={path!r} is not there: {description}")
    try:
        sha256 = file_sha256(where)
    except OSError as error:
        raise ValueError(f"evaluation.{file.key}={path!r} cannot be read: {error}") from None
    if file.sha256 and not sha256.startswith(file.sha256) and not any_weights:
        raise ValueError(
            f"evaluation.{file.key}={path!r} has the SHA-256 {sha256[:8]}…, not "
            f"{' or '.join(file.sha256)}… of {description}; --any-weights takes it all the same"
        )
    tensors = interop.read_weights_file(where)
    if not isinstance(tensors, dict):
        raise ValueError(f"evaluation.{file.key}={path!r} holds no named tensors: {description}")
    return tensors, sha256


def file_sha256(path: epath.Path) -> str:
    """Returns the SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
