"""What is fuzzed: a `Target` for each parser, with what must hold of it whatever it is given.

`TARGETS` has them all. The tests give them what hypothesis makes up and what `corpus` keeps; `tests/fuzz/fuzz` gives
them what atheris finds by looking at which lines of the program an input reaches.
"""

import sys
from pathlib import Path

_TESTS = Path(__file__).parents[2]
# What the tests of these rooms stand on serves here, too, whoever runs this.
sys.path += [str(_TESTS), str(_TESTS / "smtp"), str(_TESTS / "inbound")]

from targets import (  # noqa: E402
    configuration,
    content,
    language,
    listening,
    logins,
    mail,
    notices,
    programs,
    published,
    sessions,
    small,
)
from targets.measures import Target  # noqa: E402

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (
        language,
        content,
        sessions,
        listening,
        mail,
        notices,
        logins,
        configuration,
        programs,
        published,
        small,
    )
    for target in module.TARGETS
}
