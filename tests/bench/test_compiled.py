"""The copy of the program with compiled modules: which they are."""

from pathlib import Path

import pytest

from bench import compiled


def test_what_is_named_is_there() -> None:
    text = [f"mta/{name}.py" for name in compiled.TEXT]
    others = [str(Path("mta", room, f"{name}.py")) for room, names in compiled.OTHERS.items() for name in names]
    assert all((compiled.HOME / file).is_file() for file in (*text, *others))
    assert set(others) < set(compiled.modules())
    assert not set(text) & set(compiled.modules())


def test_without_a_compiler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compiled, "BUILT", tmp_path / "compiled")
    monkeypatch.setattr(compiled.shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match="python3-dev"):
        compiled.compiled()
