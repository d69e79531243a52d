"""One small module per engine kind: command line, environment, readiness, slots, version."""
