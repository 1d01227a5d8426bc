from .check import checked as checked
