"""Remembered: logins that were right a short while ago, as keyed digests, so that they need not be checked again."""

from collections import OrderedDict
from hmac import digest
from typing import Final

from mta.policy.account import Account

LASTS: Final = 600.0  # seconds
_MOST: Final = 10_000


class Remembered:
    """Digests under a key that only this process has, over the account, the password, and the forms kept of it.

    So nothing here can be turned back into a password, and who has a new one is asked for it at once.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def knows(self, account: Account, password: str, now: float) -> bool:
        """Was this right of late? now: seconds of any beginning."""
        return self._until.get(self._digest(account, password), 0.0) > now

    def add(self, account: Account, password: str, now: float) -> None:
        """It was right."""
        key = self._digest(account, password)
        self._until[key] = now + LASTS
        self._until.move_to_end(key)
        while len(self._until) > _MOST or next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)

    def _digest(self, account: Account, password: str) -> bytes:
        return digest(self._key, repr((account.name, account.forms, password)).encode(), "sha256")
