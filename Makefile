# cfvgg. Two commands matter: `make demo` and `make test`. Both set up what they need in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
# The pinned set that fits this Python (docs/decisions.md).
PINS := .ci/pins/$(shell $(PYTHON) -c 'import sys; print("py311" if sys.version_info < (3, 12) else "py312")').txt
READY := $(VENV)/.ready
CORE := edge_runtime/core/CMakeLists.txt $(wildcard edge_runtime/core/src/*)
STUBS = $(BIN)/python -m nanobind.stubgen --quiet --exclude-docstrings -m edge_runtime.core._core_v1

# Reference data, which is not part of the project.
DATA ?= ../shared/data

.PHONY: demo test lint stubs pins-check wheels pi deb install-check arm64 sanitize system-x86
.PHONY: system-arm64 deploy-faults picamera2-check fleet-check fuzz vot-check parity ablation clean

demo: $(READY) ## bundle, tracks, annotated videos and contact sheets in demo/
	$(BIN)/python benchmarks/demo.py --out demo

test: $(READY) ## the whole test suite
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(READY) ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(STUBS) -o build/_core_v1.pyi && diff build/_core_v1.pyi edge_runtime/core/_core_v1.pyi # else: make stubs

stubs: $(READY) ## what mypy knows of the core
	$(STUBS) -o edge_runtime/core/_core_v1.pyi

pins-check: ## every pinned set in an environment of its own: pip check, edge tests, a model invoked
	bash .ci/pins-check

wheels: ## x86-64 and arm64, for Python 3.11 and for 3.12 and later, into build/wheels/
	bash .ci/wheels

pi: wheels ## for the one command that installs on a Pi: dist/*.tar, Bookworm and Trixie
	bash .ci/pi

deb: wheels ## Debian packages: dist/*.deb, Bookworm and Trixie
	bash .ci/deb

install-check: wheels ## both, installed, updated, rolled back, removed under a real systemd, and as arm64; needs root
	bash .ci/install-check bookworm trixie

arm64: wheels ## the arm64 wheels under emulation: core, networks, trackers on three processors, against this machine
	bash .ci/arm64 3.11 3.13

sanitize: $(READY) ## the core's tests under the address and undefined-behaviour sanitizers
	bash .ci/sanitize

system-x86: $(READY) ## the service under a real systemd (Debian in systemd-nspawn); needs root
	bash .ci/system-x86

system-arm64: $(READY) pi deb ## the product on an emulated arm64 machine: installed, deployed to over ssh, its power cut; needs root
	bash .ci/system-arm64 bookworm

picamera2-check: $(READY) wheels ## the service on the real Picamera2 and libcamera's virtual camera (Debian in chroot, x86-64 and arm64); needs root
	bash .ci/picamera2-check amd64 arm64

fleet-check: $(READY) wheels ## Ansible's playbooks against four devices in containers (real systemd, sshd); needs root
	bash .ci/fleet-check

deploy-faults: $(READY) ## every fault of a deployment, through a real sshd
	CFVGG_SLOW=1 $(BIN)/python -m pytest -v --durations=0 tests/deploy/test_faults.py

fuzz: $(READY) build/bundle ## ten minutes of hostile input for everything that reads from outside
	nice $(BIN)/python -m benchmarks.fuzz --minutes 10 --bundle build/bundle

build/bundle: $(READY)
	$(BIN)/cfvgg-export --int8 --out $@

vot-check: ## the official VOT and GOT-10k toolkits run our trackers, in environments of their own
	bash .ci/vot-check

parity: $(READY) ## fECO and fDeepSTRCF against the authors' own tracks, with the authors' weights
	$(BIN)/cfvgg-export --weights $(DATA)/weights/CF_VGGM.mat --out build/authors
	$(BIN)/python -m benchmarks.ope --root $(DATA)/sequences --splits dev --presets feco fdeepstrcf \
	  --bundle authors=build/authors --dtypes float32 --config always=benchmarks/always_learn.toml --out build/parity
	for pair in feco:fECO fdeepstrcf:fDeepSTRCF; do \
	  $(BIN)/python -m benchmarks.golden --golden $(DATA)/golden/$${pair#*:} --sequences $(DATA)/sequences/dev \
	    --boxes build/parity/boxes/$${pair%:*}_authors_float32_always/dev --out build/parity/$${pair%:*}; \
	done
	CFVGG_SLOW=1 CFVGG_DATA=$(DATA) $(BIN)/python -m pytest tests/tracker/test_parity.py

ablation: $(READY) ## the paper's ablation and compression tables, with our data (hours; it can be resumed)
	$(MAKE) -j 2 -f benchmarks/training/ablation.mk DATA=$(DATA) PYTHON=$(BIN)/python

clean: ## everything that these targets made
	rm -rf $(VENV) demo build dist *.egg-info

# The tools that build the core stay in the environment: in an isolated one, pip would compile all of it each time.
$(READY): pyproject.toml $(PINS) $(CORE)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	  || { echo "cfvgg needs Python 3.11 to 3.13; say which: make PYTHON=/path/to/python3.11"; exit 1; }
	@command -v $${CXX:-c++} > /dev/null && $(PYTHON) -c 'import pathlib, sys, sysconfig; \
	    sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' \
	  || { echo "cfvgg compiles a part of itself: apt install g++ python3-dev"; exit 1; }
	@[ -e $(VENV)/bin/python ] || $(PYTHON) -m venv $(VENV) \
	  || { echo "cannot make a virtual environment: apt install python3-venv"; exit 1; }
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], \
	    sep="\n")' > $(VENV)/build-tools.txt
	@for tool in cmake ninja; do command -v $$tool > /dev/null || echo $$tool; done >> $(VENV)/build-tools.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(VENV)/build-tools.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(PINS) --no-build-isolation \
	  -e '.[edge,export,demo,dev]'
	@touch $@
