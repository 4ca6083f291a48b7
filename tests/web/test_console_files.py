"""What the console is made of: templates that escape, and files of others that are what they came as."""

import re
from hashlib import sha256
from pathlib import Path

import pytest
from setuptools.config.setupcfg import read_configuration

from mta.web.console.files import STATIC
from mta.web.console.files import routes as file_routes
from mta.web.console.rendering import TEMPLATES, Rendering

ROOT = Path(__file__).parents[2]
VENDOR = STATIC / "vendor"
SUMS = dict(reversed(line.split()) for line in (VENDOR / "SHA256SUMS").read_text().splitlines())
SOURCES = sorted(TEMPLATES.glob("*.html"))
# What would put something into a page unescaped, or run or style it where the policy of the pages forbids that.
UNSAFE = re.compile(
    r"\|\s*safe\b|autoescape|Markup|<script(?![^>]*\ssrc=)|<style|\sstyle\s*=|\son[a-z]+\s*=|javascript:|"
    r"\shx-(?:on|vals|headers)|(?:src|href|action)\s*=\s*[\"']?(?:https?:)?//",
    re.IGNORECASE,
)


@pytest.mark.parametrize("name", sorted(SUMS))
def test_a_file_of_others_is_what_it_came_as(name: str) -> None:
    assert sha256((VENDOR / name).read_bytes()).hexdigest() == SUMS[name]


def test_every_file_of_others_has_a_sum_and_a_licence() -> None:
    there = {file.name for file in VENDOR.iterdir()} - {"SHA256SUMS", "README.md"}
    assert there == set(SUMS)
    for package in {name.partition(".")[0] for name in there}:
        assert f"{package}.LICENSE" in there


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.name)
def test_no_template_leaves_out_escaping(file: Path) -> None:
    assert UNSAFE.findall(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "{{ x|safe }}", "{{ x | safe }}", "{% autoescape false %}", "<script>go()</script>", "<style>a{}</style>",
        '<p style="color:red">', '<a onclick="go()">', '<a href="javascript:x">', '<img src="https://elsewhere/x.png">',
        '<a href="//elsewhere/">', '<p hx-on:click="x">',
    ],
)  # fmt: skip
def test_it_would_be_found(text: str) -> None:
    assert UNSAFE.search(text)


def test_everything_is_escaped_whatever_a_template_forgets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "x.html").write_text("{% macro m(v) %}[{{ v }}]{% endmacro %}{{ a }}{{ m(a) }}{{ [a] | join }}")
    monkeypatch.setattr("mta.web.console.rendering.TEMPLATES", tmp_path)
    words = dict.fromkeys(("moment", "span", "size"), str)
    page = Rendering(words, {}).page("x.html", a='<b>"\x1b[31m‮')
    assert page.decode() == (
        "&lt;b&gt;&#34;\\x1b[31m\\x202e[&lt;b&gt;&#34;\\x1b[31m\\x202e]&lt;b&gt;&#34;\\x1b[31m\\x202e"
    )


def test_the_package_ships_them() -> None:
    shipped = read_configuration(ROOT / "setup.cfg")["options"]["package_data"]["mta.web"]
    folder = ROOT / "mta" / "web"
    found = {file for pattern in shipped for file in folder.glob(pattern) if file.is_file()}
    assert found == {file for part in (TEMPLATES, STATIC) for file in part.rglob("*") if file.is_file()}


def test_every_file_that_a_template_names_is_served() -> None:
    named = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', (TEMPLATES / "base.html").read_text()))
    assert len(named) >= 5
    assert named <= {route.pattern for route in file_routes()}
