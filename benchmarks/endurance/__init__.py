"""A real daemon with many live pools, random faults from outside, and what must hold whatever happens to it.

==============  ===================================================================================
``shape``       which pools, engines and simulated GPUs there are, and their short times
``plan``        which faults strike when: a pure function of the seed
``world``       the daemon, its folder and its processes, from outside
``processes``   what ``/proc`` says of the engines
``faults``      carries a step of a plan out, and takes it away again
``host_faults`` the steps against the daemon itself and its config file
``callers``     holders of leases and streams, and storms of callers at once
``stream``      judges the event stream: revisions, phases, restarts, circuits, leases
``invariants``  judges the whole at rest: processes, ports, leases, memory, files
``soak``        one sequence of faults after the other
``kills``       ``kill -9`` of the daemon at random moments, and whether its promises are kept
==============  ===================================================================================

Nothing here looks into the daemon: it is asked and watched as anybody could.
"""
