"""The pages that people read: configurations in them can be used, links in them lead somewhere."""

import re
import shutil
from pathlib import Path

import pytest

from docs.generate.reference import chapters
from mta.config.load import load

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HANDWRITTEN = [page for page in PAGES if page.name != "configuration.md"]


def configurations() -> list[tuple[str, str]]:
    """Every configuration in a page; what is only a part of one is completed."""
    found = []
    for page in HANDWRITTEN:
        for number, text in enumerate(YAML.findall(page.read_text(encoding="utf-8"))):
            if re.match(r"(hostname|spool|listen|relay|routes|logins|tls|admin|log|retry|limits):", text):
                found.append((f"{page.name}-{number}", text))
    return found


def completed(text: str) -> str:
    """What a part of a configuration has around it."""
    lines = [text]
    logins = set(re.findall(r"login: (\w+)", text))
    if not re.search(r"^spool:", text, re.MULTILINE):
        lines.append("spool: spool")
    if re.search(r"\bauth: (offered|required)", text) and not re.search(r"^accounts:", text, re.MULTILINE):
        lines.append("accounts: accounts.yml")
    if logins and not re.search(r"^logins:", text, re.MULTILINE):
        lines.append("logins: {" + ", ".join(f"{name}: {{user: u, password_file: p}}" for name in logins) + "}")
    if "login" in text and "tls: required" in text and not re.search(r"^tls:", text, re.MULTILINE):
        lines.append("tls: {certificate: c, key: k}")
    return "\n".join(lines)


def test_there_are_some() -> None:
    assert len(configurations()) > 8


@pytest.mark.parametrize(("name", "text"), configurations(), ids=lambda value: value if len(value) < 40 else "")
def test_a_configuration_in_a_page_can_be_used(tmp_path: Path, name: str, text: str) -> None:
    shutil.copy(ROOT / "etc/directory.yml", tmp_path)
    (tmp_path / "mta.yml").write_text(completed(text), encoding="utf-8")
    load(tmp_path / "mta.yml", own_name="mail.example.org")


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", re.sub(r"[`*]", "", head).lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_keys_in_the_migration_from_postfix_are_keys() -> None:
    text = (ROOT / "docs/from-postfix.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `[^|]*\|([^|]*)\|", text, re.MULTILINE)
    known = {key.path for chapter in chapters() for key in chapter.keys} | {one.name for one in chapters()}
    named = {word for row in rows for word in re.findall(r"`([a-z_]+(?:\[\])?(?:\.[a-z_]+)?)(?::[^`]*)?`", row)}
    others = {"aliases", "lists", "mailboxes", "moved", "discard", "dovecot", "lmtp"}  # below directory, and values
    sections = {"tls.names"}  # of entries with keys of their own
    assert sorted(named - known - others - sections) == []
    assert len(rows) >= 60
