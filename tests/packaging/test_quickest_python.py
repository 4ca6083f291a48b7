"""Which Python `make` takes: one that a relay can be begun anew with by whoever it has become."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

QUICKEST = Path(__file__).parents[2] / "bench" / "quickest-python"


def test_one_that_others_may_not_execute_is_the_last_choice() -> None:
    with tempfile.TemporaryDirectory() as folder:  # those of pytest are closed to others from above
        shutil.copy(Path("/usr/bin/python3").resolve(), f"{folder}/python3")
        environment = {**os.environ, "PATH": f"{folder}:/usr/bin:/bin"}
        asked = subprocess.run([QUICKEST], env=environment, stdout=subprocess.PIPE, check=True)
        assert asked.stdout != b"python3\n", "it is the first on the path, and as quick as the other"
