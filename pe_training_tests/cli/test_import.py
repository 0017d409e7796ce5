"""`pe import` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pe_training_tests.e2e.chain import pe
from pe_training_tests.training.test_foreign import peft_folder

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")


def test_a_folder_is_taken_in_once_it_is_meant_and_shown_as_what_it_is(tmp_path: Path) -> None:
    folder, home = peft_folder(tmp_path / "theirs"), tmp_path / "home"
    words = ["import", str(folder), "--line", "inherited", "--base", "scratch:tiny-llama", "--reason", "last year's"]
    tried = json.loads(pe(*words, "--dry-run", "--json", home=home).stdout)
    assert not tried["applied"]
    assert pe("show", tried["id"], home=home).code == 2
    made = pe(*words, home=home)
    assert made.code == 0, made.stderr
    assert f"parent: {tried['id']}" in made.stdout
    again = json.loads(pe(*words, "--json", home=home).stdout)
    assert (again["id"], again["adapter"]) == (tried["id"], {"r": 4, "alpha": 8})
    assert "last year's" in pe("show", tried["id"], home=home).stdout
    assert "inherited" in pe("ls", "im", home=home).stdout
    assert pe("verify", tried["id"], home=home).code == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--base", "scratch:tiny-lama"), "no architecture 'tiny-lama'"),
        (("--base", "tiny-llama"), "base"),
        (("--line", "In herited"), "name"),
    ],
)
def test_a_wrong_word_is_one_error_and_nothing_is_kept(tmp_path: Path, given: tuple[str, str], said: str) -> None:
    asked = {"--line": "inherited", "--base": "scratch:tiny-llama", "--reason": "a trial"} | dict([given])
    done = pe("import", str(tmp_path), *(word for pair in asked.items() for word in pair), home=tmp_path / "home")
    assert done.code == 2
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
