"""Which sampler needs how many network evaluations: PSNR, SSIM and a kernel distance."""
