"""Advice for the console and the API: it is about the relay that is asked."""

from pathlib import Path

import pytest

from mta.config.load import load
from mta.operating.advising import Adviser


def test_a_forecast_is_of_the_own_queue_whatever_other_relay_the_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ours", "other"):
        (tmp_path / f"{name}.yml").write_text(f"hostname: {name}.test\nspool: {name}\n")
    (tmp_path / "other").write_text("this is no folder, so there is no queue that could be read")
    monkeypatch.setenv("MTA_CONFIG", str(tmp_path / "other.yml"))
    assert Adviser(load(tmp_path / "ours.yml")).forecast(None, 10)["messages"] == []
