# make run and make test need Python 3.11 and make; everything else they fetch into .venv themselves.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
ARGS ?=

.PHONY: setup run demo test bench lock clean
setup: $(READY)

$(READY): pyproject.toml requirements.lock requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python cannot make virtual environments: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check uv || true
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --quiet --require-hashes -r requirements-dev.lock \
	  || $(VENV)/bin/pip install --quiet --require-hashes -r requirements-dev.lock
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --quiet --no-deps --no-build-isolation -e . || $(VENV)/bin/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

lock: ## rewrite the hashed requirement locks from pyproject.toml
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements.lock
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --extra dev pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) var
