"""Listening sockets that one process makes for others."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.error import CannotListenError

from mta.net.held import HeldBeside, HeldTcp, HeldUnix

ADDRESS = "127.0.0.1"


def address_of(descriptor: int) -> tuple[str, int]:
    with socket.socket(fileno=descriptor) as one:
        where: tuple[str, int] = one.getsockname()
        one.detach()
    return where


@pytest.fixture
def held() -> Iterator[HeldTcp]:
    with contextlib.closing(HeldTcp(ADDRESS, 0, 3)) as made:
        yield made


def test_all_listen_on_the_same_address(held: HeldTcp) -> None:
    assert len(set(held.descriptors)) == 3
    assert len({address_of(one) for one in held.descriptors}) == 1


def shares_of(held: HeldTcp) -> list[int]:
    """How many of 60 connections come to each of the sockets."""
    clients = [socket.create_connection(address_of(held.descriptors[-1]), 5) for _ in range(60)]
    taken = []
    for descriptor in held.descriptors:
        listening = socket.socket(fileno=descriptor)
        taken.append(0)
        with contextlib.suppress(OSError):
            while True:
                listening.accept()[0].close()
                taken[-1] += 1
        listening.detach()
    for client in clients:
        client.close()
    return taken


def test_the_kernel_gives_each_some(held: HeldTcp) -> None:
    taken = shares_of(held)
    assert sum(taken) == 60
    assert min(taken) > 0


@pytest.mark.parametrize("number", [0, 1])
def test_one_that_is_paused_gets_none_until_it_is_resumed(held: HeldTcp, number: int) -> None:
    for _ in range(2):
        held.pause(number)
        held.pause(number)
        taken = shares_of(held)
        assert taken.pop(number) == 0
        assert sum(taken) == 60
        held.resume(number)
        taken = shares_of(held)
        assert sum(taken) == 60
        assert min(taken) > 0


def test_what_waits_at_one_that_is_paused_is_reset(held: HeldTcp) -> None:
    where = address_of(held.descriptors[0])
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(where, 5)) for _ in range(30)]
        for number in range(3):
            held.pause(number)
        for client in clients:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where, 5)


def test_nobody_else_joins(held: HeldTcp) -> None:
    """Not even another relay of the same user, which the kernel alone would not mind."""
    _, port = address_of(held.descriptors[0])
    with pytest.raises(OSError, match="in use"):
        HeldTcp(ADDRESS, port, 2)
    with pytest.raises(OSError, match="in use"):
        HeldTcp("0.0.0.0", port, 2)


def test_nobody_is_joined() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind((ADDRESS, 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            HeldTcp(ADDRESS, other.getsockname()[1], 2)


def test_when_they_are_closed_the_address_is_free(held: HeldTcp) -> None:
    where = address_of(held.descriptors[0])
    held.close()
    HeldTcp(*where, 2).close()


def test_a_unix_socket_is_one_for_all(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    held = HeldUnix(reactor, str(path), 3)
    assert len(held.descriptors) == 3
    assert len(set(held.descriptors)) == 1
    assert path.is_socket()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        with pytest.raises(CannotListenError):
            HeldUnix(reactor, str(path), 2)
    held.pause(0)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    held.resume(0)
    held.close()
    reactor.runUntilCurrent()  # type: ignore[attr-defined]
    assert not path.exists()


def test_it_goes_on_with_sockets_that_there_were_and_binds_those_that_are_missing() -> None:
    with contextlib.closing(HeldTcp(ADDRESS, 0, 2)) as before:
        where = address_of(before.descriptors[0])
        handed = before.hand_over()
    waiting = [socket.create_connection(where, 5) for _ in range(20)]
    with contextlib.closing(HeldTcp(ADDRESS, 0, 3, handed)) as after:
        assert list(after.descriptors[:2]) == handed
        assert {address_of(one) for one in after.descriptors} == {where}
        taken = shares_of(after)
        assert sum(taken) == 60 + len(waiting)
        assert min(taken) > 0
    for one in waiting:
        one.close()


class _Unprivileged(socket.socket):
    """Of a user who may not bind what root has bound."""

    def bind(self, address: object) -> None:
        raise PermissionError


def test_where_no_other_can_be_bound_beside_those_that_there_were_they_are_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with contextlib.closing(HeldTcp(ADDRESS, 0, 1)) as before:
        [handed] = before.hand_over()
    where = address_of(handed)
    monkeypatch.setattr("mta.net.held.socket.socket", _Unprivileged)
    with contextlib.closing(HeldTcp(ADDRESS, 0, 2, [handed])) as after:
        monkeypatch.undo()
        assert after.descriptors == [handed, handed]
        after.pause(1)  # the other one needs it
        socket.create_connection(where, 5).close()
        after.resume(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where, 5)


def test_one_that_is_left_over_is_shared_by_all_until_it_is_closed() -> None:
    with socket.create_server((ADDRESS, 0)) as one:
        held = HeldBeside(os.dup(one.fileno()), 3)
        assert len(set(held.descriptors)) == 1
        [handed] = held.hand_over()
        held.pause(0)
        held.close()
        socket.create_connection(address_of(handed), 5).close()
        os.close(handed)


def test_a_unix_socket_that_is_handed_over_keeps_its_name_and_its_lock_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "door"
    before = HeldUnix(reactor, str(path), 2)
    handed = before.hand_over()
    before.close()
    reactor.runUntilCurrent()  # type: ignore[attr-defined]
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(path))
        after = HeldUnix(reactor, str(path), 3, handed)
        with pytest.raises((CannotListenError, OSError)):
            HeldUnix(reactor, str(path), 1)
        listening = socket.socket(fileno=os.dup(after.descriptors[2]))
        with listening, listening.accept()[0] as accepted:
            assert accepted.fileno() >= 0
    after.close()
    reactor.runUntilCurrent()  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []
