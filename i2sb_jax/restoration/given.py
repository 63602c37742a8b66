"""Pictures as people have them: degraded already, of any size and kind."""

import io
import sys

from etils import epath

from i2sb_jax import image_io
from i2sb_jax.image_io import Picture
from i2sb_jax.restoration.inputs import (
    Subject,
    enlargement,
    find_hole,
    grid_lead,
    picture_subject,
)
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.restorer import Restorer
from i2sb_jax.restoration.tiles import Grid


class GivenPictures:
    """Pictures of a folder, for the task of a run.

    Attributes:
        unlike: number of JPEGs whose quality the run was not trained for.
    """

    suffix = ".png"

    def __init__(self, restorer: Restorer, folder: epath.Path, options: Options):
        """Takes the run, the pictures' folder, and resolved options.

        Raises:
            ValueError: the masks are missing, or not of a kind that whole pictures can use.
        """
        self._restorer, self._folder, self._options = restorer, folder, options
        self._masks = _masks(restorer, options.masks)
        self._tiling = options.tiling(restorer.config)
        self.unlike = 0

    def grid(self, name: str) -> Grid:
        """The windows of one picture, from its header.

        Raises:
            UnreadableImage: it is none, or too large.
        """
        header = image_io.picture_header(self._folder / name)
        corruption = self._restorer.corruption
        scale, lead = enlargement(corruption), self._lead(header.block_offset)
        height, width = scale * header.height + lead[0], scale * header.width + lead[1]
        return self._tiling.grid(height, width)

    def open(self, name: str) -> Subject:
        """Reads one picture, and its mask if there is one.

        Raises:
            UnreadableImage: it cannot be decoded, or does not suit the task.
        """
        data = (self._folder / name).read_bytes()
        picture = image_io.read_picture(data)
        hole = find_hole(self._masks, name, picture)
        self._compare_quality(name, picture)
        offset = image_io.picture_header(io.BytesIO(data)).block_offset
        lead = self._lead(offset)
        return picture_subject(self._restorer, name, picture, hole=hole, lead=lead)

    def _lead(self, block_offset: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the grid above and left of a picture."""
        first = grid_lead(self._restorer.corruption, block_offset)
        return first[0] + self._tiling.lead, first[1] + self._tiling.lead

    def _compare_quality(self, name: str, picture: Picture) -> None:
        """Warns of the first JPEG whose quality the run never saw."""
        trained = self._restorer.corruption.quality_range
        if trained is None or picture.jpeg is None:
            return
        low, high = trained
        if low <= picture.jpeg.quality <= high:
            return
        self.unlike += 1
        if self.unlike == 1:
            saved = f"{'' if picture.jpeg.is_standard else 'about '}{picture.jpeg.quality}"
            learnt = f"quality {low}" if low == high else f"qualities {low} to {high}"
            print(
                f"warning: {name} was saved at quality {saved} ({picture.jpeg.subsampling}), and "
                f"the run learnt to repair {learnt}: the result may be too smooth or too sharp",
                file=sys.stderr,
            )


def _masks(restorer: Restorer, masks: str | None) -> epath.Path | None:
    if masks is None:
        return None
    corruption = restorer.corruption
    if not corruption.has_mask and corruption.name != "mixture":
        raise ValueError(f"--masks {masks}: {corruption.name} fills no holes")
    path = epath.Path(masks).expanduser()
    if not path.exists():
        raise ValueError(f"--masks {masks} does not exist: name a mask picture or a folder of them")
    if path.suffix == ".npz":
        raise ValueError(
            f"--masks {masks} numbers its masks, which whole pictures of their own have none of: "
            "use it with --degrade, or name a mask picture or a folder of them"
        )
    return path
