"""Laws: declaration, coordinates, derivatives, and algebra."""

from jaxscale.law import algebra as algebra
from jaxscale.law.declaration import (
    Check as Check,
)
from jaxscale.law.declaration import (
    Input as Input,
)
from jaxscale.law.declaration import (
    Parameter as Parameter,
)
from jaxscale.law.declaration import (
    Range as Range,
)
from jaxscale.law.declaration import (
    Response as Response,
)
from jaxscale.law.declaration import (
    Support as Support,
)
from jaxscale.law.declaration import (
    amplitude as amplitude,
)
from jaxscale.law.declaration import (
    coefficient as coefficient,
)
from jaxscale.law.declaration import (
    exponent as exponent,
)
from jaxscale.law.declaration import (
    floor as floor,
)
from jaxscale.law.declaration import (
    fraction as fraction,
)
from jaxscale.law.declaration import (
    interval as interval,
)
from jaxscale.law.declaration import (
    location as location,
)
from jaxscale.law.declaration import (
    positive as positive,
)
from jaxscale.law.declaration import (
    positive_number as positive_number,
)
from jaxscale.law.declaration import (
    real as real,
)
from jaxscale.law.declaration import (
    scale as scale,
)
from jaxscale.law.declaration import (
    unit as unit,
)
from jaxscale.law.declare import Law as Law
from jaxscale.law.declare import between as between
from jaxscale.law.declare import law as law
from jaxscale.utils.errors import LawError as LawError
