"""The forward pass near a CPU's limit: matrix products on packed weights, and compiled kernels for all between them."""

from workers.fused.layers import Layers
from workers.fused.native import run_on
from workers.fused.sampler import Sampler
from workers.fused.vocabulary import Head

__all__ = ["Head", "Layers", "Sampler", "run_on"]
