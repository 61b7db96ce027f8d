#!/usr/bin/env bash
# Installs what `make demo` and `make test` need: a C compiler, and the Rust toolchain named in rust-toolchain.toml.
# Prints nothing if both are installed. Exits with 2 if one is missing that it cannot install.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:$HOME/.cargo/bin DEBIAN_FRONTEND=noninteractive

say() { printf 'deps: %s\n' "$*" >&2; }

fail() { say "$@"; exit 2; }

# Rust links with the C compiler, and one of the cryptographic libraries is written in C.
compiles_c() {
  printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' | cc -x c - -o /dev/null 2> /dev/null
}

ensure_c_compiler() {
  compiles_c && return
  if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    say "installing a C compiler: gcc, libc6-dev"
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends gcc libc6-dev; } >&2
  fi
  compiles_c || fail "a C compiler is missing. Install it: Debian and Ubuntu 'apt-get install gcc libc6-dev'; else your system's gcc or clang."
}

# Any of the three may be missing, because a toolchain can be installed without its components.
has_rust() {
  cargo --version && cargo fmt --version && cargo clippy --version
}

ensure_rust() {
  local wanted found
  wanted=$(sed -n 's/^channel *= *"\(.*\)"$/\1/p' rust-toolchain.toml)
  command -v cargo > /dev/null || fail "cargo is missing. Install Rust with rustup, then run this again."
  if command -v rustup > /dev/null; then
    has_rust > /dev/null 2>&1 && return
    say "installing Rust $wanted"
    rustup toolchain install "$wanted" --profile minimal --component clippy --component rustfmt --no-self-update >&2 ||
      fail "rustup failed to install Rust $wanted; see its error above."
    has_rust > /dev/null || fail "Rust $wanted does not run although rustup has installed it; see the error above."
    return
  fi
  has_rust > /dev/null || fail "clippy or rustfmt is missing for $(cargo --version). Install the packages of your system, or install Rust with rustup."
  found=$(rustc --version | cut -d ' ' -f 2)
  [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
    fail "Rust $found is too old; $wanted is needed. Install it with rustup."
}

ensure_c_compiler
ensure_rust
