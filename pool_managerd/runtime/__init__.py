"""The shell that acts: spawns, adopts, probes and stops processes, tails logs, stores, supervises."""
