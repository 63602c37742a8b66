"""What went wrong in a library that speaks at length, for an error of one line."""


def first_line(error: BaseException) -> str:
    """Returns the first line that an error says, or its name where it says nothing."""
    return (str(error).strip() or repr(error)).splitlines()[0]
