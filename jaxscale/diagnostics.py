import numpy as np
def largest_rhat(x):
    b,c,n,d=x.shape
    w=x.var(axis=2,ddof=1).mean(1); m=x.mean(2).var(axis=1,ddof=1)
    return np.sqrt((w*(n-1)/n+m)/w).max(-1)
def convergence(x): return {}
def judged(d): return (),True
