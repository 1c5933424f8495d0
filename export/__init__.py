"""The workstation part of cfvgg: teachers, distillation, conversion and bundles (needs torch)."""
