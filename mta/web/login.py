"""Login: the page to log in with, and plain pages for what goes wrong."""

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Final

from mta.web.exchange import HTML, Answer

_STYLE: Final = """
:root{color-scheme:light dark;--page:#f6f7f7;--card:#fff;--text:#1d2628;--soft:#566367;--line:#dfe4e5;--edge:#8b989c;
--accent:#17606e;--on:#fff;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--page:#12181a;--card:#1a2224;--text:#e4eaeb;--soft:#9fadb1;--line:#2c383b;
--accent:#7cc7d4;--on:#0d2226;--bad:#ff9d93}}
*{box-sizing:border-box}
body{font:15px/1.5 Inter,"Segoe UI",system-ui,sans-serif;background:var(--page);color:var(--text);margin:0;padding:1rem;
overflow-wrap:anywhere}
main{max-width:25rem;margin:12vh auto 0;padding:1.5rem 1.75rem;background:var(--card);border:1px solid var(--line);
border-radius:10px}
h1{margin:0 0 1rem;font-size:1.4rem;line-height:1.25}
p{margin:.9rem 0 0;color:var(--soft);font-size:.93rem}
label{display:block;color:var(--soft);font-size:.87rem}
[hidden]{display:none}
input,button{display:block;width:100%;min-height:2.4rem;padding:.4rem .75rem;border:1px solid var(--edge);
border-radius:7px;background:var(--card);color:var(--text);font:inherit}
input{margin:.2rem 0 1rem}
button{border-color:var(--accent);background:var(--accent);color:var(--on);font-weight:600;cursor:pointer}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
[role=alert]{margin:0 0 1rem;color:var(--bad);font-weight:600}
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
        '<input name="username" value="mta" autocomplete="username" hidden>'  # what keepers of passwords file it under
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
