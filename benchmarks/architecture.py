"""Import levels, upward imports and cycles of the package, lengths of its functions, and its annotations.

python -m benchmarks.architecture
"""

import ast
import statistics
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def modules() -> dict[str, Path]:
    """Every module of the package by name."""
    found = {}
    for path in sorted((ROOT / "jaxscale").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that a module imports, at top level or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module in known:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in known else str(node.module) for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
    return found


def package(module: str) -> str:
    """The package of a module, such as "engine"."""
    return module.split(".")[1] if "." in module else ""


def cycles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one node, by reachability."""
    reach = {node: _reached(node, arrows) for node in arrows}
    found = {frozenset(b for b in reach[a] if a in reach[b]) | {a} for a in arrows}
    return sorted(sorted(group) for group in found if len(group) > 1)


def _reached(start: str, arrows: dict[str, set[str]]) -> set[str]:
    seen, left = set(), [start]
    while left:
        for node in arrows[left.pop()] - seen:
            seen.add(node)
            left.append(node)
    return seen


def levels(arrows: dict[str, set[str]]) -> int:
    """Length of the longest chain of imports, with each cycle counted as one."""
    depth: dict[str, int] = {}

    def below(node: str, path: tuple[str, ...] = ()) -> int:
        if node not in depth:
            under = [below(other, (*path, node)) for other in arrows[node] if other not in (*path, node)]
            depth[node] = 1 + max(under, default=0)
        return depth[node]

    return max(map(below, arrows))


def layers() -> dict[str, int]:
    """Height of each package in the contract of pyproject.toml."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    found = {}
    for height, line in enumerate(reversed(contract["layers"])):
        for name in line.split("|"):
            found[name.strip(" ()").removeprefix("jaxscale.")] = height
    return found


def lengths() -> list[tuple[int, str]]:
    """Lines of every function of the package, without docstrings."""
    found = []
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                found.append((lines, f"{name}.{node.name}"))
    return sorted(found)


def arguments_of_any_type() -> tuple[list[str], int]:
    """Arguments without an annotation, or with ``Any`` or ``object``, and the number of all arguments; laws aside."""
    offenders, count = [], 0
    for name, path in modules().items():
        for function, argument in _arguments(ast.parse(path.read_bytes())):
            count += 1
            annotation = None if argument.annotation is None else ast.unparse(argument.annotation)
            if annotation in (None, "Any", "object"):
                offenders.append(f"{name}.{function}({argument.arg})")
    return offenders, count


def _arguments(node: ast.AST) -> Iterator[tuple[str, ast.arg]]:
    """All arguments of functions but those of laws, which are written as in the papers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if any(_declares_law(decorator) for decorator in child.decorator_list):
                continue
            arguments = child.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
            yield from ((child.name, one) for one in every if one is not None and one.arg not in ("self", "cls"))
            if isinstance(child.returns, ast.Name) and child.returns.id == "Law":
                # Functions inside of it compute a law.
                continue
        yield from _arguments(child)


def _declares_law(decorator: ast.expr) -> bool:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(function, ast.Name) and function.id == "law"


def files_with_shapes() -> list[str]:
    """Modules that import array types of jaxtyping."""
    return [name for name, path in modules().items() if "from jaxtyping import" in path.read_text()]


def main() -> None:
    """Print the table."""
    known = modules()
    arrows = {name: imports(path, known) - {name} for name, path in known.items()}
    packages: dict[str, set[str]] = {}
    for name, targets in arrows.items():
        packages.setdefault(package(name), set()).update(package(target) for target in targets)
    inner = {name: targets - {name, ""} for name, targets in packages.items() if name in layers()}
    inner = {name: {target for target in targets if target in inner} for name, targets in inner.items()}
    height = layers()
    upward = sorted(
        (name, target)
        for name, targets in arrows.items()
        for target in targets
        if package(name) in height and package(target) in height and height[package(target)] > height[package(name)]
    )
    counted = lengths()
    print(
        f"modules                  {len(known)}, {sum(name.startswith('jaxscale.laws') for name in known)} of them laws"
    )
    print(f"levels of packages       {len(set(height.values()))}")
    print(f"levels of modules        {levels(arrows)}")
    print(f"upward imports           {len(upward)}: {', '.join(f'{a} -> {b}' for a, b in upward)}")
    print(f"cycles of modules        {cycles(arrows)}")
    print(f"cycles of packages       {cycles(inner)}")
    print(f"median function          {statistics.median(lines for lines, _ in counted):g} lines without docstring")
    print(f"longest functions        {', '.join(f'{name} {lines}' for lines, name in counted[:-6:-1])}")
    print(f"functions over 60 lines  {sum(lines > 60 for lines, _ in counted)}")
    offenders, count = arguments_of_any_type()
    print(f"arguments of any type    {len(offenders)} of {count} ({100 * len(offenders) / count:.1f} %), laws aside")
    print(f"files with array shapes  {len(files_with_shapes())} of {len(known)}")
    largest = sorted(((len(path.read_text().splitlines()), name) for name, path in known.items()), reverse=True)
    print(f"largest files            {', '.join(f'{name} {lines}' for lines, name in largest[:5])}")


if __name__ == "__main__":
    main()
