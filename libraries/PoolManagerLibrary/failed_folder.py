"""Where a failed scenario's logs, config and pictures are kept, beside log.html."""

from __future__ import annotations

import re

#: The folder of all of them, in the results.
FAILED = "failed"


def failed_folder(suite: str, name: str) -> str:
    """The name of the folder of one scenario, from its suite's full name and its own."""
    return re.sub(r"[^\w.-]+", "-", f"{suite}.{name}").strip("-")[:150]
