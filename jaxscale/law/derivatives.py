"""Values and derivatives of a law at one row, optimised for evaluation over many rows and lanes.

A law is traced once, at scalars. Powers with a fitted exponent become exponentials of logarithms (the
logarithm of an input is then shared by all lanes, and ``exp`` is vectorised while ``pow`` is not), and
second derivatives that vanish identically are detected in the trace and not computed.
"""

import inspect
import traceback
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var
from jaxtyping import Float, PyTree, Shaped

from jaxscale.law.declare import Law
from jaxscale.utils.arrays import Array, Number, Numbers, Value
from jaxscale.utils.errors import LawError

T = TypeVar("T")

# Number of operations above which a warning is given, since compile time grows faster than linearly; no law of the
# catalogue has as many.
LONG = 500
_CALLS = ("jit", "pjit", "closed_call")
_COSTLY = ("exp", "exp2", "expm1", "log", "log1p", "pow", "tanh", "logistic", "sin", "cos", "erf", "lgamma", "digamma")


def power(x: Numbers, y: Numbers) -> Float[Array, "..."]:
    """Power ``x**y`` as ``exp(y * log(x))``, with the smallest number in place of 0; a negative x gives NaN."""
    tiny = jnp.finfo(jnp.result_type(x, y)).tiny
    return jnp.exp(y * jnp.log(jnp.where(x == 0, tiny, x)))


def value(law: Law, inputs: Mapping[str, Numbers], params: Mapping[str, Number]) -> Float[Array, ""]:
    """Value of the law at one row, with powers rewritten as exponentials.

    Args:
        law: the law.
        inputs: one row by name.
        params: parameters by name, scalars.
    """
    numbers = [
        *(jnp.asarray(inputs[name]) for name in law.inputs),
        *(jnp.asarray(params[name]) for name in law.parameters),
    ]
    kinds = tuple((x.shape, str(x.dtype)) for x in numbers)
    # Constants of the law have the default precision.
    traced = _trace(law, kinds, str(jnp.result_type(float)))
    return _run(traced, numbers, [True] * len(numbers))[0]


@lru_cache(maxsize=1024)
def _trace(law: Law, kinds: tuple[tuple[tuple[int, ...], str], ...], precision: str) -> ClosedJaxpr:
    names = tuple(law.parameters)
    count = len(law.inputs)

    def call(*numbers: Shaped[Value, "..."]) -> Number:
        return law(*numbers[:count], **dict(zip(names, numbers[count:], strict=True)))

    return jax.make_jaxpr(call)(*(jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in kinds))


def check_traceable(law: Law, inputs: Mapping[str, Shaped[Array, "... row"]]) -> None:
    """Trace a law as a fit does, so that an error in it is reported with its file and line.

    Args:
        law: the law.
        inputs: name to array whose last axis is that of rows.

    Raises:
        LawError: the law raises an error, or does not return one real number.
    """
    with jax.enable_x64(True):
        try:
            description, nothing, operations = _trial(law, tuple(jnp.shape(inputs[name])[:-1] for name in law.inputs))
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in frames if frame.filename == law.function.__code__.co_filename] or frames
            first = str(error).strip().split("\n")[0]
            where = f"{own[-1].filename}, line {own[-1].lineno}"
            raise LawError(f"law {law.name!r} fails at {where}: {type(error).__name__}: {first}") from error
        if description:
            where = _place(law.function, "def " if nothing else "return ")
            raise LawError(f"law {law.name!r} must return one number for one row, but returns {description} at {where}")
    if operations > LONG:
        warnings.warn(
            f"Law {law.name!r} takes {operations} operations a row, which may take minutes to compile; "
            "write a loop over steps as jax.lax.fori_loop or jax.lax.while_loop.",
            stacklevel=2,
        )


@lru_cache(maxsize=1024)
def _trial(law: Law, shapes: tuple[tuple[int, ...], ...]) -> tuple[str, bool, int]:
    """Describe an invalid return value of a law, whether it is None, and count its operations for a row."""
    returned: list[Any] = []

    def call(*numbers: Shaped[Value, "..."]) -> float:
        count = len(law.inputs)
        returned.append(law(*numbers[:count], **dict(zip(law.parameters, numbers[count:], strict=True))))
        return 0.0

    every = [*shapes, *[()] * len(law.parameters)]
    traced = jax.make_jaxpr(call)(*(jax.ShapeDtypeStruct(shape, "float64") for shape in every))
    return _describe_invalid(returned[0]), returned[0] is None, len(traced.jaxpr.eqns)


def _describe_invalid(returned: Any) -> str:
    """Description of a return value that is not one real number, else an empty string."""
    if returned is None:
        return "nothing (it has no return)"
    if not isinstance(returned, jax.Array | np.ndarray | np.generic | float | int | complex):
        return f"a {type(returned).__name__}"
    if jnp.shape(returned) != ():
        return f"an array of shape {jnp.shape(returned)}"
    dtype = jnp.result_type(returned)
    return "" if jnp.issubdtype(dtype, jnp.floating) else f"a number of type {dtype}, which is not real"


def _place(function: Callable[..., Any], word: str) -> str:
    """File of a function and its last line that starts with a word."""
    code = inspect.unwrap(function).__code__
    try:
        lines, first = inspect.getsourcelines(code)
    except OSError:
        lines, first = [], code.co_firstlineno
    places = [first + k for k, line in enumerate(lines) if line.lstrip().startswith(word)]
    return f"{code.co_filename}, line {places[-1] if places else first}"


def _run(closed: ClosedJaxpr, arguments: Sequence[Shaped[Value, "..."]], vary: Sequence[bool]) -> list[Array]:
    """Evaluate a trace, rewriting powers whose exponent depends on an argument that may vary."""
    jaxpr = closed.jaxpr
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    known.update(zip(jaxpr.invars, arguments, strict=True))
    varying = {variable for variable, varies in zip(jaxpr.invars, vary, strict=True) if varies}

    def read(variable: Var | Literal) -> Shaped[Value, "..."]:
        return variable.val if isinstance(variable, Literal) else known[variable]

    for equation in jaxpr.eqns:
        values = [read(variable) for variable in equation.invars]
        vary = [not isinstance(variable, Literal) and variable in varying for variable in equation.invars]
        name = equation.primitive.name
        if name == "pow" and vary[1]:
            results = [power(*values)]
        elif name in _CALLS:
            inner = equation.params["jaxpr" if "jaxpr" in equation.params else "call_jaxpr"]
            results = _run(inner, values, vary)
        else:
            result = equation.primitive.bind(*values, **equation.primitive.get_bind_params(equation.params))
            results = result if equation.primitive.multiple_results else [result]
        known.update(zip(equation.outvars, results, strict=True))
        if any(vary):
            varying.update(equation.outvars)
    return [read(variable) for variable in jaxpr.outvars]


def inline(function: Callable[..., Any], *arguments: PyTree) -> Callable[..., Any]:
    """Trace a function once for arguments of these shapes, with nested jitted functions inlined.

    Transformations process nested jitted functions repeatedly: a Hessian under ``vmap`` is traced in less than half
    the time without them.

    Args:
        function: function of pytrees of arrays.
        *arguments: arguments for whose shapes it is traced.
    """
    leaves, structure = jax.tree.flatten(arguments)
    ends: list[Any] = []

    def plain(*leaves: Shaped[Value, "..."]) -> list[Array]:
        results, end = jax.tree.flatten(function(*jax.tree.unflatten(structure, leaves)))
        ends.append(end)
        return results

    closed = jax.make_jaxpr(plain)(*leaves)

    def flat(*arguments: PyTree) -> Any:
        leaves = jax.tree.leaves(arguments)
        return jax.tree.unflatten(ends[0], _run(closed, leaves, [False] * len(leaves)))

    return flat


def _slope(function: Callable[..., Any], z: Sequence[Numbers], k: int) -> Float[Array, "..."]:
    """Derivative in the k-th argument alone, so that terms independent of it are known to be zero."""
    one = jnp.ones_like(z[k])
    return jax.jvp(lambda x: function(*z[:k], x, *z[k + 1 :]), (z[k],), (one,))[1]


def expansion(
    function: Callable[[Sequence[Array], T], Array], z: Sequence[Number], rest: T, order: int = 2
) -> tuple[Float[Array, ""], list[Float[Array, ""]], list[Float[Array, ""] | None]]:
    """Value, slopes and second derivatives of ``function(z, rest)`` at one point.

    Args:
        function: function of a sequence of scalars and a pytree.
        z: scalars.
        rest: a pytree of scalars.
        order: 2, or 1 to omit the second derivatives.

    Returns:
        The value, its slope in every z[k], and for every pair k >= l, in the order (0, 0), (1, 0), (1, 1), ...,
        the second derivative, or None if it vanishes identically (none of them with order 1).
    """
    leaves, structure = jax.tree.flatten(rest)
    count = len(z)

    def given(*numbers: Shaped[Value, "..."]) -> Float[Array, ""]:
        return function(numbers[:count], jax.tree.unflatten(structure, numbers[count:]))

    numbers = [*z, *leaves]
    shapes = [jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)) for x in numbers]
    # The derivatives are taken of this trace.
    once = jax.make_jaxpr(given)(*shapes)
    if has_loop(once.jaxpr):
        return _in_one_pass(once, numbers, count, order)

    def everything(*numbers: Shaped[Value, "..."]) -> list[Float[Array, ""]]:
        def plain(*z: Number) -> Float[Array, ""]:
            return _run(once, [*z, *numbers[count:]], [False] * len(numbers))[0]

        z = numbers[:count]
        slopes = [lambda *z, k=k: _slope(plain, z, k) for k in range(count)]
        pairs = [_slope(slopes[k], z, m) for k in range(count) for m in range(k + 1) if order == 2]
        return [plain(*z), *(slope(*z) for slope in slopes), *pairs]

    traced = jax.make_jaxpr(everything)(*shapes)
    results = _eliminate_common(traced, numbers)
    vanishes = [isinstance(variable, Literal) and variable.val == 0 for variable in traced.jaxpr.outvars]
    second = [None if gone else result for gone, result in zip(vanishes, results, strict=True)]
    return results[0], results[1 : count + 1], second[count + 1 :]


def has_loop(jaxpr: Jaxpr) -> bool:
    """Whether a trace contains a loop, also in nested functions."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("while", "scan"):
            return True
        inner = [getattr(value, "jaxpr", value) for value in equation.params.values()]
        if any(isinstance(each, Jaxpr) and has_loop(each) for each in inner):
            return True
    return False


def _in_one_pass(
    once: ClosedJaxpr, numbers: Sequence[Shaped[Value, "..."]], count: int, order: int
) -> tuple[Float[Array, ""], list[Float[Array, ""]], list[Float[Array, ""]]]:
    """As :func:`expansion`, for a trace with loops: each loop runs once for all derivatives.

    Derivatives taken one at a time would each repeat the loop.
    """
    ones = jnp.eye(count, dtype=jnp.result_type(*numbers[:count]))

    def along(function: Callable[..., Any]) -> Callable[..., Any]:
        """Value of the function and its derivatives in all directions."""

        def both(z: Float[Array, " size"]) -> tuple[PyTree, PyTree]:
            return jax.vmap(lambda d: jax.jvp(function, (z,), (d,)), out_axes=(None, 0))(ones)

        return both

    def plain(z: Float[Array, " size"]) -> Float[Array, ""]:
        return _run(once, [*z, *numbers[count:]], [False] * len(numbers))[0]

    if order == 1:
        y, slope = along(plain)(jnp.stack(numbers[:count]))
        return y, list(slope), []
    (y, slope), (_, second) = along(along(plain))(jnp.stack(numbers[:count]))
    return y, list(slope), [second[k, m] for k in range(count) for m in range(k + 1)]


def _eliminate_common(closed: ClosedJaxpr, arguments: Sequence[Shaped[Value, "..."]]) -> list[Array]:
    """Evaluate a trace with common subexpression elimination, keeping the results of costly operations.

    The compiler eliminates common subexpressions too, but recomputes an exponential in each fusion that uses it.
    """
    jaxpr = closed.jaxpr
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    known.update(zip(jaxpr.invars, arguments, strict=True))
    names: dict[Any, Any] = {}
    seen: dict[Any, Any] = {}

    def name(variable: Var | Literal) -> Hashable:
        if isinstance(variable, Literal):
            return ("literal", str(variable.aval), float(variable.val)) if jnp.ndim(variable.val) == 0 else id(variable)
        return names.get(variable, variable)

    for equation in jaxpr.eqns:
        settings = equation.primitive.get_bind_params(equation.params)
        # Two nested traces may print alike but have different constants.
        text = [(k, id(v) if isinstance(v, ClosedJaxpr) else str(v)) for k, v in sorted(equation.params.items())]
        key = (equation.primitive, tuple(map(name, equation.invars)), tuple(text))
        if key not in seen:
            values = [v.val if isinstance(v, Literal) else known[v] for v in equation.invars]
            result = equation.primitive.bind(*values, **settings)
            results = result if equation.primitive.multiple_results else [result]
            if equation.primitive.name in _COSTLY:
                results = [jax.lax.optimization_barrier(result) for result in results]
            seen[key] = equation.outvars
            known.update(zip(equation.outvars, results, strict=True))
        else:
            for variable, first in zip(equation.outvars, seen[key], strict=True):
                names[variable] = names.get(first, first)
                known[variable] = known[first]
    return [v.val if isinstance(v, Literal) else known[v] for v in jaxpr.outvars]
