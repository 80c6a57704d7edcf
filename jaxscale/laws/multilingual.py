"""Translation and many languages in one model."""

from jaxscale.law import (
    Check,
    Input,
    Response,
    amplitude,
    coefficient,
    exponent,
    floor,
    law,
    positive,
)

FAMILY = "mixtures"
PARAMETERS = Input("parameters", lower=1e5)
WEIGHT = Input("sampling weight", high=1.0, typical=(0.02, 0.98))
LOSS = Response("nat/token", positive)
FERNANDES = "Scaling Laws for Multilingual Neural Machine Translation, Fernandes 2023"
GHORBANI = "Scaling Laws for Neural Machine Translation, Ghorbani 2021"


@law(
    inputs=dict(N=PARAMETERS),
    response=LOSS,
    beta=amplitude(N="alpha", range=(1e-3, 1e9), meaning="size of the model term at one sampling weight"),
    alpha=exponent(meaning="power of the parameters, shared over sampling weights"),
    L_inf=floor(unit="nat/token", meaning="irreducible loss, shared over sampling weights"),
    formula=r"L_i = \beta_{p,i} N^{-\alpha_i} + L_{\infty,i}",
    source=FERNANDES,
    affine=("beta", "L_inf"),
    decreasing=("N",),
)
def multilingual_power(N, *, beta, alpha, L_inf):
    """The loss on a language pair at one sampling weight is a power law of size above a floor.

    ``L = beta * N**-alpha + L_inf``

    Only ``beta`` depends on the sampling weight: curves of different weights are parallel in
    ``log(L - L_inf)``. ``multilingual_share_loss`` gives this dependence.

    Source: Fernandes 2023.
    """
    return beta * N**-alpha + L_inf


@law(
    inputs=dict(p=WEIGHT),
    response=Response("share", positive),
    c1=coefficient(range=(0.01, 2.0), meaning="size of the gain above the sampling weight"),
    c2=exponent(meaning="power of the weight"),
    c3=exponent(range=(0.01, 3.0), meaning="power of the rest"),
    formula=r"f(p) = p + c_1 p^{c_2} (1 - p)^{c_3}",
    source=f"{FERNANDES}; unconfirmed form",
    affine=("c1",),
    checks=(Check(0.3737, at=dict(p=0.25), params=dict(c1=0.5, c2=0.8, c3=1.0)),),
)
def multilingual_share(p, *, c1, c2, c3):
    """A language pair uses a larger share of the model than its share of the samples.

    ``f = p + c1 * p**c2 * (1 - p)**c3``

    ``f`` is the size of the model trained on the pair alone that reaches the same loss, as a share of
    the whole: ``f = (beta_1 / beta_p)**(1 / alpha)`` in the constants of ``multilingual_power``.

    Source: Fernandes 2023; unconfirmed form.
    """
    return p + c1 * p**c2 * (1 - p) ** c3


@law(
    inputs=dict(N=PARAMETERS, p=WEIGHT),
    response=LOSS,
    beta_1=amplitude(N="alpha", range=(1e-3, 1e9), meaning="size of the model term of the pair alone"),
    alpha=exponent(meaning="power of the parameters"),
    L_inf=floor(unit="nat/token", meaning="irreducible loss"),
    c1=coefficient(range=(0.01, 2.0), meaning="size of the gain above the sampling weight"),
    c2=exponent(meaning="power of the weight"),
    c3=exponent(range=(0.01, 3.0), meaning="power of the rest"),
    formula=r"L_i = \beta_{1,i} \left(f(p) N\right)^{-\alpha_i} + L_{\infty,i},\;"
    r"f(p) = p + c_1 p^{c_2} (1 - p)^{c_3}",
    source=f"{FERNANDES}; unconfirmed form",
    affine=("beta_1", "L_inf"),
    decreasing=("N",),
)
def multilingual_share_loss(N, p, *, beta_1, alpha, L_inf, c1, c2, c3):
    """The loss on a language pair is that of a model of its effective share of the parameters.

    ``L = beta_1 * (f * N)**-alpha + L_inf`` with ``f = p + c1 * p**c2 * (1 - p)**c3``

    At a fixed weight this is ``multilingual_power`` with ``beta = beta_1 * f**-alpha``.

    Source: Fernandes 2023; unconfirmed form.
    """
    return beta_1 * (multilingual_share(p, c1=c1, c2=c2, c3=c3) * N) ** -alpha + L_inf


@law(
    inputs=dict(
        N_e=Input("parameters of the encoder", lower=PARAMETERS.lower),
        N_d=Input("parameters of the decoder", lower=PARAMETERS.lower),
    ),
    response=LOSS,
    a=amplitude(N_e="p_e", N_d="p_d", range=(1e-3, 1e9), meaning="size of the model term"),
    p_e=exponent(meaning="power of the encoder"),
    p_d=exponent(meaning="power of the decoder"),
    L_inf=floor(unit="nat/token", meaning="irreducible loss"),
    formula=r"L = a N_e^{-p_e} N_d^{-p_d} + L_\infty",
    source=GHORBANI,
    affine=("a", "L_inf"),
    decreasing=("N_e", "N_d"),
)
def nmt_bivariate(N_e, N_d, *, a, p_e, p_d, L_inf):
    """The loss of a translation model falls as a product of powers of its encoder and its decoder.

    ``L = a * N_e**-p_e * N_d**-p_d + L_inf``

    At a fixed total size the best split is ``N_e / N_d = p_e / p_d``. The paper divides both sizes by
    fixed reference sizes, which only rescales ``a``.

    Source: Ghorbani 2021.
    """
    return a * N_e**-p_e * N_d**-p_d + L_inf


@law(
    inputs=dict(L=Input("nat/token", typical=(0.5, 6.0))),
    response=Response("BLEU", positive),
    c=amplitude(L="p", range=(1e-2, 1e4), meaning="score at a loss of 1"),
    p=exponent(range=(0.05, 5.0), meaning="power of the loss"),
    formula=r"\mathrm{BLEU} = c L^{-p}",
    source=GHORBANI,
    affine=("c",),
    decreasing=("L",),
)
def nmt_bleu_power(L, *, c, p):
    """The BLEU score of a translation model is a power of its loss.

    ``BLEU = c * L**-p``

    Holds for test sets whose reference is the original text; where the source is the original text,
    scores stop gaining while the loss still falls.

    Source: Ghorbani 2021.
    """
    return c * L**-p
