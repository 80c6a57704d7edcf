"""Power laws and cycles in astronomy."""

import math

import jax.numpy as jnp

from jaxscale.law import Check, Input, Response, amplitude, exponent, law, location, positive, positive_number, real

FAMILY = "sciences"


@law(
    inputs=dict(t=Input("time", low=-math.inf, typical=(0.0, 130.0))),
    response=Response("sunspot number", real),
    A=positive_number(range=(1.0, 1e4), meaning="size of the cycle, about twice its peak"),
    b=positive_number(range=(0.5, 200.0), meaning="time scale of the rise"),
    t0=location("t", real, range=(-50.0, 50.0), meaning="start of the cycle"),
    formula=r"F = \frac{A \tau^3}{e^{\tau^2} - 0.71},\quad \tau = \frac{t - t_0}{b},"
    r"\quad F = 0 \text{ for } t \le t_0",
    source="Prediction for the 25th solar cycle using visibility graph and Hathaway function",
    affine=("A",),
    checks=(
        Check(0.5038, at=dict(t=1.0813), params=dict(A=1.0, b=1.0, t0=0.0)),
        Check(0.4979, at=dict(t=1.0), params=dict(A=1.0, b=1.0, t0=0.0)),
    ),
)
def hathaway(t, *, A, b, t0):
    """A solar cycle rises fast as a cubic and falls slowly as a Gaussian.

    ``F = A * tau**3 / (exp(tau**2) - 0.71)``, ``tau = (t - t0) / b``, and ``0`` for ``t <= t0``

    The peak is ``0.5038 * A`` at ``tau = 1.0813``; the asymmetry 0.71 is the same for all cycles. Large cycles are
    short: across cycles ``b`` falls as ``A`` grows.

    Source: Prediction for the 25th solar cycle using visibility graph and Hathaway function.
    """
    started = t > t0
    tau = jnp.where(started, (t - t0) / b, 1.0)
    fall = jnp.exp(-(tau**2))
    return jnp.where(started, A * tau**3 * fall / (1 - 0.71 * fall), 0.0)


@law(
    inputs=dict(f=Input("Hz", typical=(1e-3, 1e3))),
    response=Response("power per Hz", positive),
    c=amplitude(f="-beta", range=(1e-6, 1e9), meaning="power at a frequency of one"),
    beta=exponent(real, range=(-4.0, 1.0), meaning="slope of log power in log frequency"),
    formula=r"PSD = c f^{\beta}",
    source="Variabilities of Gamma-ray Bursts from Fallback Material",
    affine=("c",),
)
def psd_power(f, *, c, beta):
    """The power spectral density of a light curve is a power law in the frequency.

    ``PSD = c * f**beta``, with ``beta`` about -1

    Values of a periodogram scatter exponentially, so least squares on their logs shifts ``c`` and is noisy:
    the Whittle likelihood is the fit that suits them.

    Source: Variabilities of Gamma-ray Bursts from Fallback Material.
    """
    return c * f**beta


@law(
    inputs=dict(k=Input("1/Mpc", typical=(1e-4, 1e2))),
    response=Response("", positive),
    A_s=positive_number(range=(1e-12, 1e2), meaning="power at the pivot"),
    k0=positive_number(range=(1e-3, 1e2), unit="1/Mpc", meaning="pivot scale"),
    n_s=exponent(range=(0.5, 1.5), meaning="spectral index"),
    formula=r"P(k) = A_s \left(\frac{k}{k_0}\right)^{n_s - 1}",
    source="Planck 2018 results. VI. Cosmological parameters, Planck Collaboration 2018, arXiv:1807.06209",
    affine=("A_s",),
    checks=(Check(0.9226, at=dict(k=10.0), params=dict(A_s=1.0, k0=1.0, n_s=0.965)),),
)
def primordial_spectrum(k, *, A_s, k0, n_s):
    """The primordial power spectrum is a nearly scale-invariant power law in the wavenumber.

    ``P = A_s * (k / k0)**(n_s - 1)``

    The pivot ``k0`` is a convention: fix it, since ``A_s`` depends on its choice. Measured is
    ``n_s = 0.965``, with an error of 0.004.

    Source: Planck Collaboration 2018, arXiv:1807.06209.
    """
    return A_s * (k / k0) ** (n_s - 1)


@law(
    inputs=dict(lam=Input("wavelength", typical=(1e2, 1e4))),
    response=Response("flux per wavelength", positive),
    c=amplitude(lam="-beta", range=(1e-6, 1e12), meaning="flux at a wavelength of one"),
    beta=exponent(real, range=(-4.0, -0.5), meaning="slope of the ultraviolet continuum"),
    formula=r"f_\lambda = c \lambda^{\beta}",
    source="JADES spectrum of a remnant leaker at redshift 8.5",
    affine=("c",),
    decreasing=("lam",),
)
def uv_slope(lam, *, c, beta):
    """The ultraviolet continuum of a young galaxy falls as a power of the wavelength.

    ``f = c * lam**beta``

    The steeper, the younger and the less dusty: -2.8 with an error of 0.2 in the object of the paper, and
    -3.0 to -2.2 over the values discussed.

    Source: JADES spectrum of a remnant leaker at redshift 8.5.
    """
    return c * lam**beta


@law(
    inputs=dict(l=Input("")),
    response=Response("1/time", positive),
    c=positive_number(range=(1e-6, 1e6), meaning="rate at l = 1"),
    formula=r"\frac{1}{\tau} = c\, l^{-3/2}",
    source="Varying speed of light via Higgs-dilaton coupling",
    affine=("c",),
    decreasing=("l",),
)
def clock_rate(l, *, c):
    """A clock slows down as a fixed power of the quantity that sets its rate.

    ``1 / tau = c * l**-1.5``

    The power is fixed by theory; ``power_law`` with a free one tests it.

    Source: Varying speed of light via Higgs-dilaton coupling.
    """
    return c * l**-1.5
