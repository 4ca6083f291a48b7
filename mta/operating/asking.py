"""Asking: what would become of which mail? The question as an operator puts it, with what is usual for the rest."""

from typing import Final, NamedTuple

from mta.config.accounts import read_accounts
from mta.config.model import Config
from mta.policy.account import Account, account_key
from mta.policy.pattern import Kind
from mta.smtp.ip import is_ip_address, plain_address

LOOPBACK: Final = "127.0.0.1"
UNIX: Final = "unix"


class Question(NamedTuple):
    """A mail. address, sender: as a client would write them, "" for the null reverse-path. client: its IP address, ""
    on a Unix socket. listener: the number of its entry. account: who has logged in; None for nobody."""

    address: str
    sender: str
    client: str = LOOPBACK
    listener: int = 0
    account: Account | None = None


def ask(
    config: Config,
    address: str,
    sender: str | None = None,
    client: str | None = None,
    account: str | None = None,
    listener: str | None = None,
) -> Question:
    """A question as an operator puts it; what is left out is what is usual. Raises `ValueError` with what is wrong.

    sender: "<>" for the null reverse-path; else an ordinary one, for an account one that it may use. client: an IP
    address, or "unix"; else of the loopback network. listener: its address; else the first, for an account the first
    that lets log in. Raises `ConfigError` where the file of accounts cannot be read.
    """
    if client is not None and client != UNIX and not is_ip_address(client):
        raise ValueError(f'the client must be an IP address, or "{UNIX}" for one on a Unix socket')
    known = _account(config, account) if account else None
    if sender is None:
        sender = _usual_sender(config, known)
    from_where = LOOPBACK if client is None else "" if client == UNIX else plain_address(client)
    return Question(address, bare(sender), from_where, _listener(config, listener, known), known)


def bare(path: str) -> str:
    """A path without its angle brackets."""
    path = path.strip()
    return path[1:-1] if path.startswith("<") and path.endswith(">") else path


def _account(config: Config, name: str) -> Account:
    """An account. One that only Dovecot can know may send as anybody, as it may when it logs in."""
    sources = config.accounts
    if sources is None:
        raise ValueError("nobody can log in here; the configuration names no accounts")
    found = read_accounts(sources.file).get(account_key(name)) if sources.file is not None else None
    if found is not None:
        return found
    if sources.dovecot is None:
        raise ValueError(f"there is no account {name}; `mta account list` names them")
    return Account(name)


def _listener(config: Config, address: str | None, account: Account | None) -> int:
    named = [str(entry.address) for entry in config.listen]
    if address is not None:
        if address not in named:
            raise ValueError(f"nothing listens on {address}; there are {', '.join(named) or 'no listeners'}")
        number = named.index(address)
    else:
        number = next((n for n, entry in enumerate(config.listen) if account is None or entry.auth != "none"), -1)
    if number < 0 and not named:
        raise ValueError("the configuration has no listener, so nothing can come in")
    if account is not None and (number < 0 or config.listen[number].auth == "none"):
        raise ValueError(f"nobody can log in on {address or 'any listener'}; that takes auth: offered or required")
    return number


def _usual_sender(config: Config, account: Account | None) -> str:
    """An address that such a client might send from."""
    if account is None:
        return f"somebody@{config.hostname}"
    for pattern in account.senders:
        if pattern.kind is Kind.ADDRESS:
            return pattern.name
        if pattern.kind in (Kind.DOMAIN, Kind.BELOW):
            return f"somebody@{pattern.name.removeprefix('.') if pattern.kind is Kind.DOMAIN else f'a{pattern.name}'}"
    return account.name if "@" in account.name else f"{account.name}@{config.hostname}"
