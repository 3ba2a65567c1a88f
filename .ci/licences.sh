#!/bin/sh
# Audits the dependencies against deny.toml without a network: the licence of every package, its source, and
# the banned ones; and that docs/design/dependencies.md says of each why it is there. Needs Python 3.11.
# Where cargo-deny is installed it runs too, and brings the advisories.
set -eu
cd "$(dirname "$0")/.."

# Packages for other platforms may never have been downloaded; then those of this one are what can be read, and
# an exception for a package that is locked but not here is not called superfluous.
host=$(rustc -vV | sed -n 's/^host: //p')
metadata=$(mktemp)
trap 'rm -f "$metadata"' EXIT
cargo metadata --format-version 1 --locked --offline >"$metadata" 2>/dev/null ||
    cargo metadata --format-version 1 --locked --offline --filter-platform "$host" >"$metadata"

python3 - "$metadata" <<'PYTHON'
import json, re, sys, tomllib


def load(path):
    with open(path, "rb") as file:
        return tomllib.load(file)


deny, lock, manifest = load("deny.toml"), load("Cargo.lock"), load("Cargo.toml")
with open(sys.argv[1]) as file:
    packages = [p for p in json.load(file)["packages"] if p["source"]]
allowed = set(deny["licenses"]["allow"])
exceptions = {e["crate"]: set(e["allow"]) for e in deny["licenses"]["exceptions"]}
problems = []


def satisfied(expression, allowed):
    """Whether an SPDX expression holds when the licences in `allowed` do. `/` is the old spelling of OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either():
        value = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            value = both() or value
        return value

    def both():
        value = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            value = one() and value
        return value

    def one():
        name = tokens.pop(0)
        if name == "(":
            value = either()
            tokens.pop(0)
            return value
        if tokens and tokens[0] == "WITH":
            name = " ".join([name, tokens.pop(0), tokens.pop(0)])
        return name in allowed

    return either()


def licence(package, allowed):
    expression = package["license"]
    return bool(expression) and satisfied(expression, allowed | exceptions.get(package["name"], set()))


for p in packages:
    if not licence(p, allowed):
        problems.append(f"{p['name']} {p['version']}: licence {p['license'] or 'not stated'} is not allowed by deny.toml")
for name in sorted(allowed):
    if not any(licence(p, allowed) and not licence(p, allowed - {name}) for p in packages):
        problems.append(f"deny.toml: nothing needs {name}; remove it")
unread = {p["name"] for p in lock["package"]} - {p["name"] for p in packages}
for name in sorted(exceptions.keys() - unread - {p["name"] for p in packages if not satisfied(p["license"] or "", allowed)}):
    problems.append(f"deny.toml: {name} needs no exception; remove it")

# One registry for all, the one that the lock file names first; never a git repository or another place.
sources = [p["source"] for p in lock["package"] if p.get("source", "").startswith("registry+")]
registries = set(sources[:1])
banned = {ban["crate"] for ban in deny["bans"]["deny"]}
for p in lock["package"]:
    if p["name"] == manifest["package"]["name"]:
        continue
    if p.get("source") not in registries:
        problems.append(f"{p['name']} {p['version']}: source {p.get('source', 'path')} is not the registry of the others")
    if p["name"] in banned:
        problems.append(f"{p['name']} {p['version']}: banned by deny.toml")

wanted = set(manifest["dependencies"]) | set(manifest["dev-dependencies"])
with open("docs/design/dependencies.md") as file:
    told = set(re.findall(r"^\| `([^`]+)` \|", file.read(), re.MULTILINE))
problems += [f"docs/design/dependencies.md: say why {name} is there" for name in sorted(wanted - told)]
problems += [f"docs/design/dependencies.md: {name} is no dependency any more" for name in sorted(told - wanted)]

for problem in problems:
    print(problem, file=sys.stderr)
print(f"dependencies: {len(packages)} licences and {len(lock['package']) - 1} sources checked, {len(problems)} problems")
sys.exit(bool(problems))
PYTHON

if cargo deny --version >/dev/null 2>&1; then
    cargo deny --locked check bans licenses sources
    if cargo deny --locked fetch db >/dev/null 2>&1; then
        cargo deny --locked check advisories
    else
        echo "advisories: not checked, their database is out of reach"
    fi
else
    echo "advisories: not checked, cargo-deny is not installed"
fi
