"""Noise of a fit: losses and residual spaces."""

from jaxscale.noise.losses import Noise as Noise
from jaxscale.noise.losses import absolute as absolute
from jaxscale.noise.losses import default as default
from jaxscale.noise.losses import huber as huber
from jaxscale.noise.losses import named as named
from jaxscale.noise.losses import squared as squared
from jaxscale.noise.losses import student_t as student_t
