from .building import build as build
