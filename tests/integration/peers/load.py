"""Load: clients that send message after message, and count what became of each connection."""

import smtplib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

QUICK = 0.004  # seconds between two messages of a client
# Seconds that a client waits for a greeting and for each reply; RFC 5321 4.5.3.2 has minutes. If it were less than a
# start takes on a busy machine, a relay that has clients wait would be one that refuses them.
PATIENCE = 60.0


class Load:
    """sent: subjects of the messages that were answered 250. refused: connections that were not greeted, in words. cut:
    sessions that came to an end before their message was answered.
    """

    def __init__(self, address: str, port: int, recipient: str) -> None:
        self._place = (address, port)
        self._recipient = recipient
        self._ending = threading.Event()
        self.sent: list[str] = []
        self.refused: list[str] = []
        self.cut: list[str] = []

    def run(self, number: int) -> None:
        """Send until it ends: of each ten messages nine over a connection of their own."""
        session: smtplib.SMTP | None = None
        for count in range(1_000_000):
            if self._ending.is_set():
                break
            subject = f"{number}-{count}"
            if session is None:
                try:
                    session = smtplib.SMTP(*self._place, "client.test", timeout=PATIENCE)
                except (OSError, smtplib.SMTPException) as error:
                    self.refused.append(f"{subject}: {error!r}")
                    continue
            try:
                session.sendmail("a@sender.test", [self._recipient], f"Subject: {subject}\r\n\r\nbody\r\n")
                self.sent.append(subject)
                if count % 10:
                    session.quit()
                    session = None
            except (OSError, smtplib.SMTPException) as error:
                self.cut.append(f"{subject}: {error!r}")
                session = None
            time.sleep(QUICK)
        if session is not None:
            session.close()

    def end(self) -> None:
        """Let what is under way end."""
        self._ending.set()


@contextmanager
def load(address: str, port: int, recipient: str, clients: int = 4) -> Iterator[Load]:
    """So many clients at once, until the end of the block."""
    sending = Load(address, port, recipient)
    threads = [threading.Thread(target=sending.run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield sending
    finally:
        sending.end()
        for thread in threads:
            thread.join(PATIENCE)
