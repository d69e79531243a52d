from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from engine_tools import StandIn


@pytest.fixture
def stand_in(tmp_path):
    running: list[StandIn] = []

    def start(*args, **simulated) -> StandIn:
        engine = StandIn(tmp_path, *args, **simulated)
        running.append(engine)
        return engine

    yield start
    for engine in running:
        engine.end()
