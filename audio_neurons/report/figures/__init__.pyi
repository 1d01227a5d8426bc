from .drawing import make as make
