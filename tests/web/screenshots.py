"""Makes the pictures of docs/console.md: a relay with some mail, looked at with Chromium.

.venv/bin/python tests/web/screenshots.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).parent))

from console_world import ROOT, Looking, World, chromium, world

SENDERS = ("alice@example.org", "shop@example.org", "monitoring@example.org", "scanner@office.example.org")
PICTURES = (  # name, path, colours, width, height
    ("overview", "/", "light", 1080, 860),
    ("overview-dark", "/", "dark", 1080, 860),
    ("queue", "/queue", "light", 1080, 640),
    ("message", "MESSAGE", "light", 1080, 720),
    ("destination", "DESTINATION", "light", 1080, 640),
    ("queue-phone", "/queue", "light", 380, 780),
)


def mail(there: World) -> str:
    """Some mail that goes, and some that does not; the queue id of one that a hop keeps turning away."""
    there.moody.always("RCPT", "450 4.2.1 mailbox is being moved, come back later")
    for number in range(24):
        there.send(f"customer{number}@up.test", SENDERS[number % len(SENDERS)])
    for number in range(9):
        there.send(f"user{number}@down.test", SENDERS[number % len(SENDERS)])
    kept = [there.send(f"{name}@moody.test", "alice@example.org", LETTER) for name in ("bob", "carol", "dave")]
    for one in kept:
        there.relay.wait_until_deferred(one)
    there.moody.always("RCPT", "550 5.1.1 no such user here")
    there.send("nobody@moody.test", "shop@example.org")
    there.relay.mta("hold", kept[2])
    there.relay.mta("retry", kept[0])
    there.relay.wait_until_gone(kept[0])
    return kept[1]


LETTER = (
    b"From: Alice Example <alice@example.org>\r\nTo: Bob <bob@moody.test>\r\nSubject: The minutes of Thursday\r\n"
    b"Date: Sun, 29 Nov 2026 20:00:00 +0000\r\nMessage-ID: <4711@example.org>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\nDear Bob,\r\n\r\nhere they are.\r\n"
)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, world(Path(scratch)) as there, chromium() as browser:
        kept = mail(there)
        down = next(one["via"] for one in there.relay.settings["routes"] if one["to"] == "down.test")
        places = {"MESSAGE": f"/message/{kept}", "DESTINATION": f"/destination?name={quote(down, safe='')}"}
        for name, path, colours, width, height in PICTURES:
            look = Looking(browser, there.url, color_scheme=colours, viewport={"width": width, "height": height})
            look.log_in()
            page = look.open(places.get(path, path))
            for details in page.locator("details").all():
                details.locator("summary").click()
            page.get_by_text("live", exact=True).wait_for()
            picture = folder / f"{name}.png"
            page.screenshot(path=str(picture))
            print(f"{picture}: {picture.stat().st_size:,} octets", *look.wrong)
            look.context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "console")
