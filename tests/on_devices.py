"""Programs of test_devices in separate processes: fits over meshes, with their bits as text.

``python -m tests.on_devices MESH...`` prints a line for each mesh (a number of devices, or "none");
``python -m tests.on_devices together PORT PROCESSES WHICH FOLDER`` lines for the mesh of all devices of all processes:
with a journal that they share, then with one for each, of which only the first process's is full.
``python -m tests.on_devices numbers`` prints results of this machine;
``python -m tests.on_devices pretended`` the same with the settings of an accelerator.
"""

import hashlib
import shutil
import sys
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxscale import bootstrap, fit, fit_many, noise, posterior_many
from tests.sweeps import small, sweep


def bits(mesh: Any, folder: str | None = None) -> str:
    """A fit with resampled errors and a batch of three data sets with weightings: a hash of every number."""
    kept = [None if folder is None else f"{folder}/{name}" for name in ("one", "many")]
    robust = noise.huber(1e-3)
    one = fit(small, sweep(), noise=robust, mesh=mesh, starts=3000, polish=24, n_resamples=20, checkpoint=kept[0])
    weights = np.random.default_rng(0).multinomial(20, np.ones(20) / 20, size=5).astype(float)
    sets = [sweep(seed) for seed in range(3)]
    fits = fit_many(small, sets, weight=[weights] * 3, noise=noise.huber(), mesh=mesh, checkpoint=kept[1])
    arrays = [*fits.params.values(), fits.objective, fits.status, fits.agree, fits.polished, fits.steps]
    digest = hashlib.sha256(one.to_json().encode())
    for array in arrays:
        digest.update(array.tobytes())
    return f"{one.objective.hex()} {float(fits.objective[0, 0]).hex()} {digest.hexdigest()}"


def numbers() -> list[float]:
    """An objective, the largest of fits to many data sets, standard errors of a bootstrap, medians of posteriors."""
    sets = [sweep(seed) for seed in range(9)]
    one = fit(small, sets[0], n_resamples=0, progress=False)
    many = fit_many(small, sets, noise=noise.huber(), progress=False)
    refits = bootstrap(one, n_resamples=40, progress=False)
    several = posterior_many(small, sets[:3], method="importance", num_chains=2, num_samples=200, progress=False)
    spread = [float(np.std(values)) for values in refits.params.values()]
    return [
        one.objective,
        float(many.objective.max()),
        *spread,
        *(float(np.median(v)) for v in several.params.values()),
    ]


def mesh_of(count: int | None = None) -> Any:
    return jax.sharding.Mesh(np.array(jax.devices()[:count]), ("devices",))


if __name__ == "__main__":
    if sys.argv[1] == "together":
        port, processes, which = map(int, sys.argv[2:5])
        folder = sys.argv[5]
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", processes, which)
        assert jax.process_count() == processes
        print(bits(mesh_of(), folder))
        # The other process may still be writing its last part.
        multihost_utils.sync_global_devices("written")
        if which == 0:
            shutil.copytree(folder, f"{folder}-0")
        print(bits(mesh_of(), f"{folder}-{which}"))
    elif sys.argv[1] in ("numbers", "pretended"):
        if sys.argv[1] == "pretended":
            # What depends on the kind of device asks for its name alone.
            jax.default_backend = lambda: "gpu"
        for number in numbers():
            print(number.hex())
    else:
        for name in sys.argv[1:]:
            print(bits(None if name == "none" else mesh_of(int(name))))
