"""The evaluation section: files that metrics need, none of which is downloaded."""

import dataclasses

from i2sb_jax.fields import documented, path_field


@documented
@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Files that `i2sb-evaluate` looks through and compares with; "" leaves the metric out."""

    inception: str = path_field("pytorch-fid's pt_inception-2015-12-05-6726825d.pth: FID, KID")
    resnet50: str = path_field("torchvision's resnet50-0676ba61.pth: classifier accuracy")
    lpips_backbone: str = path_field("torchvision's alexnet-owt-7be5be79.pth or vgg16-397923af.pth")
    lpips_linear: str = path_field("LPIPS v0.1's alex.pth or vgg.pth")
    reference_stats: str = path_field('.npz of mu and sigma for FID; "": the clean pictures')
