"""Printable: text from outside made harmless for a line of a log, a terminal or a message to the operator."""


def printable(text: str) -> str:
    """The text with all that cannot be printed (control characters, ANSI, line ends) as \\x1b and the like."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
