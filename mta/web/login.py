"""Login: the page to log in with, and plain pages for what goes wrong."""

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Final

from mta.web.exchange import HTML, Answer

_STYLE: Final = """
:root{color-scheme:light dark}
body{font:1rem/1.5 system-ui,sans-serif;max-width:26rem;margin:12vh auto;padding:0 1rem}
label,input,button{display:block;width:100%;box-sizing:border-box;font:inherit}
input,button{padding:.5rem;margin:.3rem 0 1rem}
[role=alert]{font-weight:bold}
"""
# Pages that anybody sees have their style with them, by its digest: no other file of ours is shown to strangers.
POLICY: Final = (
    "default-src 'none'; style-src 'sha256-"
    + b64encode(sha256(_STYLE.encode()).digest()).decode()
    + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {"Content-Security-Policy": POLICY}


def page(status: int, title: str, *paragraphs: str) -> Answer:
    """A plain page."""
    text = "".join(f"<p>{escape(one)}</p>" for one in paragraphs if one)
    return _html(status, title, text)


def login_page(there_is_a_token: bool, next_path: str = "/", wrong: str = "") -> Answer:
    """401, and how to log in. next_path: where to go then. wrong: what was wrong with the last try."""
    if not there_is_a_token:
        return page(
            401,
            "Not open yet",
            "This relay has no token that anybody could log in with. Write one to a file that only the relay can read "
            "(openssl rand -hex 32), and name that file in its configuration: admin.token_file.",
        )
    alert = f'<p role="alert">{escape(wrong)}</p>' if wrong else ""
    form = (
        f'{alert}<form method="post" action="/login"><label for="token">Token</label>'
        '<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>'
        f'<input type="hidden" name="next" value="{escape(next_path)}"><button>Log in</button></form>'
        "<p>The token is in the file that admin.token_file names.</p>"
    )
    return _html(401, "Log in", form)


def _html(status: int, title: str, inside: str) -> Answer:
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} - mta</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>{inside}</main></body></html>"
    )
    return Answer(status, HTML, text.encode(), _HEADERS)
