"""Cost models of training runs, one differentiable function each."""

from jaxscale.costs.training import flops_6nd as flops_6nd
