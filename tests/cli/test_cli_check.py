"""`mta check`: mistakes, dangers, and the exit status."""

import errno
import os
import resource

import pytest
from cli_ground import Ground

from mta.config import reading
from mta.config.dangers import dangers
from mta.config.load import load


def test_a_good_configuration(ground: Ground) -> None:
    ground.file.write_text("hostname: relay.example\npostmaster: me@elsewhere.test\nspool: spool\n")
    assert ground.mta("check").stdout == (
        f"no mistakes, no warnings: relay.example listens on 127.0.0.1:2525, its queue is in {ground.spool}\n"
    )


def test_dangers_are_warnings_with_their_place(ground: Ground) -> None:
    ground.file.write_text("hostname: relay\nspool: spool\nlimits: {recipients: 5}\n")
    checked = ground.mta("check")
    *warnings, summary = checked.stdout.splitlines()
    assert warnings == [f"warning: {problem}" for problem in dangers(load(ground.file))]
    assert warnings[0].startswith(f"warning: {ground.file}:")
    assert summary.startswith(f"no mistakes, {len(warnings)} warnings: relay listens on ")
    assert checked.stderr == ""


def test_of_many_dangers_some_are_told_and_how_many_there_are(ground: Ground) -> None:
    (ground.file.parent / "names.yml").write_text(
        "example.org:\n  mailboxes: {root: }\n  aliases:\n"
        + "".join(f"    a{number}: [nobody{number}@example.org]\n" for number in range(300))
    )
    ground.file.write_text("hostname: relay\nspool: spool\ndirectory: names.yml\nrelay: {domains: [example.org]}\n")
    found = dangers(load(ground.file))
    *warnings, more, summary = ground.mta("check").stdout.splitlines()
    assert warnings == [f"warning: {problem}" for problem in found[:100]]
    assert more == f"warning: and {len(found) - 100} more"
    assert summary.startswith(f"no mistakes, {len(found)} warnings: ")


def test_connections_are_compared_with_the_hard_limit_of_open_files(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.file.write_text(f"{ground.file.read_text()}limits: {{connections: 3000}}\n")
    for limits, warned in (((1024, 4096), False), ((1024, 3000), True), ((1024, resource.RLIM_INFINITY), False)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limits=limits: limits)
        assert ("limits.connections: 3000 connections" in ground.mta("check").stdout) == warned


def test_every_mistake_is_told_and_nothing_else(ground: Ground) -> None:
    ground.file.write_text("spool: spool\nlisten: [{address: 127.0.0.1}]\nrelay: {networks: [0.0.0.0/0]}\nretri: {}\n")
    checked = ground.mta("check", status=1)
    assert checked.stdout == ""
    assert [line.split(" ")[0] for line in checked.stderr.splitlines()] == [f"{ground.file}:{n}:" for n in (2, 3, 4)]
    assert "did you mean" in checked.stderr


def test_a_file_that_may_not_be_read(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(reading, "_octets", denied)
    for command in ("check", "queue", "forecast"):
        said = ground.mta(command, status=1).stderr
        assert said.splitlines()[-1] == f"{ground.file}: cannot be read: Permission denied"


def test_a_file_that_is_not_there(ground: Ground) -> None:
    ground.file.unlink()
    assert ground.mta("check", status=1).stderr == f"{ground.file}: cannot be read: No such file or directory\n"
