"""Commands: mta(1), and a page for each command, from what --help is made of."""

import inspect
import re
from collections.abc import Iterator
from typing import Final

import click

from docs.generate.mdoc import escaped, page, word
from mta.cli.program import COMMANDS, program

_STATUS: Final = [
    ".Sh EXIT STATUS",
    ".Bl -tag -width Ds",
    ".It 0",
    "Done.",
    ".It 1",
    "Not done; standard error says why.",
    ".It 2",
    "Used wrongly.",
    ".El",
]
_ENVIRONMENT: Final = [
    ".Sh ENVIRONMENT",
    ".Bl -tag -width Ds",
    ".It Ev MTA_CONFIG",
    "The configuration, where",
    ".Fl Fl config",
    "names none.",
    ".El",
]
_FILES: Final = [
    ".Sh FILES",
    ".Bl -tag -width Ds",
    ".It Pa /etc/mta/mta.yml",
    "The configuration of a machine's own relay; see",
    ".Xr mta.yml 5 .",
    ".El",
]


def manual(date: str) -> Iterator[tuple[str, str]]:
    """Each page, with the name of its file. date: as mdoc writes it."""
    top = click.Context(program, info_name="mta")
    yield "mta.1", _overview(date)
    for name in COMMANDS:
        command = program.get_command(top, name)
        if command is not None:
            yield f"mta-{name}.1", _page(click.Context(command, info_name=name, parent=top), date)


def _overview(date: str) -> str:
    lines = [
        ".Sh NAME",
        ".Nm mta",
        ".Nd look after a mail relay",
        ".Sh SYNOPSIS",
        ".Nm mta",
        ".Ar command",
        ".Op Ar ...",
    ]
    lines += [".Sh DESCRIPTION", *_told(program.help), ".Pp", "Commands:", ".Bl -tag -width Ds"]
    for name, (_, summary) in COMMANDS.items():
        lines += [f".It Xr mta-{name} 1", *escaped(summary)]
    lines += [".El", *_ENVIRONMENT, *_FILES, *_STATUS, ".Sh SEE ALSO", ".Xr mta.yml 5"]
    return page("MTA", 1, date, lines)


def _page(context: click.Context, date: str) -> str:
    command, name = context.command, context.info_name or ""
    summary = COMMANDS[name][1].rstrip(".")
    lines = [".Sh NAME", f".Nm mta-{name}", *escaped(f".Nd {summary[:1].lower()}{summary[1:]}")]
    lines[2] = f".Nd {lines[2].removeprefix(chr(92) + '&.Nd ')}"
    lines += [".Sh SYNOPSIS"]
    below = [
        click.Context(one, info_name=verb, parent=context)
        for verb, one in (command.commands.items() if isinstance(command, click.Group) else ())
    ]
    for one in below or [context]:
        lines += _synopsis(one)
    lines += [".Sh DESCRIPTION", *_told(command.help)]
    if not below:
        lines += _options(context)
    for one in below:
        lines += [f".Ss mta {name} {one.info_name}", *_told(one.command.help), *_options(one)]
    if any(option.name == "config_file" for option in command.params):
        lines += [*_ENVIRONMENT, *_FILES]
    if "Exit status" not in (command.help or ""):  # or else it has others
        lines += _STATUS
    lines += [".Sh SEE ALSO", ".Xr mta 1 ,", ".Xr mta.yml 5"]
    return page(f"MTA-{name.upper()}", 1, date, lines)


def _synopsis(context: click.Context) -> list[str]:
    """How it is called."""
    words = context.command_path.split()
    lines = [f".Nm {words[0]}", *(f".Cm {word(one)}" for one in words[1:])]
    for piece in context.command.collect_usage_pieces(context):
        if not piece:
            continue
        inner = re.fullmatch(r"\[(.*?)\](\.\.\.)?", piece)
        if inner is None:
            lines += [f".Ar {word(piece)}"]
        else:
            lines += [f".Op Ar {word(inner[1])}{' ...' if inner[2] else ''}"]
    return lines


def _told(text: str | None) -> list[str]:
    """The paragraphs of a help text; one that click leaves as it is (\\b) is left here, too."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text or "").partition("\f")[0])
    lines: list[str] = []
    for paragraph in paragraphs:
        if paragraph.startswith("\b"):
            lines += [".Bd -literal", *escaped(paragraph.strip("\b\n"), wrap=False), ".Ed"]
        else:
            lines += [".Pp"] * bool(lines) + escaped(re.sub(r"\s*\n\s*", " ", paragraph))
    return lines


def _options(context: click.Context) -> list[str]:
    """Options as --help lists them, its own among them."""
    options = [one for one in context.command.get_params(context) if isinstance(one, click.Option)]
    records = [record for one in options if (record := one.get_help_record(context))]
    if not records:
        return []
    lines = [".Pp", "Options:", ".Bl -tag -width Ds"]
    for names, meaning in records:
        lines += [f".It {_names(names)}", *escaped(meaning)]
    return [*lines, ".El"]


def _names(names: str) -> str:
    """The names of an option, and what stands behind it: "-c, --config FILE"."""
    spelled = []
    for one in names.split(", "):
        name, _, value = one.partition(" ")
        dashes = ("Fl " if name.startswith("-") else "") + ("Fl " if name.startswith("--") else "")
        spelled.append(f"{dashes}{word(name.lstrip('-'))}" + (f" Ar {word(value)}" if value else ""))
    return " , ".join(spelled)
