"""Keywords that prove a live pool-managerd."""
