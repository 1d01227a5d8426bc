from .errors import TrainingError as TrainingError
from .run import train as train
