"""Account: `mta account add`, `remove` and `list`, who may log in here. A running relay notices within a second."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from mta.auth.passwords import kept
from mta.auth.prepared import prepared
from mta.cli.common import NotDone, configured, with_json
from mta.cli.opening import configuration
from mta.cli.output import print_columns, print_json
from mta.cli.rewriting import Rewriting
from mta.config.accounts import parse_accounts, read_accounts, wrong_name
from mta.config.accounts_text import NotEditable, with_account, without_account, written
from mta.config.model import Config
from mta.config.problems import ConfigError
from mta.config.reading import LONGEST_PASSWORD
from mta.message.printable import printable
from mta.policy.account import Account, account_key
from mta.policy.pattern import Pattern


@click.group()
@configured
@click.pass_context
def account(ctx: click.Context, config_file: str | None) -> None:
    """Who may log in here: the accounts in the file that `accounts` names."""
    # --config may stand before the verb as well as behind it, where it counts for more.
    ctx.default_map = {verb: {"config_file": config_file} for verb in account.commands}


class Name(click.ParamType[str]):
    """The name of an account."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As click asks for it."""
        reason = wrong_name(value)
        if reason is not None:
            self.fail(f"{value!r} {reason}", param, ctx)
        try:
            return prepared(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


class Sender(click.ParamType[Pattern]):
    """What an account may send as."""

    name = "pattern"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Pattern:
        """As click asks for it."""
        try:
            return Pattern.parse(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


one_name = click.argument("name", metavar="NAME", type=Name())


@account.command()
@configured
@one_name
@click.option("--password-stdin", is_flag=True, help="Take the password from standard input, instead of asking twice.")
@click.option("--cram-md5", is_flag=True, help="Also keep the password itself, which CRAM-MD5 needs.")
@click.option(
    "--senders", multiple=True, type=Sender(), metavar="PATTERN", help="An address it may send as; may be repeated."
)
def add(config_file: str | None, name: str, password_stdin: bool, cram_md5: bool, senders: tuple[Pattern, ...]) -> None:
    """Add an account, or give one a new password; what it may send as stays, unless --senders is given."""
    path = _file(configuration(config_file))
    password = _read_password() if password_stdin else _ask_password()
    made = kept(name, password, cram_md5)._replace(senders=senders)
    with _editing(path) as (rewriting, accounts):
        before = accounts.get(account_key(name))
        if before is not None:
            made = made._replace(name=before.name, senders=senders or before.senders)
        rewriting.write(with_account(rewriting.text, made))
    click.echo(f"{'added' if before is None else 'changed'} {printable(made.name)}")
    if cram_md5:
        click.echo(f"mta: warning: who can read {path} knows this password now; CRAM-MD5 needs it as it is", err=True)
    elif before is not None and before.cram_md5:
        click.echo("mta: it can no longer log in with CRAM-MD5; say --cram-md5 if it has to", err=True)


@account.command()
@configured
@one_name
def remove(config_file: str | None, name: str) -> None:
    """Remove an account. A session that has logged in with it goes on until it ends."""
    path = _file(configuration(config_file))
    with _editing(path) as (rewriting, accounts):
        known = _known(accounts, name, path)
        rewriting.write(without_account(rewriting.text, known.name))
    click.echo(f"removed {printable(known.name)}")


@account.command(name="list")
@configured
@with_json
@click.argument("name", metavar="[NAME]", type=Name(), required=False)
def list_accounts(config_file: str | None, as_json: bool, name: str | None) -> None:
    """List the accounts, or one: how each can log in, and what it may send as. Dovecot's are not known here."""
    path = _file(configuration(config_file))
    try:
        accounts = read_accounts(path) if path.exists() else {}
    except ConfigError as error:
        raise NotDone(str(error), prefix="") from None
    found = list(accounts.values()) if name is None else [_known(accounts, name, path)]
    if as_json:
        print_json([{"name": one.name, "forms": list(one.forms), "senders": _senders(one)} for one in found])
    elif found:
        rows = [
            (printable(one.name), ",".join(one.forms) or "certificate", ",".join(_senders(one)) or "anything")
            for one in found
        ]
        print_columns(("NAME", "FORMS", "SENDERS"), rows)
    else:
        click.echo(f"there are no accounts in {path}")


def _file(config: Config) -> Path:
    if config.accounts is None or config.accounts.file is None:
        raise NotDone("the configuration names no file of accounts; write accounts: accounts.yml into it")
    return config.accounts.file


@contextmanager
def _editing(path: Path) -> Iterator[tuple[Rewriting, dict[str, Account]]]:
    """The file, kept from others who edit it so, and what is in it. What cannot be done is told in a sentence."""
    try:
        with Rewriting(path) as rewriting:
            yield rewriting, parse_accounts(rewriting.text, str(path))
    except ConfigError as error:
        raise NotDone(str(error), prefix="") from None
    except NotEditable as error:
        raise NotDone(f"{path} {error}") from None
    except UnicodeDecodeError:
        raise NotDone(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise NotDone(f"{error.filename or path} cannot be written: {error.strerror}") from None


def _known(accounts: dict[str, Account], name: str, path: Path) -> Account:
    found = accounts.get(account_key(name))
    if found is None:
        raise NotDone(f"there is no account {printable(name)} in {path}")
    return found


def _ask_password() -> str:
    if not sys.stdin.isatty():
        raise click.UsageError("This asks for a password, and nobody is there to type it; use --password-stdin.")
    return _checked(click.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True))


def _read_password() -> str:
    """All of standard input, which is one line."""
    octets = sys.stdin.buffer.read(LONGEST_PASSWORD + 3).removesuffix(b"\n").removesuffix(b"\r")
    try:
        return _checked(octets.decode())
    except UnicodeDecodeError:
        raise NotDone("the password is not UTF-8 text") from None


def _checked(password: str) -> str:
    if not password:
        raise NotDone("the password must not be empty")
    if len(password.encode()) > LONGEST_PASSWORD:
        raise NotDone(f"the password must not be longer than {LONGEST_PASSWORD} octets")
    try:
        return prepared(password)
    except ValueError as error:
        raise NotDone(f"the password {error}") from None


def _senders(one: Account) -> list[str]:
    return [written(sender) for sender in one.senders]
