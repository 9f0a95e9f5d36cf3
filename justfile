# Needs https://just.systems; each recipe is one command that can be typed as well.

# What CI runs
check:
    .ci/run

# The tests alone
test *args:
    cargo test --workspace {{ args }}

# Format everything
fmt:
    cargo fmt --all

# The example server, such as `just chat --chaos hold`
chat *args:
    cargo run -p chat -- {{ args }}

# The dashboard's files, after a change in crates/monitor/assets/src
pack:
    cargo run -p plimsoll-monitor --example pack

# The README's pictures of the dashboard
screenshot:
    cargo run -p plimsoll-tests --example screenshot

# The README's picture of a server that leaks, without Plimsoll and with it; as root
plot *args:
    cargo run --release -p chat -- plot {{ args }}

# Cost of the guard per request
bench *args:
    cargo bench -p plimsoll-guard --bench admission {{ args }}

# The same beside a whole server, and on two threads
bench-server *args:
    cargo bench -p plimsoll-monitor --bench server {{ args }}
    cargo bench -p plimsoll-guard --bench threads

# Cost of counting allocations
bench-alloc *args:
    cargo bench -p plimsoll-alloc --bench attribution --all-features {{ args }}

# Cost of a sample, and how far memory outruns the sampler
bench-sources *args:
    cargo bench -p plimsoll-sources --bench sample
    cargo bench -p plimsoll-sources --bench overshoot -- {{ args }}

# The documentation of all crates
doc:
    cargo doc --workspace --no-deps --open
