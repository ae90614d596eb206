"""How far a training is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys

import pytest

from ssn_lib.training import bar
from ssn_lib.training.bar import Bar
from ssn_lib.training.history import Epoch


@pytest.fixture
def train(monkeypatch):
    """train(title): five epochs of 4 s, told as they are done."""

    def go(title):
        now = [0.0]
        monkeypatch.setattr(bar.time, "monotonic", lambda: now[0])
        with Bar(title, epochs=5, steps=1, done=0) as shown:
            for number in range(1, 6):
                now[0] += 4
                shown.step()
                shown.epoch(Epoch(number, 1 / number, 0.0, 0.0, 0.0, 0.0, 4.0))

    return go


def test_without_a_terminal_a_line_now_and_then_and_at_the_end(train, capsys):
    train("scenario_a screw")
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines() == [
        "scenario_a screw: epoch 3 of 5, loss 0.333",
        "scenario_a screw: epoch 5 of 5, loss 0.200",
    ]


def test_on_a_terminal_a_bar(train, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    train("scenario_a screw")
    said = capsys.readouterr()
    assert said.out == ""
    assert "100%" in said.err
    assert "epoch=5/5" in said.err


def test_without_a_title_nothing(train, capsys, monkeypatch):
    train(None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    train(None)
    assert capsys.readouterr() == ("", "")
