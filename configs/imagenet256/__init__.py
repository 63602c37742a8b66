"""ImageNet at 256²: the paper's tasks, and a student of one."""

TASKS = {  # name, as of `i2sb-import --task`: config file in this folder
    "blur_gauss": "blur_gauss.py",
    "blur_uni": "blur_uni.py",
    "colorize": "colorize.py",
    "distill_sr4x_bicubic": "distill_sr4x_bicubic.py",
    "inpaint_center": "inpaint_center.py",
    "inpaint_freeform1020": "inpaint_freeform1020.py",
    "inpaint_freeform2030": "inpaint_freeform2030.py",
    "jpeg10": "jpeg10.py",
    "jpeg5": "jpeg5.py",
    "mixture": "mixture.py",
    "sr4x_bicubic": "sr4x_bicubic.py",
    "sr4x_pool": "sr4x_pool.py",
}
