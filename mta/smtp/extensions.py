"""Extensions: what the server offers in its answer to EHLO, and what each offer adds to MAIL and RCPT.

An extension is a row of the table. What is not announced does not exist: its parameters are unknown (555).
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

# From the value of a parameter (None where it has none) to its normal form. A ValueError says what is wrong.
Check = Callable[[str | None], str]

_NO_PARAMETERS: Mapping[str, Check] = MappingProxyType({})


class Extension(NamedTuple):
    """One service extension (RFC 5321 2.2).

    keyword: its name in the answer to EHLO. argument: what stands behind it there; {message_size} is the largest size
    that is taken, in octets, 0 for any. mail, rcpt: the parameters that it adds to these commands.
    """

    keyword: str
    argument: str = ""
    mail: Mapping[str, Check] = _NO_PARAMETERS
    rcpt: Mapping[str, Check] = _NO_PARAMETERS

    def announcement(self, message_size: int) -> str:
        """The line in the answer to EHLO, without its code."""
        return f"{self.keyword} {self.argument.format(message_size=message_size)}".rstrip()


def _octets(value: str | None) -> str:
    if value is None or not value.isdigit() or len(value) > 20:
        raise ValueError("a number of octets is needed, of at most 20 digits")
    return value


def _one_of(*words: str) -> Check:
    def check(value: str | None) -> str:
        word = (value or "").upper()
        if word not in words:
            raise ValueError(f"one of {' '.join(words)} is needed")
        return word

    return check


EXTENSIONS = (
    Extension("PIPELINING"),  # RFC 2920
    Extension("SIZE", "{message_size}", mail={"SIZE": _octets}),  # RFC 1870
    Extension("8BITMIME", mail={"BODY": _one_of("7BIT", "8BITMIME")}),  # RFC 6152
    Extension("ENHANCEDSTATUSCODES"),  # RFC 2034
    Extension("VRFY"),  # RFC 5321 4.1.1.6
    Extension("HELP"),  # RFC 5321 4.1.1.8
)


def mail_parameters(extensions: Iterable[Extension]) -> dict[str, Check]:
    """The parameters of MAIL that these extensions add, by keyword."""
    return {keyword: check for extension in extensions for keyword, check in extension.mail.items()}


def rcpt_parameters(extensions: Iterable[Extension]) -> dict[str, Check]:
    """The parameters of RCPT that these extensions add, by keyword."""
    return {keyword: check for extension in extensions for keyword, check in extension.rcpt.items()}
