"""`mta check` and the certificates: what would keep the relay from starting is a mistake."""

from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cli_ground import Ground

CONFIGURATION = """\
hostname: relay.example
postmaster: me@elsewhere.test
spool: spool
listen: [{address: "127.0.0.1:2525", client_ca: ca.pem}, {address: "127.0.0.1:2526"}]
tls: {certificate: cert.pem, key: key.pem}
"""


def _write(ground: Ground, not_after: datetime | None = None) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("relay.example", not_after=not_after)
    folder = ground.file.parent
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    ground.file.write_text(CONFIGURATION)


def test_good_ones(ground: Ground) -> None:
    _write(ground)
    assert "no mistakes, no warnings" in ground.mta("check").stdout


@pytest.mark.parametrize(
    ("name", "where"),
    [("cert.pem", "5: tls.certificate"), ("key.pem", "5: tls.key"), ("ca.pem", "4: listen[0].client_ca")],
)
def test_a_file_that_is_missing_or_empty(ground: Ground, name: str, where: str) -> None:
    _write(ground)
    file = ground.file.parent / name
    file.write_bytes(b"")
    checked = ground.mta("check", status=1)
    assert (checked.stdout, checked.stderr.startswith(f"{ground.file}:{where}: {file}: ")) == ("", True)
    file.unlink()
    assert ground.mta("check", status=1).stderr.startswith(f"{ground.file}:{where}: {file}: there is no such file")


def test_one_that_has_expired_is_a_warning_once(ground: Ground) -> None:
    _write(ground, not_after=datetime.now(UTC) - timedelta(days=1))
    *warnings, summary = ground.mta("check").stdout.splitlines()
    assert len(warnings) == 1
    assert "has expired" in warnings[0]
    assert summary.startswith("no mistakes, 1 warning: ")
