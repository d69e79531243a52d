"""Given/When/Then phrases for suites, importable by name after installation."""
