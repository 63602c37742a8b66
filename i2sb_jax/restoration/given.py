"""Pictures as people have them: degraded already, of any size and kind."""

import dataclasses
import sys

from etils import epath

from i2sb_jax.corruptions import corruption_facts
from i2sb_jax.files import IMAGE_SUFFIXES
from i2sb_jax.pictures import (
    JpegInfo,
    Notes,
    Picture,
    PictureHeader,
    UnreadableImage,
    array_header,
    decode_array,
    lost_in,
    picture_header,
    read_jpeg_info,
    read_picture,
    result_suffix,
)
from i2sb_jax.restoration.inputs import (
    Subject,
    array_subject,
    find_hole,
    mask_files,
    picture_grid,
    picture_subject,
    prepared_picture,
)
from i2sb_jax.restoration.measured import Held, check_own_pictures, measure_picture
from i2sb_jax.restoration.members import check_member, find_member
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.published_blur import dark_border, published_note
from i2sb_jax.restoration.restorer import Restorer
from i2sb_jax.restoration.tiles import Grid, Tiling

_ARRAY = ".npy"


class GivenPictures:
    """Pictures of a folder, for the task of a run.

    Attributes:
        unlike: number of JPEGs whose quality the run was not trained for.
    """

    def __init__(self, restorer: Restorer, folder: epath.Path, options: Options, notes: Notes):
        """Takes the run, the pictures' folder, resolved options, and who is told of each loss.

        Raises:
            ValueError: the masks are missing, or not of a kind that whole pictures can use, or the
                run knows no such member.
        """
        self._restorer, self._folder, self._options = restorer, folder, options
        self._run = restorer.corruption.name
        check_member(self._run, options.member)
        self._takes_arrays = corruption_facts(self._run).is_float
        self._masks = _masks(self._run, options)
        self._tasks: dict[str, str] = {}
        self._noted: set[str] = set()
        self._notes = notes
        self._tiling = options.tiling(restorer.config)
        self._sampling = options.sampling(restorer.config)
        check_own_pictures(self._run, self._sampling.consistency)
        self.unlike = 0

    def cut_into(self, tiling: Tiling) -> None:
        """Cuts pictures into other windows from now on."""
        self._tiling = tiling

    def grid(self, name: str) -> Grid:
        """The windows of one picture, from its header.

        Raises:
            UnreadableImage: it is none, or too large.
            ValueError: nothing tells which member of a mixture it suffered from.
        """
        header = self._header(name)
        return self._grid(self._task(name, header), header)[0]

    def open(self, name: str) -> Subject:
        """Reads one picture, and its mask if there is one.

        Raises:
            UnreadableImage: it cannot be decoded, or does not suit the task.
        """
        data = (self._folder / name).read_bytes()
        if self._is_array(name):
            header = self._header(name)
            task = self._task(name, header)
            array = decode_array(data, suffix=_ARRAY)
            return array_subject(name, array, task=task, lead=self._grid(task, header)[1])
        picture = read_picture(data)
        hole = find_hole(self._masks, name, picture)
        height, width = picture.pixels.shape[:2]
        header = PictureHeader(width, height, picture.block_offset)
        task = self._task(name, header)
        _, lead = self._grid(task, header)
        self._note(name, task)
        self._note_kind(name, picture)
        self._compare_quality(name, picture, task)
        self._note_no_jpeg(name, picture, task)
        subject = picture_subject(
            self._restorer,
            name,
            picture,
            task=task,
            hole=hole,
            lead=lead,
            suffix=self.suffix(name),
            quality=self._options.quality,
        )
        if not self._sampling.consistency:
            return subject
        facts, options = corruption_facts(task), self._options
        held = Held(task, self._sampling.consistency, options.operator or "")
        measure = measure_picture(held, prepared_picture(picture, facts).pixels, data)
        blockwise = facts.quality_range is not None and options.strength == 1
        return dataclasses.replace(subject, measure=measure, blockwise=blockwise)

    def made_of(self, name: str) -> list[epath.Path]:
        """The files that a result is made of: the picture, and its mask if there is one."""
        mask = [] if self._is_array(name) else mask_files(self._masks, name)
        return [self._folder / name, *mask]

    def suffix(self, name: str) -> str:
        """Returns the suffix of a picture's result."""
        return _ARRAY if self._is_array(name) else result_suffix(name, self._options.format)

    def settings(self) -> dict[str, object]:
        """The settings beside the options that shape the pixels: older results are told apart."""
        return {"blurs": "as published"} if dark_border(self._run) else {}

    def _is_array(self, name: str) -> bool:
        return self._takes_arrays and name.lower().endswith(_ARRAY)

    def _header(self, name: str) -> PictureHeader:
        path = self._folder / name
        if not self._is_array(name):
            return picture_header(path)
        height, width, *_ = array_header(path)
        return PictureHeader(width, height, (0, 0))

    def _grid(self, task: str, header: PictureHeader) -> tuple[Grid, tuple[int, int]]:
        return picture_grid(corruption_facts(task), header, self._tiling)

    def _task(self, name: str, header: PictureHeader) -> str:
        """Returns a picture's degradation: the run's corruption, or of a mixture's a member."""
        if name not in self._tasks:
            self._tasks[name] = self._find_task(name, header)
        return self._tasks[name]

    def _find_task(self, name: str, header: PictureHeader) -> str:
        members = corruption_facts(self._run).members
        if self._options.member is not None or not members:
            return self._options.member or self._run
        size = self._restorer.config.image_size
        jpeg = _jpeg_info(self._folder / name)
        found = find_member(
            members,
            quality=None if jpeg is None else jpeg.quality,
            has_mask=self._masks is not None,
            longest_side=max(header.height, header.width),
            image_size=size,
        )
        if found is None:
            raise ValueError(
                f"nothing tells which corruption of the {self._run} {name} suffered from: name it "
                f"by --member, one of {', '.join(members)} (JPEG files, and pictures of at most "
                f"{size // 4} pixels a side, tell it themselves)"
            )
        return found

    def _note(self, name: str, task: str) -> None:
        """Tells, once a task, what is done to pictures that nobody may expect."""
        if task in self._noted:
            return
        self._noted.add(task)
        if task not in (self._run, self._options.member):
            _say(f"note: {name} is taken for {task}, which --member MEMBER overrules")
        if not corruption_facts(task).keeps_light:
            _say(published_note(task))

    def _note_kind(self, name: str, picture: Picture) -> None:
        """Tells of what a file holds and its result will not."""
        for note in (*picture.notes, *lost_in(picture, self.suffix(name))):
            self._notes.tell(name, note)

    def _compare_quality(self, name: str, picture: Picture, task: str) -> None:
        """Warns of the first JPEG whose quality the run never saw."""
        trained = self._restorer.corruption.quality_range
        if picture.jpeg is None or trained is None or not corruption_facts(task).quality_range:
            return
        low, high = trained
        if low <= picture.jpeg.quality <= high:
            return
        self.unlike += 1
        if self.unlike == 1:
            saved = f"{'' if picture.jpeg.is_standard else 'about '}{picture.jpeg.quality}"
            learnt = f"quality {low}" if low == high else f"qualities {low} to {high}"
            _say(
                f"warning: {name} was saved at quality {saved} ({picture.jpeg.subsampling}), and "
                f"the run learnt to repair {learnt}: the result may be too smooth or too sharp"
            )

    def _note_no_jpeg(self, name: str, picture: Picture, task: str) -> None:
        """Tells of the first picture whose making the network cannot be told."""
        facts = corruption_facts(task)
        if facts.is_told and picture.jpeg is None and "no jpeg" not in self._noted:
            self._noted.add("no jpeg")
            _say(
                f"warning: {name} is no JPEG file, so nothing tells how it was compressed: it is "
                f"restored as one of quality {facts.quality_range[1]}"
            )


def given_suffixes(task: str) -> tuple[str, ...]:
    """Returns the suffixes of files that hold a natural input of a task."""
    return (*IMAGE_SUFFIXES, _ARRAY) if corruption_facts(task).is_float else IMAGE_SUFFIXES


def _jpeg_info(path: epath.Path) -> JpegInfo | None:
    try:
        with path.open("rb") as file:
            return read_jpeg_info(file)
    except UnreadableImage:
        return None


def _masks(run: str, options: Options) -> epath.Path | None:
    masks = options.masks
    if masks is None:
        return None
    facts = corruption_facts(run)
    tasks = [options.member] if options.member else [run, *facts.members]
    if not any(corruption_facts(task).has_mask for task in tasks):
        raise ValueError(f"--masks {masks}: {tasks[0]} fills no holes")
    path = epath.Path(masks).expanduser()
    if not path.exists():
        raise ValueError(f"--masks {masks} does not exist: name a mask picture or a folder of them")
    if path.suffix == ".npz":
        raise ValueError(
            f"--masks {masks} numbers its masks, which whole pictures of their own have none of: "
            "use it with --degrade, or name a mask picture or a folder of them"
        )
    return path


def _say(line: str) -> None:
    print(line, file=sys.stderr)
