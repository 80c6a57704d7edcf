"""Compiled programs: compiler settings, and programs inside other transformations."""

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxscale
from jaxscale.utils import compilation, memory_maps
from jaxscale.utils.compilation import Program, compiled

X = np.linspace(0.1, 2.0, 32)


@compiled
def curve(x):
    return jnp.exp(-x) * jnp.sin(x) + jnp.sqrt(x)


@compiled(brief=True)
def brief_curve(x):
    return jnp.exp(-x) * jnp.sin(x) + jnp.sqrt(x)


@compiled(static_argnames=("power",))
def raised(x, power):
    return x**power


@pytest.fixture
def fresh_settings() -> Iterator[None]:
    """Settings are looked up before and after the test."""
    known = (compilation._supported_settings, compilation._compiles)
    for each in known:
        each.cache_clear()
    yield
    for each in known:
        each.cache_clear()


@pytest.mark.parametrize("program", [curve, brief_curve])
def test_a_program_returns_the_bits_of_jit(program: Program, optimised: None) -> None:
    np.testing.assert_array_equal(program(X), jax.jit(program.function)(X))


def test_a_program_compiles_once_for_a_shape() -> None:
    program = compiled(lambda x: x + 1)
    for length in (3, 3, 4, 4):
        program(np.zeros(length))
    assert program._cache_size() == 2


def test_static_arguments_reach_jit() -> None:
    np.testing.assert_array_equal(raised(np.arange(3.0), power=2), [0.0, 1.0, 4.0])
    np.testing.assert_array_equal(raised(np.arange(3.0), power=3), [0.0, 1.0, 8.0])


def test_a_program_can_be_transformed() -> None:
    whole = np.asarray(curve(X))
    np.testing.assert_allclose(jax.vmap(curve)(X[:, None])[:, 0], whole, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda x: 2 * curve(x))(X), 2 * whole, rtol=1e-6)
    slope = jax.grad(curve)(0.5)
    expected = np.exp(-0.5) * (np.cos(0.5) - np.sin(0.5)) + 0.5 / np.sqrt(0.5)
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


def test_a_setting_that_the_compiler_does_not_know_is_left_out(
    monkeypatch: pytest.MonkeyPatch, fresh_settings: None
) -> None:
    monkeypatch.setitem(compilation.SETTINGS, "xla_no_such_setting", True)
    known = compilation._supported_settings(True)
    assert "xla_no_such_setting" not in known
    assert set(compilation._supported_settings(False)) == set(known) - set(compilation.BRIEF)
    np.testing.assert_allclose(compiled(lambda x: 2 * x)(X), 2 * X, rtol=1e-6)


def test_clear_cache_drops_the_programs_of_the_package_alone() -> None:
    theirs: Any = jax.jit(lambda x: x - 1)
    ours = compiled(lambda x: x + 1)
    nested = compiled(lambda x: x + 2, nested=True)
    for program in (ours, theirs, nested):
        program(X)
    jax.vmap(nested)(X)
    jax.jit(nested.inside)(X)
    compilation.compiled_calls.add("a call")
    jaxscale.clear_cache()
    assert (ours._cache_size(), nested._cache_size(), nested.inside._cache_size(), theirs._cache_size()) == (0, 0, 0, 1)
    assert not compilation.compiled_calls
    np.testing.assert_array_equal(ours(X), np.asarray(X, np.float32) + 1)
    assert ours._cache_size() == 1


def test_clear_cache_unmaps_memory() -> None:
    before = memory_maps.count()
    if not before:
        pytest.skip("the system does not say how many memory maps a process has")
    programs = [compiled(lambda x, k=k: jnp.sin(x) * jnp.cos(k * x)) for k in range(16)]
    for program in programs:
        program(X)
    grown = memory_maps.count()
    jaxscale.clear_cache()
    assert grown - before >= 2 * len(programs)
    assert memory_maps.count() - before <= (grown - before) / 4


def test_a_program_that_nothing_refers_to_is_forgotten() -> None:
    program = compiled(lambda x: x + 3)
    program(X)
    left = weakref.ref(program)
    del program
    gc.collect()
    assert left() is None


@pytest.mark.parametrize(("share", "left"), [(0.4, 3), (0.6, 2)])
def test_programs_are_dropped_after_some_compilations_where_maps_are_many(
    monkeypatch: pytest.MonkeyPatch, share: float, left: int
) -> None:
    looks = []
    monkeypatch.setattr(compilation.memory_maps, "share", lambda: looks.append(share) or share)
    monkeypatch.setattr(compilation, "BETWEEN_LOOKS", 2)
    monkeypatch.setattr(compilation, "_since_look", 0)
    program = compiled(lambda x: x + 4)
    for length in (3, 3, 4, 4):
        program(np.zeros(length))
    # The look comes before the call that follows the second compilation.
    assert looks == [share]
    program(np.zeros(5))
    assert program._cache_size() == left
