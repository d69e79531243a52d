"""What the tests of the config share."""

from collections.abc import Callable

from pool_managerd.config import Config
from pool_managerd.config_problems import ConfigProblem

Load = Callable[..., Config]
Refuse = Callable[..., list[ConfigProblem]]

POOL = '[[pool]]\nid = "chat"\nengine = "llamacpp"\nmodel = "small.gguf"\n'
