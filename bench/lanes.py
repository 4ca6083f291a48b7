"""Lanes: relays side by side, all up at once, each with a sink of its own."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.x509.oid import NameOID

from bench import build
from bench.load import Load, Sink
from bench.peers import Mta, Papers, Peer, is_root
from bench.postfix import Postfix

PEERS = ("postfix", "postfix-tuned", "mta")
KNOWN = (*PEERS, "mta-compiled")  # the last is measured when it is asked for
BASE = "Postfix, tuned"  # what ratios are to
WARMING = 200  # messages
SCRATCH = "/var/tmp"  # on a disk, where /tmp often is memory: syncing has to cost what it costs


@dataclass(frozen=True)
class Lane:
    peer: Peer
    sink: Sink


@contextmanager
def lanes(
    peers: Sequence[str], workers: Sequence[int], tls: bool = False, warm: bool = True, rsa: bool = False
) -> Iterator[list[Lane]]:
    """These relays, up, each warmed with some messages; down and cleared away behind the block. tls: they offer it;
    rsa: with keys of RSA."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mta-bench-", dir=SCRATCH)))
        scratch.chmod(0o755)  # Postfix's processes are other users
        papers = make_papers(scratch, rsa) if tls else None
        made: list[Lane] = []
        for name in peers:
            for count in workers if name.startswith("mta") else (1,):
                lane = _lane(scratch / f"lane-{len(made)}-{count}", name, count, papers)
                stack.callback(lane.sink.end)
                stack.callback(lane.peer.end)
                lane.peer.configure()
                refusal = lane.peer.refusal() if isinstance(lane.peer, Mta) else ""
                if refusal and count > 1:
                    print(f"{lane.peer.name}: left out, since this version refuses it: {refusal}\n", flush=True)
                    continue
                if refusal:
                    raise SystemExit(f"bench: {refusal}")
                lane.sink.up()
                lane.peer.start()
                made.append(lane)
        for lane in made if warm else ():
            lane.sink.send(Load(messages=WARMING, many=True), lane.peer.port)
            if not lane.sink.arrival(WARMING):
                raise SystemExit(f"bench: {lane.peer.name} does not deliver:\n{lane.peer.log()}")
        yield made


@contextmanager
def sink_alone(tls: bool = False, rsa: bool = False) -> Iterator[Sink]:
    """A sink with no relay before it, for the limit of generator and sink themselves."""
    with tempfile.TemporaryDirectory(prefix="mta-bench-", dir=SCRATCH) as scratch:
        sink = Sink(Path(scratch), make_papers(Path(scratch), rsa) if tls else None)
        sink.up()
        try:
            yield sink
        finally:
            sink.end()


def check_peers(peers: Sequence[str]) -> None:
    """Ends the bench, with a sentence, where one of them cannot be had here."""
    if not any(name.startswith("postfix") for name in peers):
        return
    without = "or measure without it: --peers mta"
    if shutil.which("postfix", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None:
        raise SystemExit(f"bench: Postfix is not here: install the Debian package postfix, {without}")
    if not is_root():
        raise SystemExit(f"bench: Postfix has to be started by root, {without}")


def cost_of_sync() -> float:
    """Milliseconds that it takes to have 10 KiB more of a file on stable storage, where the relays keep theirs: the
    median of fifty."""
    with tempfile.TemporaryFile(dir=SCRATCH) as file:
        taken = []
        for _ in range(50):
            began = time.perf_counter()
            file.write(bytes(10240))
            file.flush()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return sorted(taken)[25] * 1000


def needs_tls() -> bool:
    """Whether there is TLS to measure with; says what is missing where there is not."""
    if not build.has_tls():
        print(f"bench: {build.NO_TLS}", file=sys.stderr)
    return build.has_tls()


def make_papers(folder: Path, rsa: bool = False) -> Papers:
    """A certificate that is signed by itself, with its key: P-256, as most of today's, or RSA of 2048 bits."""
    key = generate_private_key(65537, 2048) if rsa else ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.bench.test")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=7))
    papers = Papers(folder / "certificate.pem", folder / "key.pem")
    papers.certificate.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    papers.key.write_bytes(key.private_bytes(*pem))
    papers.key.chmod(0o600)
    return papers


def _lane(folder: Path, name: str, workers: int, papers: Papers | None) -> Lane:
    folder.mkdir()
    folder.chmod(0o755)
    sink = Sink(folder, papers)
    if name.startswith("mta"):
        return Lane(Mta(folder / "relay", sink.port, papers, workers, native=name == "mta-compiled"), sink)
    return Lane(Postfix(folder / "relay", sink.port, papers, tuned=name == "postfix-tuned"), sink)
