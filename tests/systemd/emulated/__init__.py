"""The product on an emulated arm64 machine, from the outside: what `make system-arm64` checks."""
