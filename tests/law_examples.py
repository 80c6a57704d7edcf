"""Laws that tests of the algebra of laws share."""

from typing import Any

from jaxscale import laws
from jaxscale.law import Input, Law, Response, coefficient, exponent, floor, law, real, unit

chinchilla = laws.get("chinchilla")


power_law, power_law_floor = laws.get("power_law"), laws.get("power_law_floor")


accuracy, capacity = laws.get("accuracy_sigmoid_loss"), laws.get("precision_capacity")


repetition = laws.get("repetition_tokens")


def declare_law(name: str, inputs: Any, response: Response, function: Any, **kinds: Any) -> Law:
    return law(name=name, inputs=inputs, response=response, source="a textbook", **kinds)(function)


bits = declare_law("bits", dict(N=Input("parameters")), Response("bit/token"), lambda N, *, c: c / N, c=exponent())


shares = declare_law("shares", dict(x=Input("")), Response("", unit), lambda x, *, s: s / (1 + x), s=exponent())


signed = declare_law(
    "signed", dict(x=Input("")), Response("", real), lambda x, *, a, q: a * x + q, a=coefficient(), q=floor()
)


ratio = declare_law("ratio", dict(x=Input("")), Response("x"), lambda x, *, N: N / x, N=exponent())
