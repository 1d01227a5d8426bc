from .calibration import calibrate as calibrate
from .estimate import Item as Item
from .estimate import items as items
