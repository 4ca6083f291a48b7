"""LMTP transport: carries mail to a mail store (RFC 2033), by TCP or over a Unix socket."""

from mta.transports.smtp import SmtpTransport


class LmtpTransport(SmtpTransport):
    """The same way, in the other language: LHLO, and a final reply for each recipient."""

    lmtp = True
