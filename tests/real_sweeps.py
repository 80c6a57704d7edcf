"""Published sweeps as observations."""

from pathlib import Path

from jaxscale.data.observations import Observations

COLUMNS = dict(N="params", D="tokens")


def sweep(data: Path, name: str, where: str | None = None, columns=COLUMNS, **more) -> Observations:
    return Observations.from_table(data / f"{name}.csv", inputs=columns, response="loss", where=where, **more)
