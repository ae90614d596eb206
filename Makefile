# Everything a fresh machine needs is set up by the first target that is asked for.
PYTHON ?= python3
OLDEST_PYTHON ?= python3.11
PROFILE ?= demo
VENV := .venv
OLDEST := .venv-oldest
PEER := .peer
RUN := $(VENV)/bin/python

MINUTES ?= 8
CARRY ?= build/carry
OUT ?= runs
WORKERS ?= 2

# What `make kernel` was given; the profile only where it was, since the kernel's own is another.
KERNEL = $(if $(OWNER),--owner $(OWNER)) $(if $(RESUME),--resume) \
	$(if $(DATASETS),--datasets $(DATASETS)) \
	$(if $(filter-out file,$(origin PROFILE)),-p profile $(PROFILE)) \
	$(if $(CATEGORY),-p category $(CATEGORY)) $(if $(SEEDS),-p seeds $(SEEDS)) \
	$(if $(MODIFICATIONS),-p modifications $(MODIFICATIONS)) $(if $(HOURS),-p time_budget_h $(HOURS))

.PHONY: study test test-oldest report kernel bench gpu carry peer notebooks clean

study: $(VENV)/.ready
	$(RUN) -m ssn_lib study --profile $(PROFILE)

test: $(VENV)/.ready-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(RUN) -m pytest -n $(WORKERS) --dist worksteal

# The tests on the lower bounds of requirements.txt and pyproject.toml, in an environment of its own.
test-oldest: $(OLDEST)/.ready
	$(OLDEST)/bin/python -m pytest

report: $(VENV)/.ready
	$(RUN) -m ssn_lib report

# OWNER=name sets the kernel's owner, once; RESUME=1 lets it go on from its previous version;
# DATASETS=me/ksdd2,me/weights attaches more. PROFILE=quick CATEGORY=bottle SEEDS=42
# MODIFICATIONS=01,02 HOURS=5 take the place of its own parameters.
kernel: $(VENV)/.ready
	$(RUN) -m ssn_lib kaggle build $(strip $(KERNEL))
	$(RUN) -m ssn_lib kaggle check

bench: $(VENV)/.ready-test
	PYTHONPATH=$(PEER) $(RUN) -m ssn_lib bench

# What a GPU that is lent for minutes is used for. It sets nothing up: PyTorch and a few packages are
# enough, and what was brought by `make carry` is found. RUNS: a folder of runs to go on with; CREW:
# trainings at once.
gpu:
	PYTHONPATH=. $(PYTHON) -m ssn_lib protocol --minutes $(MINUTES) --out $(OUT) \
		$(if $(wildcard $(CARRY)),--data-root $(CARRY) --weights-dir $(CARRY)) \
		$(if $(RUNS),--runs-dir $(RUNS)) $(if $(CREW),--workers $(CREW))

# Images and weights, small, in a folder to take there; SETS=screw,bottle leaves the strips behind.
carry: $(VENV)/.ready
	$(RUN) -m ssn_lib pack $(CARRY) $(if $(SETS),--only $(SETS))

# What else a user could pick, for `bench`, `peers` and the tests that compare with anomalib. With
# DATASET (and CATEGORY, DATA) peers are fitted to those images.
peer: $(PEER)/.ready
	$(if $(DATASET),PYTHONPATH=$(PEER) $(RUN) -m ssn_lib peers --dataset $(DATASET) \
		$(if $(CATEGORY),--category $(CATEGORY)) $(if $(DATA),--data-root $(DATA)))

$(PEER)/.ready: | $(VENV)/.ready
	$(RUN) -m pip install --quiet --target $(PEER) --no-deps anomalib timm lightning \
		lightning-utilities pytorch-lightning torchmetrics kornia kornia_rs omegaconf \
		antlr4-python3-runtime==4.9.3 FrEIA opencv-python-headless einops jsonargparse \
		docstring-parser rich-argparse rich huggingface_hub httpx2 httpcore2 h11 truststore safetensors
	touch $@

# After editing a notebook's .py: bring its .ipynb up to date.
notebooks: $(VENV)/.ready
	$(VENV)/bin/jupytext --to ipynb --update notebooks/[0-9]*.py

# The stamp is written last: a set-up that was interrupted is repeated.
$(VENV)/.ready: requirements.txt pyproject.toml
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -r requirements.txt
	$(RUN) -m pip install --quiet --no-deps --editable .
	touch $@

$(VENV)/.ready-test: $(VENV)/.ready
	$(RUN) -m pip install --quiet --editable ".[grid,export,openvino,test]"
	touch $@

# Every bound as a pin: what cannot be installed together ends here.
$(OLDEST)/.ready: requirements.txt pyproject.toml
	$(OLDEST_PYTHON) -m venv --clear $(OLDEST)
	grep -ohE '[[:alpha:]][[:alnum:]_.-]*(\[[a-z]+\])?>=[0-9.]+' requirements.txt pyproject.toml \
		| sed -E 's/\[.*\]//; s/>=/==/' > $(OLDEST)/pins.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/pins.txt \
		--editable ".[grid,export,openvino,test]"
	touch $@

clean:
	rm -rf runs build .pytest_cache .ruff_cache $(OLDEST)
