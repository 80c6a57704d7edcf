"""Prior densities of scalar parameters, with a fixed order of their hyperparameters.

NumPyro keeps the parameters of a distribution in the order of a set, which differs between processes, so that a
compiled program that contains a distribution misses the compilation cache. Here the order is fixed, and the densities
of the default priors are implemented directly, so that they do not import NumPyro.
"""

import contextlib
import inspect
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.special as special
import numpy as np
from jaxtyping import Float

from jaxscale.utils.arrays import Array, Flags, Number, Numbers


def _normal(x: Numbers, loc: Numbers, scale: Numbers) -> Numbers:
    """``-((x - loc) / scale)^2 / 2 - log(scale sqrt(2 pi))``."""
    return -0.5 * ((x - loc) / scale) ** 2 - jnp.log(scale) - 0.5 * math.log(2 * math.pi)


def _log_normal(x: Numbers, loc: Numbers, scale: Numbers) -> Numbers:
    """Normal log density of ``log x``, minus ``log x``."""
    log = jnp.log(x)
    return _normal(log, loc, scale) - log


def _half_normal(x: Numbers, scale: Numbers) -> Numbers:
    """Twice the density of a normal about 0."""
    return _normal(x, 0.0, scale) + math.log(2.0)


def _gamma(x: Numbers, concentration: Numbers, rate: Numbers) -> Numbers:
    """``x^(concentration - 1) exp(-rate x) rate^concentration / Gamma(concentration)``, its logarithm."""
    constant = concentration * jnp.log(rate) - special.gammaln(concentration)
    return constant + (concentration - 1) * jnp.log(x) - rate * x


def _beta(x: Numbers, concentration1: Numbers, concentration0: Numbers) -> Numbers:
    """``x^(concentration1 - 1) (1 - x)^(concentration0 - 1) / B(concentration1, concentration0)``, its logarithm."""
    constant = -special.betaln(concentration1, concentration0)
    return constant + special.xlogy(concentration1 - 1, x) + special.xlog1py(concentration0 - 1, -x)


# The families implemented here, by NumPyro's names: log density and domain.
FAMILIES: dict[str, tuple[Callable[..., Any], str]] = {
    "Normal": (_normal, "real"),
    "LogNormal": (_log_normal, "positive"),
    "HalfNormal": (_half_normal, "positive"),
    "Gamma": (_gamma, "positive"),
    "Beta": (_beta, "unit"),
}
# Ends of the domains; None where there is no end.
ENDS: dict[str, tuple[Any, Any]] = {"real": (None, None), "positive": (0.0, None), "unit": (0.0, 1.0)}


class StandardPrior(eqx.Module):
    """A prior of one of the families implemented here.

    Args:
        family: NumPyro's name of the family.
        numbers: its hyperparameters by NumPyro's names.
    """

    family: str = eqx.field(static=True)
    numbers: dict[str, Float[Array, "*problem"]]

    @classmethod
    def of(cls, family: str, **numbers: float) -> "StandardPrior":
        """A prior from its hyperparameters, in float64."""
        return cls(family, {name: np.asarray(number, float) for name, number in numbers.items()})

    @property
    def domain(self) -> str | None:
        """The support: real, positive or unit."""
        return FAMILIES[self.family][1]

    @property
    def ends(self) -> tuple[Number | None, Number | None]:
        """The least and the largest number that has probability; None where there is no end."""
        return ENDS[FAMILIES[self.family][1]]

    @property
    def kind(self) -> str:
        """What it is but for its numbers."""
        return self.family

    def log_prob(self, x: Numbers) -> Numbers:
        """The log density."""
        return FAMILIES[self.family][0](x, **self.numbers)

    def contains(self, x: Numbers) -> Flags:
        """Whether a number has probability."""
        low, high = self.ends
        inside = jnp.ones(jnp.shape(x), bool) if low is None else x > low
        return inside if high is None else inside & (x < high)

    def constrained(self, z: Numbers) -> tuple[Numbers, Numbers]:
        """The number at an unconstrained coordinate, and the log of the map's slope."""
        if self.domain == "positive":
            return jnp.exp(z), z
        if self.domain == "unit":
            return 1.0 / (1.0 + jnp.exp(-z)), -jax.nn.softplus(z) - jax.nn.softplus(-z)
        return z, jnp.zeros_like(z)

    def unconstrained(self, x: Numbers) -> Numbers:
        """The coordinate of a number."""
        if self.domain == "positive":
            return jnp.log(x)
        return jnp.log(x) - jnp.log1p(-x) if self.domain == "unit" else x

    @property
    def distribution(self) -> Any:
        """The same as a NumPyro distribution."""
        import numpyro.distributions as dist

        return getattr(dist, self.family)(**self.numbers)

    def __str__(self) -> str:
        """Text for reports, such as ``LogNormal(-4.6, 2.5)``."""
        names = list(inspect.signature(FAMILIES[self.family][0]).parameters)[1:]
        return _format(self.family, [self.numbers[name] for name in names])


@contextlib.contextmanager
def _implicit_promotion() -> Iterator[None]:
    """JAX's default promotion of types and ranks, on which NumPyro relies, whatever the caller allows."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


class NumPyroPrior(eqx.Module):
    """Any other scalar NumPyro distribution.

    Args:
        structure: its type and static attributes.
        domain: the support: "real", "positive" or "unit"; None for another.
        numbers: its arrays, in the order of the names of the attributes that hold them.
    """

    structure: tuple[Hashable, ...] = eqx.field(static=True)
    domain: str | None = eqx.field(static=True)
    numbers: list[Float[Array, "..."]]

    @property
    def distribution(self) -> Any:
        """The NumPyro distribution."""
        return _unflatten(self.structure, iter(self.numbers))

    @property
    def ends(self) -> tuple[Number | None, Number | None]:
        """The least and the largest number that has probability; None where there is no end."""
        support = self.distribution.support
        return getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)

    @property
    def kind(self) -> str:
        """What it is but for its numbers."""
        return str(self.structure)

    def log_prob(self, x: Numbers) -> Numbers:
        """The log density."""
        with _implicit_promotion():
            return self.distribution.log_prob(x)

    def contains(self, x: Numbers) -> Flags:
        """Whether a number has probability."""
        return self.distribution.support(x)

    def constrained(self, z: Numbers) -> tuple[Numbers, Numbers]:
        """The number at an unconstrained coordinate, and the log of the map's slope."""
        change = self._change
        with _implicit_promotion():
            x = change(z)
            return x, change.log_abs_det_jacobian(z, x)

    def unconstrained(self, x: Numbers) -> Numbers:
        """The coordinate of a number."""
        with _implicit_promotion():
            return self._change.inv(x)

    @property
    def _change(self) -> Any:
        from numpyro.distributions import biject_to

        return biject_to(self.distribution.support)

    def __str__(self) -> str:
        """Text for reports, such as ``Uniform(0, 1)``."""
        return describe(self.distribution)


Prior = StandardPrior | NumPyroPrior


def prior_of(distribution: Any) -> Prior:
    """The prior of a scalar NumPyro distribution."""
    from numpyro.distributions import constraints

    family = type(distribution).__name__
    structure, numbers = _flatten(distribution)
    if type(distribution).__module__.startswith("numpyro.") and family in FAMILIES:
        return StandardPrior.of(family, **{name: getattr(distribution, name) for name in distribution.arg_constraints})
    # Determined here, where the ends of a support are concrete numbers: tracers cannot be compared.
    support = distribution.support
    known = {"positive": (constraints.positive, constraints.nonnegative), "unit": (constraints.unit_interval,)}
    known["real"] = (constraints.real,)
    domain = next((name for name, supports in known.items() if support in supports), None)
    return NumPyroPrior(structure, domain, [np.asarray(number, float) for number in numbers])


def describe(distribution: Any) -> str:
    """Text of a NumPyro distribution for reports: ``LogNormal(-4.6, 2.5)``."""
    values = [getattr(distribution, key, None) for key in distribution.arg_constraints]
    numbers = [value for value in values if value is not None and np.ndim(value) == 0]
    return _format(type(distribution).__name__, numbers)


def _format(family: str, numbers: Sequence[Number]) -> str:
    values = [float(np.asarray(number)) for number in numbers]
    # The midpoint of a range may differ from zero by rounding.
    tiny = 1e-12 * max(map(abs, values), default=0.0)
    return f"{family}({', '.join(f'{0.0 if abs(value) < tiny else value:.4g}' for value in values)})"


def _flatten(tree: Any) -> tuple[Any, list[Any]]:
    """Structure and arrays of a pytree, with the attributes of distributions ordered by name."""
    import numpyro.distributions as dist

    def is_distribution(node: Any) -> bool:
        return isinstance(node, dist.Distribution)

    if not is_distribution(tree):
        leaves, structure = jax.tree.flatten(tree, is_leaf=is_distribution)
        if not any(map(is_distribution, leaves)):
            return (structure, len(leaves)), leaves
        parts = [_flatten(leaf) for leaf in leaves]
        return (structure, tuple(kind for kind, _ in parts)), [leaf for _, own in parts for leaf in own]
    kind = type(tree)
    data, fixed = tree.tree_flatten()
    attributes = sorted(zip(kind.gather_pytree_data_fields(), data, strict=True), key=lambda pair: pair[0])
    parts = [(name, *_flatten(value)) for name, value in attributes]
    aside = tuple(sorted(zip(kind.gather_pytree_aux_fields(), fixed, strict=True), key=lambda pair: pair[0]))
    structure = (kind, tuple((name, inside) for name, inside, _ in parts), aside)
    return structure, [leaf for _, _, own in parts for leaf in own]


def _unflatten(structure: Any, leaves: Iterator[Array]) -> Any:
    """The inverse of :func:`_flatten`."""
    if isinstance(structure[0], type):
        kind, inside, aside = structure
        data = {name: _unflatten(part, leaves) for name, part in inside}
        fixed = dict(aside)
        return kind.tree_unflatten(
            tuple(fixed[name] for name in kind.gather_pytree_aux_fields()),
            tuple(data[name] for name in kind.gather_pytree_data_fields()),
        )
    tree, inside = structure
    if isinstance(inside, int):
        return jax.tree.unflatten(tree, [next(leaves) for _ in range(inside)])
    return jax.tree.unflatten(tree, [_unflatten(part, leaves) for part in inside])
