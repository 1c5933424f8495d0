"""`python -m export` is `cfvgg-export`: torchrun starts modules."""

from export.cli import main

main()
