"""Printable: text from outside made harmless, in the two ways that there are: shown exactly, or made plain."""


def printable(text: str) -> str:
    """The text with all that cannot be printed (control characters, ANSI, line ends) as \\x1b and the like.

    For operators, in logs, on terminals and in messages: they look for what is wrong, and see what was there.
    """
    if text.isprintable():
        return text
    return text.translate({ord(c): f"\\x{ord(c):02x}" for c in set(text) if not c.isprintable()})


def visible(text: str) -> str:
    """The text with a question mark for all that cannot be printed; a tab is a space. It becomes no longer.

    For everybody else, in the notices that we write: escapes would tell them nothing.
    """
    text = text.replace("\t", " ")
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
