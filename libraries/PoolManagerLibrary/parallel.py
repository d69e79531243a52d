"""pabot, as ``bdd-runner --parallel`` starts it: ``python -m PoolManagerLibrary.parallel OPTION… SUITE…``."""

from __future__ import annotations

from pabot.pabot import main  # type: ignore[import-untyped]  # pabot ships without types

from PoolManagerLibrary.progress import collect_seldom

if __name__ == "__main__":
    collect_seldom()
    main()
