# Everything a fresh machine needs is set up by the first target that is asked for.
PYTHON ?= python3
PROFILE ?= demo
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: study test report kernel bench notebooks clean

study: $(VENV)/.ready
	$(RUN) -m ssn_lib study --profile $(PROFILE)

test: $(VENV)/.ready-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(RUN) -m pytest

report: $(VENV)/.ready
	$(RUN) -m ssn_lib report

# OWNER=name sets the kernel's owner, once; RESUME=1 lets it go on from its previous version.
kernel: $(VENV)/.ready
	$(RUN) -m ssn_lib kaggle build $(if $(OWNER),--owner $(OWNER)) $(if $(RESUME),--resume)
	$(RUN) -m ssn_lib kaggle check

bench: $(VENV)/.ready
	$(RUN) -m ssn_lib bench

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
	$(RUN) -m pip install --quiet pytest hypothesis ruff "dask[distributed]" \
		onnx onnxscript onnxruntime
	touch $@

clean:
	rm -rf runs build .pytest_cache .ruff_cache
