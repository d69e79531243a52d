"""What is shipped for Prometheus and Grafana: all metrics in it are the daemon's, and promtool accepts the rules."""

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_prometheus_metrics import everything

TOP = Path(__file__).parents[2]
RULES = TOP / "packaging" / "prometheus" / "pool-managerd.rules.yml"
RULES_TEST = Path(__file__).with_name("pool-managerd.rules.test.yml")
DASHBOARD = json.loads((TOP / "packaging" / "grafana" / "pool-managerd.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool (Debian: prometheus) is not installed"
)


def promtool(*arguments: object) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def known() -> set[str]:
    """All names of series that the daemon has, those of histograms with their endings."""
    families = dict(re.findall(r"^# TYPE (\S+) (\S+)$", everything().decode(), re.MULTILINE))
    histograms = {name for name, kind in families.items() if kind == "histogram"}
    return families.keys() - histograms | {
        name + part for name, part in itertools.product(histograms, ("_bucket", "_count", "_sum"))
    }


def metrics_in(text: str) -> set[str]:
    return set(re.findall(r"\bpool_managerd_\w+", text))


def test_alerts_and_their_tests_speak_of_metrics_that_there_are():
    assert metrics_in(RULES.read_text()) <= known()
    assert metrics_in(RULES_TEST.read_text()) <= known()


def test_every_alert_is_tested_and_says_what_to_do():
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    assert len(alerts) == len(set(alerts)) > 15
    assert [name for name in alerts if name not in RULES_TEST.read_text()] == []
    assert all(name.startswith("PoolManagerd") for name in alerts)
    for rule in RULES.read_text().split("- alert: ")[1:]:
        assert re.search(r"severity: (critical|warning|info)\n", rule), rule
        assert "summary: " in rule


def test_the_documentation_names_each_alert_with_its_severity():
    page = (TOP / "docs" / "monitoring.md").read_text()
    told = {
        alert: cells[1]
        for row in re.findall(r"^\| (`PoolManagerd.*) \|$", page, re.MULTILINE)
        for cells in [[cell.strip() for cell in row.split("|")]]
        for alert in re.findall(r"`(\w+)`", cells[0])
    }
    assert told == dict(re.findall(r"- alert: (\w+).*?severity: (\w+)", RULES.read_text(), re.DOTALL))


@needs_promtool
def test_promtool_accepts_the_alerts():
    promtool("check", "rules", RULES)
    promtool("test", "rules", RULES_TEST)


def test_the_dashboard_shows_metrics_that_there_are():
    queries = [var["query"]["query"] for var in DASHBOARD["templating"]["list"] if var["type"] == "query"]
    for expression in [*EXPRESSIONS, *queries]:
        assert metrics_in(expression)
        assert metrics_in(expression) <= known()


def test_the_dashboard_shows_every_metric_but_what_another_one_shows():
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in metrics_in(" ".join(EXPRESSIONS))}
    families = set(re.findall(r"^# TYPE (\S+) ", everything().decode(), re.MULTILINE))
    # Names and numbers that stand beside others, what is counted more finely elsewhere, and what the process is.
    assert sorted(name.removeprefix("pool_managerd_") for name in families - shown) == [
        "adopted_total", "build_info", "circuit_breaker_open_total", "config_reload_total",
        "device_health_transitions_total", "devices_stale", "event_revision",
        "next_restart_timestamp_seconds", "pool_info", "process_max_fds", "process_open_fds",
        "process_start_time_seconds", "process_virtual_memory_bytes",
        "readiness_transitions_total", "replica_info", "restart_storm_total", "restart_total", "slots_free",
    ]  # fmt: skip


@needs_promtool
def test_every_expression_of_the_dashboard_is_valid(tmp_path):
    lines = ["groups:", "- name: dashboard", "  rules:"]
    for number, expression in enumerate(EXPRESSIONS):
        plain = expression.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$pool", ".*")
        assert "$" not in plain
        lines += [f"  - record: panel:{number}", f"    expr: {json.dumps(plain)}"]
    rules = tmp_path / "dashboard.yml"
    rules.write_text("\n".join(lines) + "\n")
    promtool("check", "rules", rules)


def test_the_dashboard_is_laid_out_without_overlaps():
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for cell in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        ):
            assert cell not in taken, (panel["title"], taken[cell])
            taken[cell] = panel["title"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_every_panel_has_a_title_a_description_and_the_chosen_data_source():
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"], panel["title"]
        assert {panel["datasource"]["uid"], *(target["datasource"]["uid"] for target in panel["targets"])} == {
            "${datasource}"
        }
