"""Load: finds the configuration's file, reads it and those that it names, and says all that is wrong at once."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from mta.config import rules
from mta.config.accounts import read_accounts
from mta.config.directory import DirectoryFile, directory_in, directory_text
from mta.config.document import Document, Key
from mta.config.fitting import unfit
from mta.config.model import Config
from mta.config.problems import ConfigError, Problem, problem_at, problems_of, refuse, second_keys
from mta.config.reading import mapping_in, read_password, read_text, read_token
from mta.config.sources import Sources

__all__ = ["ConfigError", "check_files", "find", "load", "load_again", "machine_name"]

HERE = Path("etc/mta.yml")
SYSTEM = Path("/etc/mta/mta.yml")


def find(explicit: str | None, environ: Mapping[str, str], cwd: Path = Path(), system: Path = SYSTEM) -> Path:
    """The file to read: `--config`, else $MTA_CONFIG, else etc/mta.yml here, else /etc/mta/mta.yml.

    One that is named need not exist; `load` says so. Raises `ConfigError` when there is none at all.
    """
    named = explicit or environ.get("MTA_CONFIG")
    if named:
        return cwd / named
    for path in (cwd / HERE, system):
        if _is_there(path):
            return path
    text = (
        f"there is no configuration: neither --config nor $MTA_CONFIG names one, and {HERE} and {system} do not exist"
    )
    raise ConfigError([Problem("", 0, "", text)])


def load(path: Path, own_name: str | None = None) -> Config:
    """The configuration in a file. Raises `ConfigError` with all that is wrong with it.

    own_name: of this machine, for when the file has no `hostname`; None to ask the system.
    """
    text = read_text(path, "configuration")
    return load_again(Sources(str(path), str(path.parent.resolve()), own_name or machine_name(), text))


def load_again(sources: Sources) -> Config:
    """The configuration that was made from this before: no file is read that has been. Raises `ConfigError`."""
    file = sources.file
    document = mapping_in(sources.text, file, "`key: value` on each line")
    if document.data is None:
        raise ConfigError(
            [Problem(file, 1, "spool", "is missing, as everything else; the file is empty (got nothing)")]
        )
    problems = second_keys(file, document)
    directory = DirectoryFile()
    try:
        sources, directory = _with_directory(sources, document)
    except ConfigError as error:
        problems += [_at_its_key(problem, file, document) for problem in error.problems]
    context = {"sources": sources, "document": document, "directory": directory, "folder": Path(sources.folder)}
    try:
        config = Config.model_validate({"hostname": sources.own_name, **document.mapping}, context=context)
    except ValidationError as error:
        problems += problems_of(error, file, document, Config)
    problems += [problem_at(file, document, key, text) for key, text in unfit(document)]
    refuse(problems, file)
    return config


def check_files(config: Config) -> None:
    """Read the other files that are needed: passwords, accounts, the token, secrets.

    Raises `ConfigError` with all mistakes.
    """
    problems = [*_unreadable_passwords(config), *_unreadable_tokens(config), *_wrong_accounts(config)]
    refuse(problems, config.sources.file)


def problem_of_tls(config: Config, file: Path, why: str) -> Problem:
    """What is wrong with a file that listeners need for TLS, where the configuration names it."""
    tls = config.tls
    named: list[tuple[Key, Path | None]] = [(("tls", "certificate"), tls.certificate), (("tls", "key"), tls.key)]
    for name, other in tls.names.items():
        named += [
            (("tls", "names", name, "certificate"), other.certificate),
            (("tls", "names", name, "key"), other.key),
        ]
    named += [(("listen", number, "client_ca"), one.client_ca) for number, one in enumerate(config.listen)]
    key = next((key for key, path in named if path == file), ("tls",))
    return config.problem(key, f"{file}: {why}")


def machine_name() -> str:
    """The machine's own name as it stands in its kernel; "localhost" where that is no host name. Asks no DNS."""
    try:
        return rules.hostname(os.uname().nodename)
    except ValueError:
        return "localhost"


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True  # it cannot be told, so reading it will tell why


def _wrong_accounts(config: Config) -> Iterator[Problem]:
    file = config.accounts.file if config.accounts is not None else None
    if file is None:
        return
    try:
        read_accounts(file)
    except ConfigError as error:
        hint = "" if _is_there(file) else "; `mta account add` makes it"
        for problem in error.problems:
            if problem.line:
                yield problem
            else:  # the file as a whole
                yield config.problem(("accounts",), f"{problem.file} {problem.text}{hint}")


def _unreadable_passwords(config: Config) -> Iterator[Problem]:
    for name, entry in config.logins.items():
        if entry.password_file is not None:
            try:
                read_password(entry.password_file)
            except ValueError as error:
                yield config.problem(("logins", name, "password_file"), f"{entry.password_file} {error}")


def _unreadable_tokens(config: Config) -> Iterator[Problem]:
    files: list[tuple[Key, Path | None, str]] = [(("admin", "token_file"), config.admin.token_file, "token")]
    files += [(("webhooks", n, "secret_file"), one.secret_file, "secret") for n, one in enumerate(config.webhooks)]
    for key, file, what in files:
        if file is not None:
            try:
                read_token(file, what)
            except ValueError as error:
                yield config.problem(key, f"{file} {error}")


def _with_directory(sources: Sources, document: Document) -> tuple[Sources, DirectoryFile]:
    """The directory, whatever is wrong with the rest, and the sources with its text. Raises `ConfigError`."""
    named = document.value(("directory",)) if ("directory",) in document.lines else None
    if not isinstance(named, str) or not named or not named.isprintable():
        return sources, DirectoryFile()  # there is none, or the model will say what is wrong with its path
    path = Path(os.path.normpath(Path(sources.folder, named)))
    text = directory_text(path) if sources.directory is None else sources.directory
    return replace(sources, directory=text), directory_in(text, str(path))


def _at_its_key(problem: Problem, file: str, document: Document) -> Problem:
    """What is wrong with a file as a whole, where the configuration names it; else the problem itself."""
    if problem.line:
        return problem
    return Problem(file, document.line(("directory",)), "directory", f"{problem.file} {problem.text}")
