"""`mta doctor`: how it is used, and what it prints where the DNS knows nothing."""

import json

import pytest
from cli_ground import Ground
from dns_server import serving


def test_it_says_what_it_found_for_programs(ground: Ground) -> None:
    with serving({}) as server:
        ground.file.write_text(f"{ground.file.read_text()}dns: {{nameservers: ['{server}'], timeout: 1s}}\n")
        result = ground.mta("doctor", "good.net", "--json", "--address", "11.1.2.3", "--selector", "S1", status=1)
    examined = json.loads(result.stdout)
    assert examined["domains"] == ["good.net"]
    levels = {(one["check"], one["about"]): one["level"] for one in examined["findings"]}
    assert levels["mx", "good.net"] == "problem"
    assert levels["dkim", "s1._domainkey.good.net"] == "problem"
    assert levels["ptr", "11.1.2.3"] == "problem"
    assert levels["name server", str(server)] == "ok"
    assert levels["open relay", ""] == "ok"
    assert levels["disk", str(ground.spool)] in ("ok", "warning", "problem")
    assert examined["totals"]["problem"] == [one["level"] for one in examined["findings"]].count("problem")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["localhost"], "'localhost' is not a domain such as example.org"),
        (["--address", "mail.good.net"], "'mail.good.net' is not an IP address"),
        (["--selector", "a b"], "'a b' is not a selector"),
        (["--connect", "a_b!"], "'a_b!' is not a domain"),
    ],
)
def test_used_wrongly(ground: Ground, words: list[str], said: str) -> None:
    assert said in ground.mta("doctor", *words, status=2).stderr


def test_on_a_terminal_records_are_left_whole(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are there to be copied; all else is wrapped."""
    monkeypatch.setattr("mta.cli.doctor.on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    with serving({}) as server:
        ground.file.write_text(f"{ground.file.read_text()}dns: {{nameservers: ['{server}'], timeout: 1s}}\n")
        lines = ground.mta("doctor", "good.net", "--address", "11.1.2.3", status=1).stdout.splitlines()
    assert '    _dmarc.good.net. TXT "v=DMARC1; p=none; rua=mailto:postmaster@good.net"' in lines
    assert all(len(line) <= 40 for line in lines[:-1] if not line.startswith("    "))
    assert "problem, " in lines[-1] or "problems, " in lines[-1]
