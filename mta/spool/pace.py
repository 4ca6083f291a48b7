"""Pace: how much of a long piece of work is done in one transaction, so that who wants to commit meanwhile waits
little, on a fast machine and on a slow one."""

LONG = 0.015  # seconds in a transaction after which the next one does less


class Pace:
    """size: of the next step, between `least`, with which it begins, and `most`."""

    def __init__(self, most: int, least: int) -> None:
        self._most = most
        self._least = min(least, most)
        self.size = self._least

    def took(self, seconds: float) -> None:
        """How long the last step kept others waiting."""
        if seconds > LONG:
            self.size = max(self._least, self.size // 2)
        elif seconds < LONG / 3:
            self.size = min(self._most, self.size * 2)
