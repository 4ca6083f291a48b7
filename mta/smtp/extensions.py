"""Extensions: what the server offers in its answer to EHLO, and what each offer adds to MAIL and RCPT.

An extension is a row. What is not announced does not exist: its parameters are unknown (555).
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from mta.smtp import notification, parameters

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


VRFY = Extension("VRFY")  # RFC 5321 4.1.1.6
# What every client is offered.
EXTENSIONS = (
    Extension("PIPELINING"),  # RFC 2920
    Extension("SIZE", "{message_size}", mail={"SIZE": parameters.octets}),  # RFC 1870
    Extension("8BITMIME", mail={"BODY": parameters.body}),  # RFC 6152; BINARYMIME adds a value to BODY
    Extension("ENHANCEDSTATUSCODES"),  # RFC 2034
    Extension(  # RFC 3461 4
        "DSN",
        mail={"RET": notification.ret, "ENVID": notification.envelope_id},
        rcpt={"NOTIFY": notification.notify, "ORCPT": notification.original_recipient},
    ),
    Extension("CHUNKING"),  # RFC 3030
    Extension("BINARYMIME"),  # RFC 3030
    Extension("SMTPUTF8", mail={"SMTPUTF8": parameters.alone("SMTPUTF8")}),  # RFC 6531
    Extension("DELIVERBY", mail={"BY": parameters.by}),  # RFC 2852
    VRFY,
    Extension("HELP"),  # RFC 5321 4.1.1.8
)
EXPN = Extension("EXPN")  # RFC 5321 4.1.1.7
ETRN = Extension("ETRN")  # RFC 1985
STARTTLS = Extension("STARTTLS")  # RFC 3207
REQUIRETLS = Extension("REQUIRETLS", mail={"REQUIRETLS": parameters.alone("REQUIRETLS")})  # RFC 8689
MT_PRIORITY = Extension("MT-PRIORITY", mail={"MT-PRIORITY": parameters.priority})  # RFC 6710
XCLIENT = Extension("XCLIENT", "NAME ADDR PORT PROTO HELO LOGIN")


def auth(mechanisms: Iterable[str], old_form: bool = False) -> tuple[Extension, ...]:
    """AUTH (RFC 4954 3), with the line that clients older than the standard look for where it is wanted.

    LOGIN is the first on that line, as some of them look for the text "AUTH=LOGIN".
    """
    known = list(mechanisms)
    announced = Extension("AUTH", " ".join(known), mail={"AUTH": parameters.auth})
    if not old_form:
        return (announced,)
    old = " ".join(sorted(known, key=lambda mechanism: mechanism != "LOGIN"))
    return announced, Extension(f"AUTH={old}")


def limits(recipients: int) -> Extension:
    """LIMITS (RFC 9422 4.2): recipients of one transaction."""
    return Extension("LIMITS", f"RCPTMAX={recipients}")


def future_release(longest: int, latest: str) -> Extension:
    """FUTURERELEASE (RFC 4865 4): the longest interval in seconds, and the latest time as RFC 3339 writes it."""
    return Extension("FUTURERELEASE", f"{longest} {latest}", mail=parameters.future_release_checks(longest))


def mail_parameters(extensions: Iterable[Extension]) -> dict[str, Check]:
    """The parameters of MAIL that these extensions add, by keyword."""
    return {keyword: check for extension in extensions for keyword, check in extension.mail.items()}


def rcpt_parameters(extensions: Iterable[Extension]) -> dict[str, Check]:
    """The parameters of RCPT that these extensions add, by keyword."""
    return {keyword: check for extension in extensions for keyword, check in extension.rcpt.items()}
