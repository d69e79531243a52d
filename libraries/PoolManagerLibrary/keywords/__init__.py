"""The keywords by topic. Each module has one class; the library composes them."""  # noqa: N999  # the name that Robot Framework users expect
