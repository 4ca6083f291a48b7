"""`mta completion`: the scripts, and what they offer."""

import os
import subprocess

import pytest
from cli_ground import MTA, Ground, run
from click.shell_completion import BashComplete

from mta.cli.program import program


def offered(*words: str) -> list[str]:
    """What the last word of a command line is completed with."""
    *before, beginning = words
    found = BashComplete(program, {}, "mta", "_MTA_COMPLETE").get_completions(before, beginning)
    return [one.value for one in found]


def test_queue_ids(ground: Ground) -> None:
    ids = [ground.add("bob@there.test") for _ in range(3)]
    gone = ground.add("carol@else.test")
    ground.deliver(gone)
    config = ["--config", str(ground.file)]
    for verb in ("retry", "hold", "drop", "cat", "forecast"):
        words = [verb, "--old", str(ground.file)] if verb == "forecast" else [verb, *config]
        assert offered(*words, ids[0][:4]) == ids
    assert offered("show", *config, "") == [*ids, gone]
    assert offered("show", *config, ids[1].lower()) == [ids[1]]
    assert offered("show", *config, ids[1][:-1]) == [one for one in ids if one.startswith(ids[1][:-1])]
    assert offered("show", *config, "0") == []
    assert offered("show", *config, "é") == []
    assert offered("show", *config, ids[0] * 2) == []


def test_destinations_and_states(ground: Ground) -> None:
    ground.add("bob@there.test", "carol@else.test", "dave@elsewhere.test")
    queue_id = ground.add("erin@held.test")
    ground.defer(queue_id, state="held")
    config = ["--config", str(ground.file)]
    assert offered("queue", *config, "--to", "else") == ["else.test", "elsewhere.test"]
    assert offered("retry", *config, "--to", "") == ["else.test", "elsewhere.test", "held.test", "there.test"]
    assert offered("queue", "--state", "") == ["ready", "active", "deferred", "held"]


def test_nothing_is_offered_where_something_is_wrong(ground: Ground) -> None:
    missing = str(ground.file.with_name("missing.yml"))
    assert offered("show", "--config", missing, "C") == []
    assert offered("queue", "--config", missing, "--to", "t") == []


def test_only_what_no_shell_reads_as_something_else(ground: Ground) -> None:
    with ground.store.transaction():
        for name in ("$(reboot)", "expanded list", "a'b", "smtp://[2001:db8::1]:26?tls=verify"):
            ground.store.db.execute("INSERT INTO destination VALUES (?, 1, 0, 0, '')", (name,))
    assert offered("queue", "--config", str(ground.file), "--to", "") == ["smtp://[2001:db8::1]:26?tls=verify"]


def test_many_are_not_offered_all(ground: Ground) -> None:
    ground.add("bob@there.test", many=120)
    assert len(offered("show", "--config", str(ground.file), "C")) == 50


def test_bash_completes(ground: Ground) -> None:
    """In a real one, with the script as it is printed."""
    queue_id = ground.add("bob@there.test")
    script = f"""
        eval "$(mta completion bash)"
        complete -p mta
        COMP_WORDS=(mta show {queue_id[:6]}); COMP_CWORD=2
        _mta_completion mta; echo "${{COMPREPLY[@]}}"
        COMPREPLY=(); COMP_WORDS=(mta compl); COMP_CWORD=1
        _mta_completion mta; echo "${{COMPREPLY[@]}}"
    """
    environment = {**os.environ, "PATH": f"{MTA.parent}:{os.environ['PATH']}", "MTA_CONFIG": str(ground.file)}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.splitlines() == ["complete -o nosort -F _mta_completion mta", queue_id, "completion"]
    assert done.stderr == ""


@pytest.mark.parametrize(("shell", "word"), [("zsh", "compdef _mta_completion mta"), ("fish", "complete --no-files")])
def test_other_shells(shell: str, word: str) -> None:
    printed = run("completion", shell).stdout
    assert word in printed
    assert f"_MTA_COMPLETE={shell}_complete" in printed


def test_a_shell_that_is_not_known() -> None:
    run("completion", "csh", status=2)
    run("completion", status=2)
