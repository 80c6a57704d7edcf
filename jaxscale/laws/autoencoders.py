"""Sparse autoencoders of a model's activations."""

import jax.numpy as jnp

from jaxscale.law import Check, Input, Response, amplitude, coefficient, exponent, floor, law, positive

FAMILY = "architecture"
LATENTS = Input("latents", typical=(512.0, 1e8))


@law(
    inputs=dict(n=LATENTS, k=Input("active latents", typical=(4.0, 512.0))),
    response=Response("error", positive),
    alpha=coefficient(meaning="log error of the term that latents remove, at one latent"),
    b_k=coefficient(range=(-2.0, 2.0), meaning="power of the active latents"),
    b_n=coefficient(range=(-1.0, 1.0), meaning="power of the latents"),
    gamma=coefficient(range=(-0.3, 0.3), meaning="interaction of both"),
    zeta=coefficient(meaning="log error with very many latents, one of them active"),
    eta=coefficient(range=(-2.0, 2.0), meaning="power of the active latents in that error"),
    formula=r"L = e^{\alpha + \beta_k \ln k + \beta_n \ln n + \gamma \ln k \ln n} + e^{\zeta + \eta \ln k}",
    source="Scaling and Evaluating Sparse Autoencoders, Gao 2024; unconfirmed form",
    checks=(
        Check(
            0.4745,
            at=dict(n=32768.0, k=32.0),
            params=dict(alpha=-0.50, b_k=0.26, b_n=-0.017, gamma=-0.042, zeta=-1.32, eta=-0.085),
        ),
    ),
)
def sae_joint(n, k, *, alpha, b_k, b_n, gamma, zeta, eta):
    """The error of a sparse autoencoder against its latents and how many of them are active.

    ``L = exp(alpha + b_k * log(k) + b_n * log(n) + gamma * log(k) * log(n)) + exp(zeta + eta * log(k))``

    The error is squared and normalised. With very many latents the second term remains, a power of the
    active ones.

    Source: Gao 2024; unconfirmed form.
    """
    log_n, log_k = jnp.log(n), jnp.log(k)
    return jnp.exp(alpha + b_k * log_k + b_n * log_n + gamma * log_k * log_n) + jnp.exp(zeta + eta * log_k)


@law(
    inputs=dict(n=LATENTS),
    response=Response("error", positive),
    err_nl=floor(meaning="error that no linear dictionary removes"),
    A=amplitude(n="alpha", range=(1e-4, 1e6), meaning="size of the term that width removes"),
    alpha=exponent(meaning="power of the width"),
    formula=r"\mathrm{err} = \mathrm{err}_{nl} + A n^{-\alpha}",
    source="Decomposing The Dark Matter of Sparse Autoencoders, Engels 2024; unconfirmed form",
    affine=("err_nl", "A"),
    decreasing=("n",),
)
def sae_floor(n, *, err_nl, A, alpha):
    """The error of a sparse autoencoder falls with the width of its dictionary, towards a floor.

    ``err = err_nl + A * n**-alpha``

    The floor is error that is not linear in the activations. Token by token, the error of a large
    dictionary is reported to be a line in that of a small one.

    Source: Engels 2024; unconfirmed form.
    """
    return err_nl + A * n**-alpha
