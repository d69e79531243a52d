"""Projections of the event stream: metrics and structured logs."""
