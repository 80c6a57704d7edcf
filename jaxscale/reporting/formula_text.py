"""Conversion of formulas from Python code to mathematical notation in Unicode.

>>> readable("L = E + A / N**alpha + (B * D1)**2 <= sum_i c_i")
'L = E + A / N^α + (B · D₁)² ≤ Σᵢ cᵢ'
"""

import re

_GREEK = dict(
    alpha="α", beta="β", gamma="γ", delta="δ", eps="ε", epsilon="ε", zeta="ζ", eta="η", theta="θ", kappa="κ", lam="λ",
    mu="μ", nu="ν", xi="ξ", pi="π", rho="ρ", sigma="σ", tau="τ", phi="φ", chi="χ", psi="ψ", omega="ω",
    Gamma="Γ", Delta="Δ", Lam="Λ", Phi="Φ", Psi="Ψ", Omega="Ω", Sigma="Σ", sum="Σ", prod="Π", inf="∞",
    sqrt="√", grad="∇",
)  # fmt: skip
_GREEK["lambda"] = "λ"
_SIGNS = {" * ": " · ", "->": "→", "<=": "≤", ">=": "≥", "...": "…", "**": "^"}
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_LOWERED = str.maketrans("0123456789ijk", "₀₁₂₃₄₅₆₇₈₉ᵢⱼₖ")


def readable(code: str) -> str:
    """A formula with Greek letters, indices and powers.

    Args:
        code: the formula as Python code.
    """
    text = re.sub(r"\*\*(-?\d+)(?![\d.\w])", lambda match: match[1].translate(_RAISED), code)
    text = re.sub(r"[A-Za-z]+(?:_[A-Za-z0-9]+)*\d*(?:_[A-Za-z0-9]+)*", _format_name, text)
    for sign, written in _SIGNS.items():
        text = text.replace(sign, written)
    return text


def _format_name(match: re.Match[str]) -> str:
    """One name, with Greek letters and with subscripts for numbers and the indices i, j, k."""
    first, *others = match[0].split("_")
    letters = first.rstrip("0123456789")
    text = _GREEK.get(letters, letters) + first[len(letters) :].translate(_LOWERED)
    for part in others:
        small = part.isdigit() or part in ("i", "j", "k")
        text += part.translate(_LOWERED) if small else f"_{_GREEK.get(part, part)}"
    return text
