"""The stand-in engine: a program with a real HTTP server, and faults that it is told to have.

``adapter.py`` is the daemon's side. Everything else is the program, which runs on the standard library alone:
``__main__.py`` starts it, ``options.py`` lists what it can be told, ``control.py`` tells it while it runs.
"""
