# Sourced by the scripts in this directory: where things are, and how a script gets its program.
# shellcheck shell=bash
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$ROOT/target}"
# nft, runc and ip live in sbin, which a user's PATH may lack; rustup's cargo in the home directory.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:${CARGO_HOME:-$HOME/.cargo}/bin"
if ! command -v kubectl >/dev/null && [ -x /usr/lib/google-cloud-sdk/bin/kubectl ]; then
    export PATH="$PATH:/usr/lib/google-cloud-sdk/bin"
fi
cd "$ROOT"

# Prints a step's title, runs it, and prints its time. What the step prints stands in between.
timed() {
    local title="$1" started=$SECONDS
    shift
    printf '== %s\n' "$title"
    if ! "$@"; then
        printf '== FAILED: %s (after %d s): %s\n' "$title" "$((SECONDS - started))" "$*" >&2
        return 1
    fi
    printf '== done: %s (%d s)\n' "$title" "$((SECONDS - started))"
}

# Builds everything that a lab runs, unless CORTEN_BIN_DIR says that it is built. Cargo shows its own bar.
build() {
    if [ -z "${CORTEN_BIN_DIR:-}" ]; then
        timed "release programs are built (the first time takes 5 to 10 minutes)" \
            cargo build --release --workspace --bins --locked
        export CORTEN_BIN_DIR="$CARGO_TARGET_DIR/release"
    fi
}

# Runs the program behind these scripts; it must be built already.
corten_hack() {
    local program="${CORTEN_BIN_DIR:-$CARGO_TARGET_DIR/release}/corten-hack"
    if [ ! -x "$program" ]; then
        echo "$program is not built yet: run hack/up, or cargo build --release --workspace --bins" >&2
        return 1
    fi
    "$program" "$@"
}
