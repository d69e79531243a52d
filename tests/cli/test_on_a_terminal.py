"""What a person sees on a terminal: the live table, the progress bar, and the shell's completion."""

import os
import pty
import re
import signal
import subprocess
import termios
from dataclasses import replace

import pytest
from cli_facade import COMMAND, environment, pool_status


class Terminal:
    """A command on a terminal of 120 columns."""

    def __init__(self, *arguments: str):
        self._main, side = pty.openpty()
        termios.tcsetwinsize(side, (40, 120))
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=side,
            stdout=side,
            stderr=side,
            env=environment(TERM="xterm-256color", COLUMNS="120", LINES="40"),
            start_new_session=True,
        )
        os.close(side)
        self.text = ""

    def read_until(self, words: str) -> str:
        """Read until these words are shown, or the command has ended."""
        while words not in self.text and (data := self._read()):
            self.text += data
        assert words in self.text, self.text
        return self.text

    def rest(self) -> str:
        while data := self._read():
            self.text += data
        self.process.wait(10)
        os.close(self._main)
        return self.text

    def _read(self) -> str:
        try:
            return os.read(self._main, 65536).decode("utf-8", "replace")
        except OSError:  # the command has closed its side
            return ""


def test_a_preload_has_a_bar_that_events_move(facade):
    terminal = Terminal("preload", "chat", "--address", facade.address)
    shown = terminal.rest()
    assert "loading chat" in shown
    assert "━" in shown
    assert "chat/r0 x → ready" in shown
    assert shown.rstrip().splitlines()[-1].lstrip("\r").endswith("s)")
    assert "\x1b[?25h" in shown.split("chat is ready")[0], "the cursor is shown again before the result"
    assert terminal.process.returncode == 0


def test_a_bar_begins_where_the_replicas_are(facade):
    facade.service.pools["half"] = replace(
        pool_status("half", "loading"),
        replicas=[
            replace(pool_status("half", "ready").replicas[0], replica_id="r1"),
            pool_status("half", "backoff").replicas[0],
        ],
    )
    shown = Terminal("preload", "half", "--timeout", "0.1", "--address", facade.address).rest()
    assert "loading half" in shown
    bar = re.search(r"━+", re.sub(r"\x1b\[[0-9;]*m", "", shown))
    assert bar
    assert len(bar[0]) < 24, "half of the bar is drawn as done, the rest in another colour"


def test_a_watched_status_is_one_table_that_changes(facade):
    terminal = Terminal("status", "slow", "--watch", "--address", facade.address)
    terminal.read_until("loading")
    facade.service.pools["slow"] = pool_status("slow", "draining")
    facade.soon(facade.service.phase, "slow", "draining")
    try:
        terminal.read_until("draining")
    finally:
        facade.service.pools["slow"] = pool_status("slow", "loading")
    terminal.process.send_signal(signal.SIGINT)
    shown = terminal.rest()
    assert terminal.process.returncode == 130
    assert "\x1b[?25h" in shown
    assert "Traceback" not in shown


def complete(words: str) -> list[str]:
    done = subprocess.run(
        COMMAND,
        env=environment(
            _POOL_MANAGERD_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split(" ")) - 1)
        ),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("pool-managerd st", ["status"]),
        ("pool-managerd re", ["reload", "reset"]),
        ("pool-managerd leases re", ["renew", "release"]),
        ("pool-managerd leases chat ", ["list", "acquire", "renew", "release"]),
        ("pool-managerd status --wa", ["--watch"]),
        ("pool-managerd logs chat --fo", ["--follow"]),
    ],
)
def test_the_shell_completes_commands_and_options_without_a_daemon(words, answer):
    assert complete(words) == answer


def test_the_completion_can_be_shown_and_installed():
    done = subprocess.run(
        [*COMMAND, "--show-completion", "bash"], env=environment(), capture_output=True, text=True, check=True
    )
    assert "complete -o default -F _pool_managerd_completion pool-managerd" in done.stdout
