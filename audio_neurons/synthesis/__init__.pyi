from .making import make_archives as make_archives
from .making import make_pool as make_pool
from .soundfont import DemoPackageMissing as DemoPackageMissing
