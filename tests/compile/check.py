#!/usr/bin/env python3
"""Rules about the text of the source tree. Each is one CTest test: check.py RULE --root DIR [--layers FILE] [--headers FILE].

Exit 0: the rule holds; 1: it does not, one line per violation on standard error; 2: wrong use.
LAYERS is what CMake wrote from the DEPENDS of lamina_add_module, one "module: dependency ..." a line.
"""
import argparse
import pathlib
import re
import sys

CODE = {".cpp", ".hpp", ".h", ".cu", ".in"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
DESCRIBING = ["base", "tensor", "config", "graph", "models", "program", "plan"]
DOING = ["device", "kernels", "comm", "io", "runtime", "checkpoint", "data", "train"]
# What no chain of DEPENDS may reach, whatever the CMake files say: the two halves meet in `program` alone.
NEVER = {**{m: DOING for m in DESCRIBING}, "runtime": ["graph", "plan", "models"], "kernels": ["graph", "program"],
         "checkpoint": ["graph", "plan", "models"], "data": ["graph", "plan", "program", "models"]}
VENDORS = {  # header prefixes of a library, and the folder under src/vendor that may see them
    "mpi": ["mpi.h"], "hdf5": ["hdf5.h", "hdf5_hl.h", "H5"], "onednn": ["dnnl", "oneapi/dnnl"],
    "cuda": ["cuda"], "cublaslt": ["cublas"], "nccl": ["nccl"]}
LONGEST = 500
LONG_ALLOWED = set()  # paths of tests that may be longer, each with a reason


class Tree:
    """The files of a source tree with what they include."""

    def __init__(self, root):
        self.root = pathlib.Path(root).resolve()

    def files(self, *folders, suffixes=CODE):
        for folder in folders:
            for path in sorted((self.root / folder).rglob("*")):
                if path.is_file() and (path.suffix in suffixes or path.name in suffixes):
                    yield path

    def name(self, path):
        return path.relative_to(self.root).as_posix()

    def includes(self, path):
        """(line, angled, spelling) of every include."""
        text = path.read_text(encoding="utf-8")
        for match in INCLUDE.finditer(text):
            yield text.count("\n", 0, match.start(2)) + 1, match[1] == "<", match[2]

    def resolve(self, path, spelling):
        """The file of this tree that an include means, or None."""
        for folder in (path.parent, self.root / "include", self.root / "src", self.root / "apps", self.root / "tests"):
            found = folder / spelling
            if found.is_file():
                return found.resolve()
        return None


def module_of(name):
    """The module that a path belongs to: src/plan/x.cpp -> plan, src/vendor/mpi/mpi.hpp -> vendor_mpi."""
    parts = name.split("/")
    if parts[0] == "src" and parts[1] == "vendor" and len(parts) > 3:
        return "vendor_" + parts[2]
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    if parts[:2] == ["include", "lamina"]:
        return parts[2] if len(parts) > 3 else "apps"
    return parts[0]


def read_layers(file):
    layers = {}
    for line in pathlib.Path(file).read_text().splitlines():
        if line.strip():
            module, _, rest = line.partition(":")
            layers[module.strip()] = [d for d in rest.split() if not d.startswith("$")]
    return layers


def reachable(layers, module):
    seen, left = set(), [module]
    while left:
        for d in layers.get(left.pop(), []):
            if d not in seen:
                seen.add(d)
                left.append(d)
    return seen


def layering(tree, options):
    layers = read_layers(options.layers)
    for module in layers:
        reach = reachable(layers, module)
        if module in reach:
            yield f"module {module} depends on itself: see its DEPENDS"
        for other in NEVER.get(module, []):
            if other in reach:
                yield f"module {module} reaches {other} by its DEPENDS: the halves meet in `program` only"
        if module in DESCRIBING and any(d.startswith("vendor_") for d in reach):
            yield f"module {module} reaches a vendor library by its DEPENDS"
    for path in tree.files("src", "include"):
        module = module_of(tree.name(path))
        if module in ("apps", "cmake"):
            continue  # apps may see everything
        if module not in layers:
            yield f"{tree.name(path)}: no lamina_add_module({module} ...) is known"
            continue
        allowed = reachable(layers, module) | {module}
        for line, angled, spelling in tree.includes(path):
            target = tree.resolve(path, spelling)
            if target is None and not spelling.startswith("lamina/"):
                continue
            name = tree.name(target) if target else "include/" + spelling
            other = module_of(name)
            if other not in allowed:
                yield f"{tree.name(path)}:{line}: includes {spelling}: {module} may include {', '.join(sorted(allowed))}"
            elif other != module and "/detail/" in name:
                yield f"{tree.name(path)}:{line}: includes {spelling}, which is private to {other}"


def public_headers(tree, options):
    for path in tree.files("include"):
        for line, angled, spelling in tree.includes(path):
            if angled and ("." in spelling or "/" in spelling):
                yield f"{tree.name(path)}:{line}: a public header shows std types only, not <{spelling}>"
            if not angled and not spelling.startswith("lamina/"):
                yield f"{tree.name(path)}:{line}: a public header includes \"lamina/...\" only, not \"{spelling}\""


def headers_alone(tree, options):
    """Every public header has a translation unit of its own that was compiled (tests/compile/CMakeLists.txt)."""
    compiled = set(pathlib.Path(options.headers).read_text().split())
    for path in tree.files("include", suffixes={".hpp"}):
        header = path.relative_to(tree.root / "include").as_posix()
        if header not in compiled:
            yield f"{tree.name(path)}: not compiled alone; configure again"


def vendor_headers(tree, options):
    for path in tree.files("src", "include", "apps", "tests"):
        for line, angled, spelling in tree.includes(path):
            for lib, prefixes in VENDORS.items():
                if angled and any(spelling.startswith(p) for p in prefixes):
                    if tree.name(path) != f"src/vendor/{lib}/{lib}.cpp":
                        yield f"{tree.name(path)}:{line}: <{spelling}> belongs into src/vendor/{lib}/{lib}.cpp"


def kokkos(tree, options):
    for path in tree.files("src", "include", "apps", "tests"):
        name = tree.name(path)
        for line, angled, spelling in tree.includes(path):
            if angled and spelling.startswith("Kokkos") and name != "src/kernels/detail/kokkos.hpp":
                yield f"{name}:{line}: <{spelling}> belongs into src/kernels/detail/kokkos.hpp"
            if spelling.endswith("detail/kokkos.hpp") and module_of(name) != "kernels":
                yield f"{name}:{line}: Kokkos is seen under src/kernels only"
        if name != "src/kernels/detail/kokkos.hpp":
            for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if re.search(r"\bKOKKOS_(ENABLE|VERSION|ARCH)\w*", text):
                    yield f"{name}:{line}: back-end and version macros belong into src/kernels/detail/kokkos.hpp"


def size(tree, options):
    suffixes = CODE | {".py", ".sh", ".cmake", "CMakeLists.txt", "run", "setup", "quickstart"}
    for path in tree.files("src", "include", "apps", "tests", "perf", "slurm", suffixes=suffixes):
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > LONGEST and tree.name(path) not in LONG_ALLOWED:
            yield f"{tree.name(path)}: {lines} lines, at most {LONGEST}: split it by what it is for"


def cycles(tree, options):
    edges = {}
    for path in tree.files("src", "include"):
        here = tree.name(path.parent)
        for line, angled, spelling in tree.includes(path):
            target = tree.resolve(path, spelling)
            if target is not None and tree.name(target.parent) != here:
                edges.setdefault((here, tree.name(target.parent)), f"{tree.name(path)}:{line}: includes {spelling}")
    for (a, b), place in sorted(edges.items()):
        if a < b and (b, a) in edges:
            yield f"{a} and {b} include each other\n    {place}\n    {edges[b, a]}"


def first_argument(text, start):
    """What stands between an opening parenthesis and its first comma at the same depth."""
    depth, at, quoted = 0, start, False
    while at < len(text):
        c = text[at]
        if quoted:
            at += c == "\\"
            quoted = c != '"'
        elif c == '"':
            quoted = True
        elif c in "([{":
            depth += 1
        elif c in ")]}" or (c == "," and depth == 0):
            if depth == 0:
                break
            depth -= 1
        at += 1
    return text[start:at].strip()


def labels(tree, options):
    sources = {p: p.read_text(encoding="utf-8") for p in tree.files("src/kernels")}
    launches = {"parallel_for", "parallel_reduce", "parallel_scan", "kokkos_malloc"}
    for text in sources.values():  # our own functions that hand a label on
        launches |= set(re.findall(r"\b(\w+)\(\s*(?:std::string|char) const\s*[&*]\s*label\b", text))
    call = re.compile(r"\b(" + "|".join(sorted(launches)) + r")(?:<[^<>()]*>)?\(")
    for path, text in sources.items():
        def place(at):
            return f"{tree.name(path)}:{text.count(chr(10), 0, at) + 1}"
        for match in re.finditer(r'\b(\w*label)\b(?:\[\])?\s*[=({]\s*"([^"]*)"', text):
            if not re.fullmatch(r"lamina::[a-z_0-9]+(::[a-z_0-9]+)+", match[2]):
                yield f'{place(match.start())}: label "{match[2]}" is not lamina::<module>::<thing>'
        for match in call.finditer(text):
            first = first_argument(text, match.end())
            literal = re.match(r'"([^"]*)"', first)
            declared = re.match(r"(std::string|char) const\s*[&*]\s*label", first)
            if literal and not literal[1].startswith("lamina::"):
                yield f'{place(match.start())}: label "{literal[1]}" does not begin with "lamina::"'
            elif not literal and not declared and not re.fullmatch(r"[\w.]*label_?|[\w:]*label\(.*\)", first, re.S):
                yield f"{place(match.start())}: {match[1]}({first.split(chr(10))[0][:40]}...) has no label"


RULES = {f.__name__: f for f in (layering, public_headers, headers_alone, vendor_headers, kokkos, size, cycles, labels)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rule", choices=RULES)
    parser.add_argument("--root", required=True)
    parser.add_argument("--layers")
    parser.add_argument("--headers")
    options = parser.parse_args()
    violations = list(RULES[options.rule](Tree(options.root), options))
    for violation in violations:
        print(violation, file=sys.stderr)
    if violations:
        print(f"{options.rule}: {len(violations)} violations", file=sys.stderr)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
