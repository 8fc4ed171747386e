"""PyTorch: a learning rate scheduler, an optimizer with a diagonal, and curvature.

>>> from multirate.torch import SGD, MultirateLR  # doctest: +SKIP
>>> optimizer = SGD(model.parameters())  # doctest: +SKIP
>>> scheduler = MultirateLR(optimizer, loss_lower_bound=0)  # doctest: +SKIP
"""

from multirate.torch import curvature
from multirate.torch.lr_scheduler import MultirateLR
from multirate.torch.sgd import SGD
from multirate.torch.sketch import GradientSketcher, Measured

__all__ = ["SGD", "GradientSketcher", "Measured", "MultirateLR", "curvature"]
