"""The pages that the daemon serves itself: dashboard and API description. No build step, nothing from elsewhere."""
