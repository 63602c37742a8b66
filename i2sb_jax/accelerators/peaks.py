"""Peak rates of bfloat16 products, as the makers of devices state them.

Of dense matrices, summed in float32, at the clock that the maker assumes; NVIDIA states the rate of
sparse matrices for most of its GPUs, which is halved here. A device that is not listed has no peak:
nothing is guessed from its name. Names are those that JAX gives (`jax.Device.device_kind`).
"""

from typing import NamedTuple

_V2 = "Cloud TPU documentation, system architecture of TPU v2: 45 a chip, a device is half of one"
_V3 = "Cloud TPU documentation, TPU v3: 123 a chip, a device is half of one"
_V4 = "Cloud TPU documentation, TPU v4: 275 a chip"
_V5E = "Cloud TPU documentation, TPU v5e: 197 a chip"
_V5P = "Cloud TPU documentation, TPU v5p: 459 a chip"
_V6E = "Cloud TPU documentation, TPU v6e: 918 a chip"
_TPU7X = "Cloud TPU documentation, TPU7x: 2307 a chip, a device is half of one"
_A100 = "NVIDIA A100 data sheet"
_H100 = "NVIDIA H100 architecture white paper"
_NVL = "NVIDIA H200 data sheet, 1671 with sparsity"
_AMPERE = "NVIDIA Ampere GA102 architecture white paper"
_ADA = "NVIDIA Ada architecture white paper"


class Peak(NamedTuple):
    """The peak of one device, as JAX counts devices.

    Attributes:
        flops: of dense bfloat16 products a second, a multiply-add counted as two.
        source: the maker's document.
    """

    flops: float
    source: str


PEAKS = {
    "TPU v2": Peak(22.5e12, _V2),
    "TPU v3": Peak(61.5e12, _V3),
    "TPU v4": Peak(275e12, _V4),
    "TPU v5 lite": Peak(197e12, _V5E),
    "TPU v5e": Peak(197e12, _V5E),
    "TPU v5": Peak(459e12, _V5P),
    "TPU v5p": Peak(459e12, _V5P),
    "TPU v6 lite": Peak(918e12, _V6E),
    "TPU v6e": Peak(918e12, _V6E),
    "TPU7x": Peak(1153.5e12, _TPU7X),
    "NVIDIA A30": Peak(165e12, "NVIDIA A30 data sheet"),
    "NVIDIA A40": Peak(149.7e12, "NVIDIA A40 data sheet"),
    "NVIDIA A100-SXM4-40GB": Peak(312e12, _A100),
    "NVIDIA A100-SXM4-80GB": Peak(312e12, _A100),
    "NVIDIA A100-PCIE-40GB": Peak(312e12, _A100),
    "NVIDIA A100 80GB PCIe": Peak(312e12, _A100),
    "NVIDIA H100 80GB HBM3": Peak(989.4e12, _H100),
    "NVIDIA H100 PCIe": Peak(756e12, _H100),
    "NVIDIA H200": Peak(989.5e12, "NVIDIA H200 data sheet, 1979 with sparsity"),
    "NVIDIA H200 NVL": Peak(835.5e12, _NVL),
    "NVIDIA B200": Peak(2250e12, "NVIDIA HGX B200 data sheet, 36000 of eight with sparsity"),
    "NVIDIA GB200": Peak(2500e12, "NVIDIA GB200 NVL72 data sheet, 10000 of two with sparsity"),
    "NVIDIA L4": Peak(121e12, "NVIDIA L4 data sheet, 242 with sparsity"),
    "NVIDIA L40": Peak(181.05e12, "NVIDIA L40 data sheet"),
    "NVIDIA L40S": Peak(362.05e12, "NVIDIA L40S data sheet"),
    "NVIDIA RTX A6000": Peak(154.8e12, _AMPERE),
    "NVIDIA RTX 6000 Ada Generation": Peak(364.2e12, "NVIDIA RTX 6000 Ada white paper"),
    "NVIDIA GeForce RTX 3090": Peak(71e12, _AMPERE),
    "NVIDIA GeForce RTX 4090": Peak(165.2e12, _ADA),
    "NVIDIA GeForce RTX 5090": Peak(209.5e12, "NVIDIA RTX Blackwell architecture white paper"),
}


def bf16_peak(device_kind: str) -> Peak | None:
    """Returns the peak of a kind of device, by JAX's name for it; None where none is listed."""
    return PEAKS.get(device_kind)
