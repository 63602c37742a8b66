"""The configurations at the top of a checkout, by the name under which they are installed.

In a wheel `configs/` itself is this package (setup.cfg's package_dir); in a checkout, installed as
editable or only on PYTHONPATH, this file leads there.
"""

import pathlib

__path__ = [str(pathlib.Path(__file__).parents[2] / "configs")]
