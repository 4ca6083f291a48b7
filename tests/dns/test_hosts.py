"""The file of hosts(5)."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mta.dns.hosts import HostsFile, parse

TEXT = """\
# a comment
127.0.0.1\tlocalhost
192.0.2.1  Mail.Example.org mail  # the store
2001:db8::1 mail
192.0.2.1 mail again.
192.0.2.300 nobody
::1
one word
"""


def test_names() -> None:
    assert parse(TEXT) == {
        "localhost": ("127.0.0.1",),
        "mail.example.org": ("192.0.2.1",),
        "mail": ("192.0.2.1", "2001:db8::1"),
        "again": ("192.0.2.1",),
    }


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    parse(text)


def test_file_is_read_again_when_it_changes_and_may_be_absent(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    hosts = HostsFile(path)
    assert hosts.addresses("a") == ()
    path.write_bytes(b"192.0.2.1 a\n\xff\xfe b\n")
    assert hosts.addresses("a") == ("192.0.2.1",)
    path.write_text("192.0.2.2 a\n")
    os.utime(path, (1, 1))
    assert hosts.addresses("a") == ("192.0.2.2",)
    path.unlink()
    assert hosts.addresses("a") == ()
