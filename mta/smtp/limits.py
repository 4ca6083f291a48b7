"""Limits: how long, how many and how patient, on both sides. Sizes in octets, times in seconds (RFC 5321 4.5.3)."""

from typing import NamedTuple

# Sizes, RFC 5321 4.5.3.1. Lengths of lines include their CRLF.
LOCAL_PART = 64
DOMAIN = 255
PATH = 256  # with its angle brackets
LABEL = 63  # between two dots of a domain (RFC 1035 2.3.4)
REPLY_LINE = 512

# What we take as a command line: extensions add to the 512 octets (RFC 1869 6.1: SIZE 26, BODY 17, AUTH 500, NOTIFY
# and ORCPT together 528, ENVID and RET 114 …), and a rejection of a long line is worth less than understanding it.
ACCEPTED_COMMAND_LINE = 2048
AUTH_LINE = 12288  # of an AUTH exchange, and of AUTH with its initial response (RFC 4954 4)
# A line that goes on beyond this is not a command any more, and its sender not worth listening to.
ENDLESS_LINE = 65536

# How long a server waits for its client, RFC 5321 4.5.3.2.7: for a command, or for more content.
SERVER_COMMAND = 300.0
SERVER_CONTENT = 3600.0  # all of it, and a second more for each 500 octets that have come

# How long a client waits for its server, RFC 5321 4.5.3.2.1 to .6.
CLIENT_CONNECT = 30.0
CLIENT_HANDSHAKE = 30.0  # of TLS
CLIENT_GREETING = 300.0
CLIENT_MAIL = 300.0
CLIENT_DATA = 120.0
CLIENT_CONTENT_BLOCK = 180.0
CLIENT_END_OF_CONTENT = 600.0
CLIENT_QUIT = 10.0  # nothing depends on the answer any more


class SessionLimits(NamedTuple):
    """What one session may do between two accepted messages, before it is ended with 421 4.7.0.

    bad_commands: lines that are no command, wrong, or out of order. idle_commands: commands that bring no mail nearer
    (NOOP, RSET, VRFY, EXPN, ETRN, AUTH, HELP, HELO, EHLO). refusals: MAIL, RCPT, DATA and content that the owner
    refused; generous, since a list with many stale recipients must still reach the others.
    """

    bad_commands: int = 50
    idle_commands: int = 100
    refusals: int = 1000
