import pytest
from PoolManagerLibrary.behaviours import BEHAVIOURS, parse_behaviour
from PoolManagerLibrary.errors import UsageError

from pool_managerd.engines.simulated.options import BY_NAME, convert


@pytest.mark.parametrize("example", [example for _, _, example in BEHAVIOURS])
def test_every_example_is_something_that_the_stand_in_can_be_told(example):
    options = parse_behaviour(example)
    assert options
    for name, value in options.items():
        assert name in BY_NAME
        convert(BY_NAME[name], value)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("needs 2 s to load and ignores SIGTERM", {"load_ms": 2000, "ignore_sigterm": True}),
        ("exits with code 3 while loading", {"exit_code": 3, "when": "start"}),
        ("dies of SIGSEGV once ready", {"signal": "SIGSEGV", "when": "ready"}),
        (
            "runs out of memory 2 s after it is ready",
            {"oom": True, "when": "ready", "exit_after_ms": 2000, "log_after_ms": 2000},
        ),
        ('logs "a, b and c" to stderr', {"stderr": ["a, b and c"]}),
        ('logs "x and y" and hangs', {"stdout": ["x and y"], "hang": True}),
        ("uses GPU other outside its mask", {"wrong_device": "GPU other"}),
    ],
)
def test_sentences(text, options):
    assert parse_behaviour(text) == options


def test_an_unknown_behaviour_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match=r"'sings'(.|\n)*needs 2 s to load"):
        parse_behaviour("hangs and sings")
