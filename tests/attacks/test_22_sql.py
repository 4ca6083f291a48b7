"""Case 22: addresses that are meant for a database, or for a file system."""

import ast
from pathlib import Path

import pytest
from attack_ground import GREETED, SENDER, Victim
from cli_ground import Ground
from spools import SqliteWorld, clock_at_start

import mta.spool

HOSTILE = [
    "'; DROP TABLE message; --",
    "' OR '1'='1",
    "x' UNION SELECT body FROM message --",
    '"); DELETE FROM delivery; --',
    "%_*?[",
    "../../../../etc/passwd",
    "/etc/passwd",
    "..",
    "a\\'b",
]
OUR_OWN = {"number", "pages", "script"}
LARGE = b"Subject: x\r\n\r\n" + b"0123456789abcde\r\n" * 20_000


def quoted(text: str, domain: str = "example.net") -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"@{domain}'


@pytest.mark.parametrize("text", HOSTILE)
def test_the_session_takes_it_as_a_name(tmp_path: Path, text: str) -> None:
    """Which it is: most of these are legal in a quoted local part."""
    victim = Victim(tmp_path, relaying="yes")
    victim.say(GREETED, SENDER, f"RCPT TO:<{quoted(text)}>", "DATA", "Subject: x", "", ".")
    [claim] = victim.claims
    assert claim.envelope.recipients[0].address in (quoted(text), f"{text}@example.net")


@pytest.mark.parametrize("text", HOSTILE)
def test_it_is_kept_and_found_as_it_is(folder: Path, text: str) -> None:
    world = SqliteWorld(clock_at_start(), folder / "spool")
    other, _ = world.commit()
    address = quoted(text)
    message, _ = world.commit([address], destination=address, sender=address, content=LARGE)
    [claim] = world.claim(address)
    assert (claim.destination, claim.envelope.sender, claim.envelope.recipients[0].address) == (address,) * 3
    assert world.content(claim) == LARGE
    [file] = (folder / "spool" / "content" / "0").iterdir()
    assert file.name.isalnum(), "no address names a file"
    with world.desk() as desk:
        assert sorted(one.id for one in desk.queue()) == sorted([other, message])
    assert world.record(claim)
    assert len(world.claim()) == 1
    world.close()


@pytest.mark.parametrize("text", HOSTILE)
def test_an_operator_may_paste_it(folder: Path, text: str) -> None:
    ground = Ground(folder)
    ground.add("bob@there.test")
    mine = ground.add(quoted(text), sender=quoted(text))
    for word in ("--to", "--from"):
        chosen = ground.mta("queue", word, quoted(text)).stdout
        assert mine in chosen
        assert "bob@there.test" not in chosen
    ground.mta("drop", "--to", quoted(text), "--yes")
    assert ground.rows("SELECT count(*) FROM message") == [(1,)]
    ground.close()


def test_no_statement_is_made_of_values() -> None:
    """Where SQL is put together it is of constants and of marks for values; no name of a value stands in it."""
    built = []
    for file in Path(mta.spool.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr) and _is_sql(node):
                built += [
                    f"{file.name}:{node.lineno}: {ast.unparse(part.value)}"
                    for part in node.values
                    if isinstance(part, ast.FormattedValue) and not _is_safe(part.value)
                ]
    assert built == []


def _is_sql(node: ast.JoinedStr) -> bool:
    text = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
    return any(word in text for word in ("SELECT ", "INSERT ", "UPDATE ", "DELETE FROM", "WHERE ", "PRAGMA "))


def _is_safe(value: ast.expr) -> bool:
    """A constant of a module; or one of the few that are numbers, or come from the schema's own files."""
    return isinstance(value, ast.Name) and (value.id.strip("_").isupper() or value.id in OUR_OWN)
