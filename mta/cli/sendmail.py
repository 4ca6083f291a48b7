"""Sendmail: `mta sendmail …`, and the names `sendmail`, `mailq` and `newaliases`: mail from programs of this machine.

The relay is given the message by SMTP; where it is not there, the message is left in its drop folder. Either way exit
status 0 means: it is on stable storage.
"""

import os
import pwd
import select
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Final

import click

from mta.cli.common import NotDone
from mta.cli.impostors import is_impostor
from mta.cli.letter import Letter, Unfit, addresses_in
from mta.cli.sendmail_words import ALIASES, LISTING, MAIL, SESSION, Words, WrongWords, read_words
from mta.cli.submitting import Submitted, submit
from mta.cli.whereabouts import NoConfiguration, Whereabouts, find_relay
from mta.message.printable import printable
from mta.smtp import replies, xtext
from mta.smtp.allowance import RECIPIENTS_LIMIT
from mta.smtp.asking import NO_WISHES, Mail, Wishes
from mta.smtp.batch import batch
from mta.smtp.client import Ending, How, Stage
from mta.smtp.steps import OwnReply
from mta.spool.drop import leave, prepare_before, user_name

NAMES: Final = frozenset({"sendmail", "mailq", "newaliases"})
IN_MEMORY: Final = 1024 * 1024  # octets of a message; what is longer goes to a temporary file
_BLOCK: Final = 65536
_NO_USER: Final = frozenset({"5.1.0", "5.1.1", "5.1.3", "5.1.6"})
_NO_HOST: Final = frozenset({"5.1.2", "5.1.10", "5.4.4"})


_NOT_ASKED: Final = Ending(How.LOST, OwnReply(451, "4.4.1", ("nobody was asked",)), Stage.GREETING)


class _Verbatim(click.Command):
    """A command whose words are its own matter."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """All of them, as they are."""
        if args[:1] == ["--help"]:
            click.echo(ctx.get_help())
            ctx.exit()
        ctx.params["words"] = tuple(args)
        return []


@click.command(cls=_Verbatim, options_metavar="[-t] [-i] [-f SENDER] [-F NAME] [-bs|-bp] …", add_help_option=False)
def sendmail(words: tuple[str, ...]) -> None:
    """Send the message on standard input, as sendmail(8) does, to the recipients that follow.

    \b
    -t          also to those in the header (To, Cc, Bcc); Bcc is taken out
    -i, -oi     a line with a dot alone does not end the message
    -f, -r A    from this address (the envelope's)
    -F NAME     full name, for a message without From
    -N, -R, -V  notices to ask for: -N success,failure,delay|never, -R full|hdrs, -V ID
    -v          say what becomes of it
    -bs         speak SMTP on standard input and output
    -bp         list the queue (mailq)
    -C FILE     the configuration (also --config FILE)

    Other options of sendmail are passed over. Exit status as in sysexits.h: 0 sent, or left for the relay to take it
    up; 64 used wrongly, 65 not a message, 67 no such user, 75 try again later …
    """
    sys.exit(run(words))


def run(words: Sequence[str], name: str = "sendmail") -> int:
    """Do what a command line says; the exit status, after a sentence on standard error where it is not 0."""
    try:
        asked = read_words(words, name)
        if sys.stdin is None and asked.mode in (MAIL, SESSION):
            return _say("standard input is closed, so there is no message", os.EX_NOINPUT)
        if asked.mode == ALIASES:
            return os.EX_OK  # the directory is read anew by the relay itself
        if asked.mode == LISTING:
            return _list(asked)
        if asked.mode == SESSION:
            return _talk(find_relay(asked.config, os.environ))
        if asked.flush and not (asked.recipients or asked.from_header):
            return os.EX_OK  # the relay tries what is due by itself; `mta retry` has it tried at once
        return _send(asked, sys.stdin.buffer)
    except WrongWords as error:
        return _say(f"{error}; mta sendmail --help lists the options", os.EX_USAGE)
    except Unfit as error:
        return _say(str(error), os.EX_DATAERR)
    except NoConfiguration as error:
        return _say(str(error), os.EX_CONFIG)
    except OSError as error:
        return _say(f"{error.strerror or error}", os.EX_IOERR)
    except KeyboardInterrupt:
        return _say("interrupted; nothing is known to be sent", os.EX_TEMPFAIL)


def _send(asked: Words, source: IO[bytes]) -> int:
    sender = _sender(asked)
    recipients = [one for word in asked.recipients for one in addresses_in(word, "recipient")]
    if not (recipients or asked.from_header):
        raise WrongWords("no recipients: name them, or say -t where they are in the header")
    where = find_relay(asked.config, os.environ)
    with SpooledTemporaryFile(IN_MEMORY) as body:
        return _send_letter(asked, Letter(source, asked.dot_ends, body), sender, recipients, where)


def _send_letter(asked: Words, letter: Letter, sender: str, recipients: list[str], where: Whereabouts) -> int:
    if asked.from_header:
        recipients += letter.recipients()
    recipients = list(dict.fromkeys(recipients))
    if not recipients:
        return _say("no recipients: none are named in To, Cc or Bcc", os.EX_USAGE)
    if sender:
        letter.add_from(sender if "@" in sender else f"{sender}@{where.hostname}", _full_name(asked))
    notifications = [(asked.notify, "")] * len(recipients) if asked.notify else ()
    wishes = Wishes(asked.ret, xtext.encode(asked.envid), notifications)
    mail = Mail(
        sender,
        recipients,
        letter.size,
        letter.eight_bit,
        True,
        letter.blocks,
        wishes=wishes if wishes != NO_WISHES else NO_WISHES,
    )
    return _hand_over(mail, where, asked.verbose)


def _sender(asked: Words) -> str:
    """The reverse-path: "" for the null one; a local part alone for the relay to complete."""
    if asked.sender is None:
        return user_name(os.getuid())
    if asked.sender.strip() in ("", "<>"):
        return ""
    found = addresses_in(asked.sender, "-f")
    if len(found) != 1:
        raise WrongWords("-f takes one address")
    return found[0]


def _full_name(asked: Words) -> str:
    if asked.full_name is not None:
        return asked.full_name
    if asked.sender is not None:
        return ""  # who sends for somebody else has another name
    try:
        gecos = pwd.getpwuid(os.getuid()).pw_gecos.partition(",")[0]
    except KeyError:
        return ""
    return os.environ.get("NAME") or gecos.replace("&", user_name(os.getuid()).title())


def _hand_over(mail: Mail, where: Whereabouts, verbose: bool) -> int:
    """By SMTP, else by the drop folder."""
    said: list[str] = []
    endings: Sequence[Ending] = [_NOT_ASKED] * len(mail.forward_paths)
    for place in where.places:
        if is_impostor(place, where.spools):
            said.append(f"{place}: another user listens there")
            continue
        submitted = submit(place, where.hostname, mail)
        endings = submitted.endings
        said.append(f"{place}: {endings[0].reply}")
        if any(one.how is not How.LOST or one.stage is not Stage.GREETING for one in endings):
            if verbose:
                _tell_all(mail, submitted)
            break
    each = list(zip(mail.forward_paths, endings, strict=True))
    late = [path for path, ending in each if _is_for_later(ending)]
    refused = [(path, ending) for path, ending in each if ending.how is not How.TAKEN and not _is_for_later(ending)]
    status = os.EX_OK
    for path, ending in refused:
        status = status or _status(ending)
        _say(f"{printable(path)} is refused: {ending.reply}")
    if refused and len(refused) < len(mail.forward_paths):
        _say("it goes to the other recipients")
    said = said or ["no listener is for programs of this machine"]
    return (_leave(mail, late, where, said, verbose) or status) if late else status


def _leave(mail: Mail, late: list[str], where: Whereabouts, said: list[str], verbose: bool) -> int:
    """Leave it in the drop folder, for those who have not got it."""
    folder = next(filter(_is_folder, where.drops), where.drops[0])
    wishes = mail.wishes
    try:
        if where.file is not None and not _is_folder(folder):
            prepare_before(where.spools[0])
        for start in range(0, len(late), RECIPIENTS_LIMIT):
            some = late[start : start + RECIPIENTS_LIMIT]
            notifications = list(wishes.notifications)[: len(some)]
            part = mail._replace(forward_paths=some, wishes=wishes._replace(notifications=notifications))
            leave(folder, batch(where.hostname, part))
    except OSError as error:
        why = f"the relay cannot take it ({'; '.join(said)}), nor can it be left in {folder}: {error.strerror}"
        return _say(why, os.EX_TEMPFAIL if isinstance(error, TimeoutError) or error.errno in _FULL else os.EX_CANTCREAT)
    if verbose:
        _say(f"left in {folder} for the relay to take it up ({'; '.join(said)})")
    return os.EX_OK


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # one on the way there lets nobody pass
        return False


_FULL: Final = frozenset({28, 122})  # ENOSPC, EDQUOT


def _is_for_later(ending: Ending) -> bool:
    """Has the relay not refused it for good? What a login by ownership of a file may do, a client perhaps may not."""
    if ending.how in (How.LOST, How.UNKNOWN, How.LATER, How.ELSEWHERE):
        return True
    if ending.how is How.TAKEN:
        return False
    reply = ending.reply
    return ending.stage is Stage.GREETING or not reply.is_permanent or reply in _NOT_FROM_THERE


_NOT_FROM_THERE: Final = (replies.RELAYING_DENIED, replies.LOGIN_FIRST, replies.TLS_FIRST)


def _status(ending: Ending) -> int:
    """The exit status for a refusal."""
    enhanced = ending.reply.enhanced
    if enhanced in _NO_USER:
        return os.EX_NOUSER
    if enhanced in _NO_HOST:
        return os.EX_NOHOST
    if enhanced.startswith("5.7."):
        return os.EX_NOPERM
    if enhanced.startswith("5.6.") or enhanced == "5.5.2":
        return os.EX_DATAERR
    return os.EX_UNAVAILABLE


def _tell_all(mail: Mail, submitted: Submitted) -> None:
    for path, ending in zip(mail.forward_paths, submitted.endings, strict=True):
        _say(f"{printable(path)} at {submitted.place}: {ending.reply}")


def _list(asked: Words) -> int:
    from mta.cli.program import program

    where = find_relay(asked.config, os.environ)
    if not any(_is_ours(spool) for spool in where.spools):
        return _say(f"the queue in {where.spools[0]} can be listed by root and by the relay's user", os.EX_NOPERM)
    try:
        program(["queue", *(["--config", str(where.file)] if where.file else [])], "mta", standalone_mode=False)
    except NotDone as error:
        return _say(error.message, os.EX_UNAVAILABLE)
    return os.EX_OK


def _is_ours(spool: Path) -> bool:
    try:
        return os.geteuid() in (0, spool.stat().st_uid)
    except FileNotFoundError:
        return True  # and empty
    except OSError:
        return False


def _talk(where: Whereabouts) -> int:
    """SMTP on standard input and output, spoken by the relay."""
    for place in where.places:
        if is_impostor(place, where.spools):
            continue
        try:
            connection = place.connect()
        except OSError:
            continue
        connection.settimeout(None)
        with connection:
            _pass_on(connection)
        return os.EX_OK
    sys.stdout.write(f"421 4.3.2 {where.hostname} the relay is not there; try again later\r\n")
    sys.stdout.flush()
    return os.EX_TEMPFAIL


def _pass_on(connection: socket.socket) -> None:
    """Octets both ways, until the relay has said its last."""
    source, out = sys.stdin.fileno(), sys.stdout.fileno()
    listening = [connection.fileno(), source]
    while True:
        ready, _, _ = select.select(listening, [], [])
        if connection.fileno() in ready:
            octets = connection.recv(_BLOCK)
            if not octets:
                return
            while octets:
                octets = octets[os.write(out, octets) :]
        if source in ready:
            octets = os.read(source, _BLOCK)
            if octets:
                connection.sendall(octets)
            else:
                listening.remove(source)
                connection.shutdown(socket.SHUT_WR)


def _say(text: str, status: int = os.EX_OK) -> int:
    click.echo(f"sendmail: {text}", err=True)
    return status
