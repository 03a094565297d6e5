"""The decision path as a picture: its layout, its nodes and edges, the input beside it."""

from lightning_explain.render.paths.content import picture_content
from lightning_explain.render.paths.node_labels import percent
from lightning_explain.render.paths.node_places import sticky_slots
from lightning_explain.render.paths.picture import path_picture
from lightning_explain.render.paths.scene import InputPicture

__all__ = ["InputPicture", "path_picture", "percent", "picture_content", "sticky_slots"]
