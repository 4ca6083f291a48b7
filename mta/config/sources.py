"""Sources: what a configuration was made from, as it was then."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sources:
    """Enough to make the same configuration once more, without a look at any file.

    file: the name of the configuration's file, for what there is to say of it. folder: where relative paths begin.
    own_name: of the machine, for where there is no `hostname`. text: what stood in the file. directory: what stood in
    the file of local names; None where it has not been read, or there is none.
    """

    file: str = ""
    folder: str = ""
    own_name: str = ""
    text: str = ""
    directory: str | None = None
