"""Clients that send message after message to 127.0.0.1:25, for so many seconds, the first one with STARTTLS.

Run with nothing but Python in a booted system. Prints, as JSON, how many messages were answered 250, and how
connections came to nothing: those that were not greeted are refused.
"""

import contextlib
import json
import smtplib
import ssl
import sys
import threading
import time

SECONDS = float(sys.argv[1])


def send(number: int, sent: list[str], refused: list[str]) -> None:
    end = time.monotonic() + SECONDS
    count = 0
    while time.monotonic() < end:
        count += 1
        try:
            client = smtplib.SMTP("127.0.0.1", 25, "client.test", timeout=60)
        except (OSError, smtplib.SMTPException) as error:
            refused.append(repr(error))
            time.sleep(0.05)
            continue
        with contextlib.suppress(OSError, smtplib.SMTPException):  # a session that was told 421
            if not number:
                client.starttls(context=ssl._create_unverified_context())
            client.sendmail("a@client.test", ["b@example.net"], f"Subject: {number}-{count}\r\n\r\nbody\r\n")
            sent.append(f"{number}-{count}")
            client.quit()
        time.sleep(0.01)


answered: list[str] = []
turned_away: list[str] = []
threads = [threading.Thread(target=send, args=(number, answered, turned_away)) for number in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"sent": len(answered), "refused": turned_away}))
