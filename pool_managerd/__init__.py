"""pool-managerd: the daemon that an operator of GPU hosts trusts to run LLM engines."""

__version__ = "0.1.0"
