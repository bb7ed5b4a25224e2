"""The forward pass near a CPU's limit: torch's matrix products, and compiled kernels for all that lies between them."""

from workers.fused.layers import Layers
from workers.fused.linear import linear
from workers.fused.sampler import Sampler

__all__ = ["Layers", "Sampler", "linear"]
