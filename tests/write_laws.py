"""Write LAWS.md and the table of families in README.md from the registry of laws.

python tests/write_laws.py
"""

import re
from pathlib import Path

from jaxscale import laws
from jaxscale.reporting import law_page

CHECKOUT = Path(__file__).resolve().parents[1]
START, END = "<!-- laws: python tests/write_laws.py -->\n", "\n<!-- end of laws -->"


def documents() -> dict[Path, str]:
    """Contents of the documents, by path."""
    catalogue = laws.catalogue().values()
    head = f"""# Catalogue of laws

{len(catalogue)} laws, written by `python tests/write_laws.py`. `jaxscale laws LAW` shows the page of one: formula,
parameters, published constants, shape and BibTeX; `jaxscale laws --input N --input D --family moe` finds laws.

"""
    readme = (CHECKOUT / "README.md").read_text()
    table = re.compile(re.escape(START) + ".*?" + re.escape(END), flags=re.DOTALL)
    if not table.search(readme):
        raise ValueError(f"README.md holds no table between {START.strip()} and {END.strip()}; put the two lines back.")
    short = f"{START}\n{law_page.families(catalogue)}\n{END}"
    return {
        CHECKOUT / "LAWS.md": head + law_page.markdown(catalogue) + "\n",
        CHECKOUT / "README.md": table.sub(lambda _: short, readme),
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text)
