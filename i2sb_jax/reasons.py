"""The first line of what a library says at length of an error."""


def first_line(error: BaseException) -> str:
    """Returns the first line that an error says, or its name where it says nothing."""
    return (str(error).strip() or repr(error)).splitlines()[0]
