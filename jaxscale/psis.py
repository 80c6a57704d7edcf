import jax, jax.numpy as jnp
from jax.scipy.special import logsumexp
def smoothed(r):
    r=jnp.where(jnp.isnan(r),-jnp.inf,r); return r-logsumexp(r), jnp.asarray(0.3)
def effective(lw): return jnp.exp(-logsumexp(2*lw))
def systematic(key, lw, count):
    u=(jnp.arange(count)+jax.random.uniform(key))/count
    return jnp.searchsorted(jnp.cumsum(jnp.exp(lw)),u).clip(0,len(lw)-1)
