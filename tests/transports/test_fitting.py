"""Content is made fit for a next hop elsewhere than in the reactor's thread, and can be read any number of times."""

import gc
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mta.interfaces import IContent
from mta.message.sevenbit import SEVEN_BIT
from mta.smtp.reply import Reply
from mta.transports import fitting
from mta.transports.fitting import AT_ONCE, LARGEST_IN_MEMORY, Fitted, Fitter

HEADER = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"


@implementer(IContent)
class Made:
    """A content in memory that counts how often it is read, and can be broken."""

    def __init__(self, octets: bytes, broken: bool = False) -> None:
        self.octets = octets
        self.size = len(octets)
        self.reads = 0
        self._broken = broken

    def blocks(self) -> Iterator[bytes]:
        self.reads += 1
        yield self.octets[:100]
        if self._broken:
            raise OSError("the disk is gone")
        yield self.octets[100:]


def mixed(*parts: bytes) -> bytes:
    return HEADER + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def large(octets: int) -> bytes:
    return b"Content-Type: image/png\r\n\r\n" + os.urandom(octets)


class FittingTests(SynchronousTestCase):
    """With a Fitter that does everything at once."""

    def fit(self, content: Made, target: str = SEVEN_BIT) -> Fitted:
        fitted = self.successResultOf(Fitter(maybeDeferred).fit(content, target))
        assert isinstance(fitted, Fitted)
        return fitted

    def test_content_that_is_fit_is_given_back(self) -> None:
        content = Made(mixed(b"\r\nplain"))
        self.assertEqual(self.fit(content), Fitted(content, True, ()))
        self.assertEqual(content.reads, 1)

    def test_small_content_is_converted_in_memory(self) -> None:
        fitted = self.fit(Made(mixed(b"\r\n\xe4")))
        expected = mixed(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=E4")
        self.assertEqual(b"".join(fitted.content.blocks()), expected)
        self.assertEqual(b"".join(fitted.content.blocks()), expected)
        self.assertEqual(fitted.content.size, len(expected))

    def test_the_notes_say_what_was_done(self) -> None:
        text, png = b"\r\n\xe4", b"Content-Type: image/png\r\n\r\n\xe4\0"
        for target, content, note in [
            ("7bit", mixed(text), "converted to 7 bit: 1 part quoted-printable"),
            ("7bit", mixed(text, png, text), "converted to 7 bit: 2 parts quoted-printable, 1 base64"),
            ("8bit", mixed(text, png, png), "converted to 8 bit: 2 parts base64"),
            (
                "7bit",
                b"DKIM-Signature: x\r\n" + mixed(png) + b"\xe4\r\n",
                "converted to 7 bit: 1 part base64, octets outside of any part replaced by question marks; "
                "the DKIM signature no longer holds",
            ),
        ]:
            self.assertEqual(self.fit(Made(content), target).notes, (note,))

    def test_what_cannot_be_converted_is_5_6_3(self) -> None:
        signed = b"Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\n\0\r\n--s--\r\n"
        for target, lacking in [("7bit", "8BITMIME"), ("8bit", "BINARYMIME")]:
            text = (
                f"the message must be converted for a next hop without {lacking}, and cannot be: it has a signed part"
            )
            fitted = self.successResultOf(Fitter(maybeDeferred).fit(Made(signed), target))
            self.assertEqual(fitted, Reply(554, "5.6.3", (text,)))

    def test_large_content_is_kept_in_a_file_without_a_name(self) -> None:
        part = large(2 * LARGEST_IN_MEMORY)
        before = open_descriptors()
        fitted = self.fit(Made(mixed(part)))
        self.assertEqual(len(open_descriptors() - before), 1)
        first, second = fitted.content.blocks(), fitted.content.blocks()
        together = list(zip(first, second, strict=True))  # neither moves the other
        self.assertTrue(all(one == other for one, other in together))
        octets = b"".join(one for one, _ in together)
        self.assertEqual(fitted.content.size, len(octets))
        (decoded,) = message_from_bytes(octets).get_payload()
        self.assertEqual(decoded.get_payload(decode=True), part.partition(b"\r\n\r\n")[2])
        del fitted, first, second
        gc.collect()
        self.assertEqual(open_descriptors(), before)

    def test_a_reader_keeps_the_file(self) -> None:
        content = self.fit(Made(mixed(large(2 * LARGEST_IN_MEMORY)))).content
        size, blocks = content.size, content.blocks()
        del content
        gc.collect()
        self.assertEqual(sum(map(len, blocks)), size)

    def test_content_that_cannot_be_read_is_a_failure(self) -> None:
        fitted = Fitter(maybeDeferred).fit(Made(mixed(b"\r\n\xe4"), broken=True), SEVEN_BIT)
        self.assertEqual(str(self.failureResultOf(fitted, OSError).value), "the disk is gone")

    def test_a_full_disk_is_a_failure_and_leaves_nothing(self) -> None:
        before = open_descriptors()

        def full() -> Any:
            return Path("/dev/full").open("wb")

        self.patch(fitting.tempfile, "TemporaryFile", full)
        fitted = Fitter(maybeDeferred).fit(Made(mixed(large(2 * LARGEST_IN_MEMORY))), SEVEN_BIT)
        self.failureResultOf(fitted, OSError)
        gc.collect()
        self.assertEqual(open_descriptors(), before)

    def test_few_are_converted_at_once(self) -> None:
        waiting: list[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = []

        def in_thread(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
            done = Deferred[Any]()
            waiting.append((done, function, arguments))
            return done

        fitter = Fitter(in_thread)
        results = [fitter.fit(Made(mixed(b"\r\n\xe4")), SEVEN_BIT) for _ in range(AT_ONCE + 2)]
        self.assertEqual(len(waiting), AT_ONCE)
        waiting[0][0].errback(OSError("it failed"))  # makes room like any other end
        self.failureResultOf(results[0], OSError)
        for done, function, arguments in waiting[1:]:
            done.callback(function(*arguments))
        for done, function, arguments in waiting[AT_ONCE + 1 :]:
            done.callback(function(*arguments))
        for result in results[1:]:
            self.assertIsInstance(self.successResultOf(result), Fitted)


def open_descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir() if entry.exists() or entry.is_symlink()}


def test_several_threads_can_convert_and_read() -> None:
    content = Made(mixed(large(LARGEST_IN_MEMORY)))
    fitted: list[Any] = []
    threads = [threading.Thread(target=lambda: fitted.append(fitting._fit(content, SEVEN_BIT))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({b"".join(one.content.blocks()) for one in fitted}) == 1
    assert len(fitted) == 3


def test_memory_does_not_grow_with_the_content() -> None:
    octets = 5_000_000
    part = large(100_000)

    class Long(Made):
        def blocks(self) -> Iterator[bytes]:
            yield HEADER + b"--b\r\n" + part
            for _ in range(octets // 65_536):
                yield b"\xff" * 65_536

    tracemalloc.start()
    try:
        fitted = fitting._fit(Long(b""), SEVEN_BIT)
        assert isinstance(fitted, Fitted)
        size = sum(map(len, fitted.content.blocks()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > octets * 4 / 3
    assert peak < 2 * LARGEST_IN_MEMORY
