"""Version 1 of the control plane: ``pool_manager.proto`` and the code generated from it."""
