# make demo    run notebooks/quickstart.ipynb on the built-in cars
# make test    the tests, and the notebooks with nbval
# make reproduce  the notebooks of the paper's figures and tables, in the quick profile
# All set themselves up in .venv; another Python: make test PYTHON=python3.12
PYTHON ?= python3
ROOT := $(dir $(lastword $(MAKEFILE_LIST)))
VENV := $(ROOT).venv
RUN := cd "$(ROOT)." && .venv/bin/python

.PHONY: demo test reproduce install clean
.DEFAULT_GOAL := demo

demo: install
	$(RUN) -m samlib demo

# Two workers with one thread each: threads that wait for a core another worker holds cost more than they give.
# conftest.py says what begins first; without --no-loadscope-reorder xdist would, by the number of tests alone.
test: export OMP_NUM_THREADS = 1
test: install
	$(RUN) -m pytest -n 2 --dist loadscope --no-loadscope-reorder --nbval --nbval-current-env --nbval-kernel-name python3 tests notebooks

reproduce: install
	$(RUN) -m samlib reproduce --jobs 2

install: $(VENV)/.installed

# The stamp is newer than pyproject.toml exactly when what it lists is installed. Not compiled: that takes about a minute and a
# half of a core (reckoned from every 20th file), and of the 18,000 files most are never imported; Python compiles the others then.
$(VENV)/.installed: $(ROOT)pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	    || { echo "Python 3.10 or newer is needed; this is `$(PYTHON) --version 2>&1`. Try: make PYTHON=python3.12" >&2; exit 1; }
	@test -x "$(VENV)/bin/python" || $(PYTHON) -m venv "$(VENV)" \
	    || { rm -rf "$(VENV)"; echo "No virtual environment could be made (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@echo "Installing into .venv (the first time this takes some minutes) ..."
	@$(RUN) -m pip install --quiet --no-compile --disable-pip-version-check -e ".[dev]"
	@touch "$@"

clean:
	rm -rf "$(VENV)" "$(ROOT)outputs"
