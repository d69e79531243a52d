"""The keywords by topic. Each module has one class; the library composes them."""
