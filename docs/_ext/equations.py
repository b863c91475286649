"""Equations in docstrings, plain text there, become mathematics on the site.

A block after ``::`` in a docstring is read line by line. What stands apart by three spaces or more
is a part of its own: an equation in the notation of this library, or words about it. A block in
which every line has an equation is set in LaTeX; every other block (code, tables) stays as it is.
"""

from __future__ import annotations

import re
from typing import Any

from numpydoc.docscrape import NumpyDocString

GREEK = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "eta",
    "theta",
    "lambda",
    "mu",
    "rho",
    "sigma",
    "tau",
    "phi",
]
OPERATORS = [
    "tanh",
    "exp",
    "log",
    "max",
    "min",
    "sqrt",
    "softmax",
    "sigmoid",
    "relu",
    "sum",
    "mean",
    "activation",
    "abs",
    "sign",
    "norm",
    "erf",
    "logsumexp",
    "dropout",
    "concat",
    "argmax",
    "score",
]
TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)"
    r"|(?P<name>[A-Za-z]\w*?'*(?:_(?:\{[^}]*\}|[A-Za-z0-9]+))*'*(?![A-Za-z0-9']))"
    r"|(?P<power>(?:\^|\*\*)(?:\([^)]*\)|-?\w+(?:\.\d+)?))"
    r"|(?P<relation>\+=|-=|\*=|<-|->|<=|>=|=|<|>|~)"
    r"|(?P<other>[-+*/().,|:;\[\]])|(?P<space>\s+)"
)
SYMBOLS = {"*": r"\odot ", "+=": r"\mathrel{+}=", "-=": r"\mathrel{-}=", "*=": r"\mathrel{*}=",
           "<-": r"\leftarrow ", "->": r"\rightarrow ", "<=": r"\le ", ">=": r"\ge ",
           "~": r"\sim "}  # fmt: skip


def latex_of_name(name: str) -> str:
    """Return a name as LaTeX: ``h'``, ``dWx``, ``h_{t-1}``, ``learning_rate``."""
    bare = name.replace("'", "")
    stem, _, index = bare.partition("_")
    index = index.strip("{}")
    long = len(stem) > 3 and stem not in GREEK and stem not in OPERATORS and stem[0] != "d"
    if index and long:
        return r"\mathit{" + bare.replace("_", r"\_") + "}" + "'" * name.count("'")
    derivative = len(stem) in (2, 3) and stem[0] == "d" and stem not in GREEK
    stem = stem[1:] if derivative else stem
    small = ""
    if re.fullmatch(r"beta\d|[A-Zb][a-z]", stem):
        stem, small = stem[:-1], stem[-1]
    if stem in GREEK:
        text = rf"\{stem}"
    elif stem in OPERATORS:
        text = rf"\operatorname{{{stem}}}"
    else:
        text = stem if len(stem) == 1 else rf"\mathit{{{stem}}}"
    words = len(index) > 2 and index.isalpha()
    index = rf"\mathrm{{{index}}}" if words else index
    below = ",".join(filter(None, (small, index)))
    text += (f"_{{{below}}}" if below else "") + "'" * name.count("'")
    return (r"\mathrm{d}" if derivative else "") + text


def latex(part: str) -> str | None:
    """Return one equation as LaTeX, aligned at its relation, or None where it is not one."""
    pieces: list[str] = []
    position, relation, previous = 0, False, ""
    while position < len(part):
        match = TOKEN.match(part, position)
        if match is None:
            return None
        position = match.end()
        kind, text = match.lastgroup, match.group()
        if kind == "space":
            pieces.append(r"\," if previous in ("name", "number", "power") else " ")
        elif kind == "name":
            if previous == "word" or text in ("is", "the", "of", "and", "or", "where", "as"):
                return None
            pieces.append(latex_of_name(text))
        elif kind == "power":
            exponent = text.lstrip("^*").strip("()")
            pieces.append(r"^{\top}" if exponent == "T" else f"^{{{exponent}}}")
        elif kind == "relation":
            symbol = SYMBOLS.get(text, text)
            pieces.append(symbol if relation else f"&{symbol}")
            relation = True
        else:
            pieces.append(SYMBOLS.get(text, text))
        previous = kind or ""
    return "".join(pieces) if relation else None


def in_words(part: str) -> str:
    """Return words as LaTeX text."""
    return r"\text{" + re.sub(r"([_^&#%$])", r"\\\1", part).replace("**", "^") + "}"


def latex_line(line: str) -> str | None:
    """Return one line of a block: its equations, and words about them in a column of their own."""
    parts = [part for part in re.split(r"\s{3,}(?![-+*]?=\s)", line.strip()) if part]
    converted = [latex(part) for part in parts]
    if not any(converted) or converted[0] is None:
        return None
    cells = [
        f"&&{in_words(part)}" if equation is None else equation.replace("&", "", k > 0)
        for k, (equation, part) in enumerate(zip(converted, parts, strict=True))
    ]
    return r" \qquad ".join(cells)


def convert(lines: list[str]) -> list[str]:
    """Return docstring lines in which the blocks of equations are mathematics."""
    out: list[str] = []
    k = 0
    while k < len(lines):
        line = lines[k]
        if not line.rstrip().endswith("::") or line.lstrip().startswith(".."):
            out.append(line)
            k += 1
            continue
        indent = len(line) - len(line.lstrip())
        end = k + 1
        while end < len(lines) and (
            not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent
        ):
            end += 1
        equations = [latex_line(text) for text in lines[k + 1 : end] if text.strip()]
        if not equations or None in equations:
            out += lines[k:end]
        else:
            lead = line.rstrip()[:-2].rstrip()
            body = [f"{equation} \\\\" for equation in equations]
            margin = " " * indent
            out += [f"{lead}:" if lead.strip() else "", "", f"{margin}.. math::", ""]
            out += [f"{margin}   {row}" for row in (r"\begin{aligned}", *body, r"\end{aligned}")]
            out.append("")
        k = end
    return out


def with_shapes(lines: list[str]) -> list[str]:
    """Return the lines with a section "Shapes", which numpydoc does not know, under the summary."""
    heads = [k for k in range(len(lines) - 1) if re.fullmatch("-{3,}", lines[k + 1].strip())]
    start = next((k for k in heads if lines[k].strip() == "Shapes"), None)
    if start is None:
        return lines
    end = min((k for k in heads if k > start), default=len(lines))
    margin = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
    section = ["", f"{margin}.. rubric:: Shapes", ""]
    for line in filter(str.strip, lines[start + 2 : end]):
        name, colon, shape = line.strip().partition(" : ")
        section.append(f"{margin}* **{name}**: {shape}" if colon else f"{margin}  {line.strip()}")
    section.append("")
    rest = lines[:start] + lines[end:]
    return [*rest[: heads[0]], *section, *rest[heads[0] :]]


def process(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Replace the lines that autodoc has read from a docstring."""
    lines[:] = convert(with_shapes(lines))


def setup(app: Any) -> dict[str, Any]:
    """Connect to autodoc, before numpydoc sees the lines."""
    NumpyDocString.sections.setdefault("Shapes", [])  # where only a signature is looked for
    app.connect("autodoc-process-docstring", process, priority=100)
    return {"parallel_read_safe": True}
