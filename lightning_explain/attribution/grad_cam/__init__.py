"""Grad-CAM: the places of the last feature map that speak for the target."""

from lightning_explain.attribution.grad_cam.method import GradCAM

__all__ = ["GradCAM"]
