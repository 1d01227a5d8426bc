from .checks import labels as labels
from .loading import ConfigError as ConfigError
from .loading import complete as complete
from .study import Study as Study
