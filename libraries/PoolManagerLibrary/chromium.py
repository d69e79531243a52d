"""Headless Chromium for tests of pages: what it needs, how it is started, and how its window is shaped.

Selenium comes with the extra ``[test]``; it is imported where a browser is really started.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

from robot.libraries.BuiltIn import BuiltIn

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
DRIVER = "chromedriver"
#: Below this width a window is a telephone's.
PHONE_WIDTH = 600


def what_is_missing() -> str | None:
    """Why no browser can be started here, as a sentence; None if one can."""
    if not _program():
        return f"Needs the browser Chromium, and there is no {', '.join(PROGRAMS)} on PATH (Debian: chromium)."
    if shutil.which(DRIVER) is None:
        return f"Needs {DRIVER}, which is not on PATH (Debian: chromium-driver)."
    for module in ("SeleniumLibrary", "axe_core_python"):
        if importlib.util.find_spec(module) is None:
            return f"Needs {module}, which comes with the extra: pip install 'pool-managerd-bdd[test]'."
    return None


def _program() -> str | None:
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


def arguments_for(folder: Path) -> dict[str, Any]:
    """Options and service of a headless Chromium, as ``Create Webdriver    Chrome`` takes them.

    :param folder: where it keeps its profile, and what tells its processes from others.
    """
    webdriver = importlib.import_module("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = _program()
    options.ignore_local_proxy_environment_variables()
    flags = [
        "--headless=new",
        f"--user-data-dir={folder}/profile",
        "--window-size=1280,900",
        "--hide-scrollbars",
        "--no-proxy-server",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-extensions",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--lang=en-GB",
    ]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium's sandbox does not work for root
    for flag in flags:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = importlib.import_module("selenium.webdriver.chrome.service").Service(
        shutil.which(DRIVER), log_output=str(folder / "chromedriver.log"), env={**os.environ, "TMPDIR": str(folder)}
    )
    return {"options": options, "service": service}


def selenium_library() -> Any:
    """SeleniumLibrary as the suite has it.

    :raises RuntimeError: if it has it not.
    """
    return BuiltIn().get_library_instance("SeleniumLibrary")


def shape_window(driver: Any, width: int, height: int, *, dark: bool = False) -> None:
    """Give the page a window of a size in CSS pixels, in light or dark colours."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < PHONE_WIDTH}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def go_offline(driver: Any, offline: bool) -> None:
    """Cut the page off from all hosts, or let it reach them again."""
    driver.execute_cdp_cmd("Network.enable", {})
    conditions = {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
