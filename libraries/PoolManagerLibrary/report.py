"""What a failed scenario leaves in log.html: why, when, and the logs beside it."""

from __future__ import annotations

import shutil
import time
from html import escape
from pathlib import Path
from urllib.parse import quote

from robot.api import logger

from PoolManagerLibrary.daemon_process import Daemon
from PoolManagerLibrary.errors import PoolManagerLibraryError
from PoolManagerLibrary.event_log import SeenEvent
from PoolManagerLibrary.failed_folder import FAILED, failed_folder, make_failed_folder
from PoolManagerLibrary.operations import call
from PoolManagerLibrary.scenario import Scenario
from PoolManagerLibrary.timeline import story_of, timeline_svg
from PoolManagerLibrary.world import World, variable

TAIL_LINES = 25


def report_folder(scenario: Scenario) -> tuple[Path, str] | None:
    """Where the logs of a failed test are kept, and the link to it from log.html. None outside a run."""
    output = variable("REPORT_DIR") or variable("OUTPUT_DIR")
    if not output:
        return None
    base = Path(str(output))
    if base.parent.name == "pabot_results":
        # pabot merges all logs into one log.html two folders up.
        base = base.parent.parent
    name = failed_folder(scenario.suite, scenario.name)
    return base / FAILED / name, f"{FAILED}/{quote(name)}"


def report_failure(world: World) -> None:
    """Log the report of the present scenario."""
    scenario = world.scenario
    daemon = scenario.daemon
    if daemon is None:
        return
    html = ["<h3>What the daemon did</h3>"]
    for pool in scenario.pools.values():
        html += _pool(daemon, pool.pool_id, pool.alias)
    place = report_folder(scenario)
    if place is not None and not daemon.remote:
        folder, link = place
        html += _copies(scenario, daemon, folder, link)
    elif not daemon.remote:
        html.append(_pre("The daemon's last lines", _tail(daemon.output(scenario.log_offset))))
    logger.info("".join(html), html=True)


def _pool(daemon: Daemon, pool_id: str, alias: str) -> list[str]:
    events = daemon.events.of_pool(pool_id)
    html = [f"<h4>Pool {escape(alias)} ({escape(pool_id)})</h4>"]
    try:
        outcome = call(daemon, "status", pool_id=pool_id, timeout=2) if daemon.is_running else None
    except PoolManagerLibraryError:
        outcome = None
    if outcome is not None and outcome.ok:
        error = outcome.body["last_error"]
        html.append(f"<p>Phase <b>{escape(outcome.body['phase'])}</b>, ready {outcome.body['ready']}. Last error: ")
        html.append(
            f"<b>{escape(error['code'])}</b> {escape(error['message'])} <i>{escape(error['hint'] or '')}</i></p>"
            if error
            else "none</p>"
        )
    svg = timeline_svg(story_of(daemon.events.events(), pool_id), until=time.time())
    if svg:
        html.append(svg)
    if not daemon.remote:
        html += [
            _pre(f"Last lines of {path.name}", _tail(path.read_text(encoding="utf-8", errors="replace")))
            for path in sorted(daemon.state_dir.glob(f"engine-{pool_id}-r*.log"))
        ]
    html.append(_pre("Events", "\n".join(event.describe() for event in events[-40:]) or "none"))
    return html


def _copies(scenario: Scenario, daemon: Daemon, folder: Path, link: str) -> list[str]:
    make_failed_folder(folder)
    names = []
    for pool in scenario.pools.values():
        for path in sorted(daemon.state_dir.glob(f"engine-{pool.pool_id}-r*.log*")):
            shutil.copyfile(path, folder / path.name)
            names.append(path.name)
    for pool in scenario.pools.values():
        svg = timeline_svg(story_of(daemon.events.events(), pool.pool_id), until=time.time())
        if svg:
            (folder / f"timeline-{pool.alias}.svg").write_text(svg, encoding="utf-8")
            names.append(f"timeline-{pool.alias}.svg")
    (folder / "daemon.log").write_text(daemon.output(scenario.log_offset), encoding="utf-8")
    (folder / "events.txt").write_text(_events_text(daemon.events.events(), scenario), encoding="utf-8")
    (folder / "pools.toml").write_text(daemon.config_text(), encoding="utf-8")
    names += ["daemon.log", "events.txt", "pools.toml"]
    links = ", ".join(f'<a href="{link}/{quote(name)}">{escape(name)}</a>' for name in names)
    return [
        _pre("The daemon's last lines", _tail(daemon.output(scenario.log_offset))),
        f"<p>Kept beside this report: {links}</p>",
    ]


def _events_text(events: list[SeenEvent], scenario: Scenario) -> str:
    return "".join(event.describe() + "\n" for event in events if event.at >= scenario.started_at - 1)


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-TAIL_LINES:])


def _pre(title: str, text: str) -> str:
    return f"<details open><summary>{escape(title)}</summary>{_block(text)}</details>"


def _block(text: str) -> str:
    return f'<pre style="white-space: pre-wrap">{escape(text or "(nothing)")}</pre>'
