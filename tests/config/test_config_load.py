"""Finding, reading and understanding configurations that are right, and never failing but with `ConfigError`."""

import re
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from mta.config.load import HERE, find, load, machine_name
from mta.config.model import Config
from mta.config.problems import ConfigError, all_paths
from mta.config.units import SocketAddress
from mta.policy.pattern import Pattern
from mta.policy.retry import RetryPolicy
from mta.policy.routing import Hop, Via
from mta.smtp.reply import Reply

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "etc" / "mta.yml"
EVERYTHING = Path(__file__).parent / "everything.yml"  # every key that there will be, with a value that asks for it

# The configuration that the outside benchmark writes.
BENCH = """\
hostname: relay.bench.test
spool: /tmp/bench/spool
workers: 1
listen:
  - address: 127.0.0.1:2601
    tls: none
relay: {networks: [127.0.0.0/8], domains: []}
routes:
  - {to: "*", via: "smtp://127.0.0.1:2602", tls: none}
retry: {after: [1s, 2s, 5s], warn: never, give_up: 5d}
limits: {connections: 20000, connections_per_client: 20000}
admin: {listen: null}
"""


def load_text(folder: Path, text: str) -> Config:
    path = folder / "mta.yml"
    path.write_text(text, encoding="utf-8")
    return load(path, own_name="mail.example.org")


def test_defaults(tmp_path: Path) -> None:
    config = load_text(tmp_path, "spool: ../spool\n")
    assert config.hostname == "mail.example.org"
    assert config.postmaster == "postmaster@mail.example.org"
    assert config.spool == tmp_path.parent / "spool"
    assert [str(listener.address) for listener in config.listen] == ["127.0.0.1:2525"]
    assert [str(network) for network in config.relay.networks] == ["127.0.0.0/8", "::1/128"]
    assert config.retry_policy() == RetryPolicy((300, 600, 1200, 2400, 3600, 7200, 14400), 14400, 432000)
    assert config.history == 7 * 86400
    assert config.limits.message_size == 50 * 1024 * 1024
    assert config.admin.listen == SocketAddress("127.0.0.1", 8025)
    assert config.routing().decide("", "a@example.org").hop == Hop(Via.MX, "example.org")


def test_example_as_it_stands() -> None:
    config = load(EXAMPLE)
    assert config.spool == ROOT / "spool"
    assert config.hostname == machine_name()
    assert [str(listener.address) for listener in config.listen] == ["127.0.0.1:2525"]
    assert config.access().may_relay("127.0.0.1")
    assert not config.access().may_relay("192.0.2.1")


def test_example_shows_the_defaults(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^( *)#(?=[a-z]|  )", r"\1", EXAMPLE.read_text(encoding="utf-8"))
    shown = load_text(tmp_path, text.replace("localhost", "mail.example.org"))
    plain = load_text(tmp_path, "spool: ../spool\n")
    assert [route.to.name for route in shown.routing().routes] == ["example.org", "gone@example.net", "*"]
    differ = {name for name in Config.model_fields if getattr(shown, name) != getattr(plain, name)}
    assert differ == {"postmaster", "routes"}


def test_example_mentions_every_key() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    keys = {path.rpartition(".")[2] for path in all_paths(Config)} - {"oauth2", "token_file", "user"}
    assert [key for key in keys if not re.search(rf"\b{key}:", text)] == []


def test_every_key_there_will_be_is_known() -> None:
    with pytest.raises(ConfigError) as error:
        load(EVERYTHING)
    assert {problem.key for problem in error.value.problems} == {
        "logins.office.oauth2",
        "logins.office.token_file",
    }
    assert all(problem.text.startswith("not available yet (") for problem in error.value.problems)


def test_every_key_has_a_description() -> None:
    def undescribed(model: type[BaseModel]) -> list[str]:
        return [f"{model.__name__}.{name}" for name, field in model.model_fields.items() if not field.description]

    models = [Config, *Config.__base__.__subclasses__()]
    assert [name for model in models for name in undescribed(model)] == []


def test_benchmark(tmp_path: Path) -> None:
    config = load_text(tmp_path, BENCH)
    assert config.routing().decide("", "a@b.example").hop == Hop(Via.SMTP, "127.0.0.1", 2602, tls="none")
    assert config.retry_policy() == RetryPolicy((1, 2, 5), None, 432000)
    assert config.admin.listen is None


def test_values_that_ask_for_nothing_missing(tmp_path: Path) -> None:
    config = load_text(
        tmp_path,
        """
spool: spool
workers: 1
listen:
  - {address: "[::]:25", tls: none, auth: none, plaintext_auth: [], auth_equals: false, client_ca: null,
     etrn: [], proxy_protocol: [], xclient: [], legacy_tls: false, vrfy: off, bare_lf: fix}
routes: [{to: "*", via: mx, login: null, name: null, tls: none, eight_bit: send}]
logins: {}
retry: {warn: never}
tls: null
accounts: null
directory: null
dns: {nameservers: [], trust_ad: false, private_exchangers: refuse}
admin: {listen: null, token_file: null}
webhooks: []
log: {format: json, addresses: hashed}
""",
    )
    assert config.listen[0].vrfy == "off"  # a word, not a boolean
    assert config.listen[0].address == SocketAddress("::", 25)


def test_blocks_with_nothing_in_them_keep_their_defaults(tmp_path: Path) -> None:
    config = load_text(tmp_path, "spool: s\nlisten:\nrelay:\n  networks:\nroutes:\nlogins:\nretry:\nlog:\nadmin:\n")
    plain = load_text(tmp_path, "spool: s\n")
    assert [name for name in Config.model_fields if getattr(config, name) != getattr(plain, name)] == []


def test_policy_values(tmp_path: Path) -> None:
    config = load_text(
        tmp_path,
        """
spool: /var/spool/mta
relay: {networks: [10.0.0.0/8, 192.0.2.7, "::ffff:198.51.100.0/120"], domains: [Example.ORG., .example.net]}
routes:
  - {to: Example.ORG, via: "lmtp+unix:run/lmtp", name: store}
  - {from: "*@shop.example.org", to: .example.com, via: "smtp://[2001:db8::1]:587", tls: none, eight_bit: send}
  - {from: "<>", via: discard}
  - {to: gone@example.com, via: 550 5.1.6 gone}
""",
    )
    access, routing = config.access(), config.routing()
    assert access.networks == tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.7/32", "198.51.100.0/24")))
    assert access.domains == ("example.org", ".example.net")
    assert [route.onward for route in routing.routes] == [
        Hop(Via.LMTP_UNIX, path=f"{tmp_path}/run/lmtp"),
        Hop(Via.SMTP, "2001:db8::1", 587, tls="none", eight_bit="send"),
        Hop(Via.DISCARD),
        Reply(550, "5.1.6", ("gone",)),
    ]
    assert routing.routes[0].to == Pattern.parse("example.org")
    assert routing.routes[0].name == "store"
    assert routing.decide("<>", "a@example.org").route == "store"


def test_paths_begin_at_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "real" / "etc"
    folder.mkdir(parents=True)
    (folder / "mta.yml").write_text("spool: ../spool\nlisten: [{address: 'unix:../run/smtp'}]\n", encoding="utf-8")
    (tmp_path / "etc").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    for path in (Path("etc/mta.yml"), tmp_path / "etc" / "mta.yml"):
        config = load(path)
        assert config.spool == tmp_path / "real" / "spool"
        assert str(config.listen[0].address) == f"unix:{tmp_path}/real/run/smtp"


def test_a_place_in_the_file_can_be_named(tmp_path: Path) -> None:
    config = load_text(tmp_path, "spool: s\nroutes:\n  - to: a.example\n    via: mx\n")
    path = tmp_path / "mta.yml"
    assert str(config.problem(("routes", 0, "via"), "a word")) == f"{path}:4: routes[0].via: a word"
    assert str(config.problem(("limits", "connections"), "a word")) == f"{path}:1: limits.connections: a word"


def test_find_takes_the_first_that_is_named_or_there(tmp_path: Path) -> None:
    system = tmp_path / "system.yml"
    with pytest.raises(ConfigError, match=r"neither --config nor \$MTA_CONFIG names one, and etc/mta.yml and "):
        find(None, {}, tmp_path, system)
    system.touch()
    assert find(None, {}, tmp_path, system) == system
    (tmp_path / "etc").mkdir()
    (tmp_path / HERE).touch()
    assert find(None, {}, tmp_path, system) == tmp_path / "etc" / "mta.yml"
    assert find(None, {"MTA_CONFIG": ""}, tmp_path, system) == tmp_path / "etc" / "mta.yml"
    assert find(None, {"MTA_CONFIG": "x.yml"}, tmp_path, system) == tmp_path / "x.yml"
    assert find("/y.yml", {"MTA_CONFIG": "x.yml"}, tmp_path, system) == Path("/y.yml")


def test_machine_name_is_a_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Names:
        nodename = "Relay.Example.ORG"

    monkeypatch.setattr("mta.config.load.os.uname", Names)
    assert machine_name() == "relay.example.org"
    Names.nodename = "(none)"
    assert machine_name() == "localhost"


keys = st.sampled_from(sorted({part for path in all_paths(Config) for part in path.split(".")}))
words = st.sampled_from(
    ["never", "mx", "discard", "*", "::", "0.0.0.0/0", "5m", "550 5.7.1 no", "smtp://[", "a@b", ".x", "unix:\0", "é."]
)
plain = st.none() | st.booleans() | st.integers() | words | st.text(max_size=20)
trees = st.recursive(plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6))


def flow(tree: object) -> str:
    """A tree as YAML in one line. Texts are left bare half of the time, so that much of it is no YAML at all."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key}: {flow(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(flow, tree)) + "]"
    if isinstance(tree, str):
        return tree if len(tree) % 2 else '"' + tree.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    return {None: "null", True: "true", False: "false"}[tree] if tree is None or isinstance(tree, bool) else str(tree)


@settings(deadline=None, max_examples=400)
@given(st.dictionaries(keys, trees, max_size=8).map(flow) | st.text(max_size=200))
@example("[" * 100_000)
@example("a: " * 5_000)
@example("- " * 100_000)
@example("{spool: s, retry: {after: [999999999d]}, limits: {message_size: 999999999999999GiB}}")
@example("spool: " + "9" * 5_000)
def test_nothing_but_a_config_error_comes_out(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        config = load(path)
    except ConfigError as error:
        assert error.problems
        assert all(line.startswith(str(path)) and line.isprintable() for line in str(error).split("\n"))
    else:
        assert isinstance(config, Config)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=100))
def test_nothing_but_a_config_error_comes_out_of_octets(
    tmp_path_factory: pytest.TempPathFactory, octets: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "octets.yml"
    path.write_bytes(octets)
    with pytest.raises(ConfigError):
        load(path)
