"""The stand-in engine. Run as ``python -I -S …/simulated/__main__.py --port 8080 …``; see docs/simulated-engine.md."""

import sys

# Without site-packages (-I -S starts in a fraction of the time) this package is found beside the standard library.
sys.path.append(__file__.rsplit("/", 4)[0])

from pool_managerd.engines.simulated.standin import main

main(sys.argv[1:])
