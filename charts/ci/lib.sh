# Functions for the check.sh of each chart, which sources this file. Needs no cluster.
#
# $1 is the path of Helm 3. The check.sh sets $chart (its folder), $release and $namespace before it sources this file.
helm=${1:?usage: check.sh HELM}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# No kubeconfig, plugin or cache of the user may change the result.
export KUBECONFIG=/dev/null HELM_CACHE_HOME=$work/cache HELM_CONFIG_HOME=$work/config HELM_DATA_HOME=$work/data

fail() { printf '%s: %s\n' "${chart##*/}" "$*" >&2; exit 1; }

render() { "$helm" template "$release" "$chart" --namespace "$namespace" "$@"; }

# objects FILE prints "Kind namespace/name" of every object, sorted; a cluster-wide object has no namespace.
objects() {
  awk '
    function flush() { if (kind) print kind " " namespace "/" name; kind = name = namespace = ""; metadata = 0 }
    /^---/ { flush() }
    /^kind: / { kind = $2 }
    /^[a-z]/ { metadata = ($1 == "metadata:") }
    metadata && /^  name: / { name = $2; gsub(/"/, "", name) }
    metadata && /^  namespace: / { namespace = $2 }
    END { flush() }' "$1" | sort
}

# has FILE LINE checks that the file has the line, with any indentation. (grep -q would end the pipe too early for sed.)
has() { sed 's/^ *//' "$work/$1" | grep -xF -e "$2" > /dev/null || fail "$1: no line: $2"; }

has_no() { ! grep -qF -e "$2" "$work/$1" || fail "$1: has: $2"; }

# refuses WHAT ARGUMENT... checks that rendering fails and that the message names WHAT.
refuses() {
  local what=$1; shift
  ! render "$@" > /dev/null 2> "$work/error" || fail "accepted: $*"
  grep -qF -e "$what" "$work/error" || fail "refused without naming $what: $(cat "$work/error")"
}

lint() { "$helm" lint --strict --quiet "$chart" "$@" || fail "helm lint $*"; }

# consists_of FILE checks that its objects are those on standard input, in any order, and that no value is missing.
consists_of() {
  sort | diff - <(objects "$work/$1") || fail "$1: not the objects that are expected (<)"
  has_no "$1" "<no value>"
}

# brings_its_crds checks that each file of crds/ is installed.
brings_its_crds() {
  local crd name
  render --include-crds > "$work/crds"
  objects "$work/crds" > "$work/definitions"
  for crd in "$chart"/crds/*.yaml; do
    [ -e "$crd" ] || fail "crds/ is empty: make crds"
    name=$(basename "$crd" .yaml)   # <group>_<plural>
    grep -qxF "CustomResourceDefinition /${name#*_}.${name%%_*}" "$work/definitions" || fail "no definition from crds/$name.yaml"
  done
}

# notes prints the rendered notes. Helm shows them only after an installation, so a copy of the chart has them as a
# template.
notes() {
  if [ ! -e "$work/chart" ]; then
    cp -r "$chart" "$work/chart"
    { printf 'notes: |\n  # '; sed 's/^/  /' "$chart/templates/NOTES.txt"; } > "$work/chart/templates/notes.yaml"
  fi
  "$helm" template "$release" "$work/chart" --namespace "$namespace" --show-only templates/notes.yaml "$@"
}
