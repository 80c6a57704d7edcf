"""Cost models: what a training run costs, one differentiable function each."""

from jaxscale.costs.training import flops_6nd as flops_6nd
