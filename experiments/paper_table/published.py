"""What was published on ImageNet at 256²: FID and classifier accuracy, row by row.

I²SB: Liu et al., "I²SB: Image-to-Image Schrödinger Bridge", ICML 2023, arXiv 2302.05872, its tables
of super-resolution, JPEG repair, inpainting and deblurring, and its figures of few steps. The other
methods are quoted from there: ADM (Dhariwal and Nichol 2021), ΠGDM (Song et al. 2023), Palette
(Saharia et al. 2022), DDNM (Wang et al. 2023). The implicit row: I3SB, arXiv 2403.06069, which
measures both of its rows alike but not as I²SB does: compare these two with each other alone.
"""

from typing import NamedTuple

I2SB, I3SB = "arXiv 2302.05872", "arXiv 2403.06069"
VALIDATION, SUBSET = 50_000, 10_000  # pictures: all of the validation set, and Palette's list


class Published(NamedTuple):
    """A row of a table.

    Attributes:
        task: a corruption, and the name of the folder of its weights.
        evaluations: of the network, as they were published.
        pictures: that were measured.
        fid: Fréchet distance of Inception's features.
        accuracy: ResNet-50 top-1, percent; None where none was published.
        other: the best other method in that table, with its FID / accuracy; "": none was given.
        source: where all of this stands.
        sampler: one of `bridge.SAMPLERS`; None: the run's own, which is the paper's.
        eta: of sampler "implicit".
    """

    task: str
    evaluations: int
    pictures: int
    fid: float
    accuracy: float | None
    other: str = ""
    source: str = I2SB
    sampler: str | None = None
    eta: float | None = None

    @property
    def nfe(self) -> int:
        """What the library calls these evaluations: the paper's 1000 walk all 999 steps."""
        return min(self.evaluations, 999)

    @property
    def folder(self) -> str:
        """Of the evaluation in the output: one a task and sampler, shared by its numbers of NFE."""
        return self.task if self.sampler is None else f"{self.task}-{self.sampler}-{self.eta:g}"


TABLES: dict[str, tuple[Published, ...]] = {
    "sr4x": (
        Published("sr4x-pool", 1000, VALIDATION, 2.7, 71.0, "ADM 3.1 / 73.4"),
        Published("sr4x-bicubic", 1000, VALIDATION, 2.8, 70.7, "ΠGDM 3.6 / 72.1"),
    ),
    "jpeg": (
        Published("jpeg-5", 1000, SUBSET, 4.6, 67.9, "Palette 8.3 / 64.2"),
        Published("jpeg-10", 1000, SUBSET, 3.6, 72.1, "Palette 5.4 / 70.7"),
    ),
    "inpaint": (
        Published("inpaint-center", 1000, SUBSET, 4.9, 66.1, "Palette 6.1 / 63.0"),
        Published("inpaint-freeform1020", 1000, SUBSET, 2.9, 74.9, "DDNM 3.2 / 73.6"),
        Published("inpaint-freeform2030", 1000, SUBSET, 3.2, 73.4, "Palette 4.1 / 71.8"),
    ),
    "deblur": (
        Published("blur-uni", 1000, SUBSET, 3.9, 73.7, "DDNM 3.0 / 75.5"),
        Published("blur-gauss", 1000, SUBSET, 3.0, 75.0, "DDNM 2.9 / 75.6"),
    ),
    "few_steps": (
        Published("jpeg-5", 100, SUBSET, 5.4, 67.5),
        Published("jpeg-10", 100, SUBSET, 4.4, 71.6),
        Published("inpaint-center", 10, SUBSET, 5.24, 66.1),
        Published("inpaint-freeform1020", 1, SUBSET, 4.1, None),
        Published("inpaint-freeform2030", 1, SUBSET, 6.7, None),
        Published("sr4x-bicubic", 100, SUBSET, 4.128, None, source=I3SB),
        Published(
            "sr4x-bicubic", 25, SUBSET, 4.115, None, source=I3SB, sampler="implicit", eta=0.6
        ),
    ),
}
