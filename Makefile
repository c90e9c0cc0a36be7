# Dwarpal. Needs only make and Python 3.11 or newer; everything else goes into .venv.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test browser screenshots messages check format format-check lint types layers docs openapi train-pad train-embedder evaluate evaluate-liveness compare-peers lock clean

VENV := .venv
BIN := $(VENV)/bin
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev
TRAIN := $(VENV)/.installed-train
PEERS := $(VENV)/.installed-peers
LOCKED := pyproject.toml constraints.txt
SOURCES := biometrics liveness enrollment verification evaluation training infra services tests

help:  ## show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(DEMO)  ## install and show the main job on real faces (ARGS='...' are passed on)
	@$(BIN)/dwarpal demo $(ARGS)

test: $(DEV) browser  ## install and run every test (ARGS='tests/unit -k seal' narrows it)
	@$(BIN)/python -m pytest $(ARGS)

# The tests of the pages need a Chromium; where none is and none can be installed, they say so and are skipped.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null \
		|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "Installing Chromium for the tests of the pages" \
		&& { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; } >/dev/null 2>&1; } \
		|| echo "No Chromium here: the tests of the pages will be skipped (apt-get install chromium)."

check: format-check lint types layers docs test  ## everything that must pass before a commit

format: $(DEV)  ## rewrite the source in the house format
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix-only --select I $(SOURCES)

format-check: $(DEV)  ## say which files are not in the house format
	@$(BIN)/ruff format --check $(SOURCES)

lint: $(DEV)  ## ruff
	@$(BIN)/ruff check $(SOURCES)

types: $(DEV)  ## mypy, strict
	@$(BIN)/mypy

layers: $(DEV)  ## who imports whom, vendors in their rooms
	@$(BIN)/python -m pytest --durations=0 tests/unit/test_layers.py

docs: $(DEV)  ## settings, commands, routes and test names in the documents are the real ones
	@$(BIN)/python -m pytest --durations=0 tests/unit/test_docs.py

openapi: $(DEV)  ## write docs/openapi.json anew
	@$(BIN)/dwarpal openapi docs/openapi.json

screenshots: $(DEV) browser  ## take docs/screenshots anew in Chromium
	@$(BIN)/python -m tests.browser.screenshots

messages: $(DEV)  ## bring the catalogs of the pages up to date with the templates
	@mkdir -p build && $(BIN)/pybabel -q extract -F babel.cfg --no-location --sort-output --no-wrap --omit-header -o build/messages.pot services/web/templates
	@for language in bn hi mr ta te ur; do $(BIN)/pybabel -q update --no-fuzzy-matching --no-wrap --omit-header \
		-i build/messages.pot -o services/web/locale/$$language.po -l $$language || exit 1; done

train-pad: $(TRAIN)  ## train the PAD network (ARGS='--data FILE ...')
	@$(BIN)/python -m training.train_pad $(ARGS)

train-embedder: $(TRAIN)  ## train the embedder (ARGS='shipped --data FOLDER')
	@$(BIN)/python -m training.train_embedder $(ARGS)

evaluate: $(DEMO)  ## error rates of verification: PAIRS=pairs.csv IMAGES=folder
	@test -n "$(PAIRS)" -a -n "$(IMAGES)" || { echo "Usage: make evaluate PAIRS=pairs.csv IMAGES=folder" >&2; exit 2; }
	@$(BIN)/dwarpal evaluate verification "$(PAIRS)" --images "$(IMAGES)" --json $(ARGS)

evaluate-liveness: $(DEMO)  ## error rates of PAD: LABELS=labels.csv IMAGES=folder
	@test -n "$(LABELS)" -a -n "$(IMAGES)" || { echo "Usage: make evaluate-liveness LABELS=labels.csv IMAGES=folder" >&2; exit 2; }
	@$(BIN)/dwarpal evaluate liveness "$(LABELS)" --images "$(IMAGES)" --json $(ARGS)

compare-peers: $(PEERS)  ## ours beside its teacher, dlib and facenet-pytorch: PAIRS=pairs.csv IMAGES=folder (ARGS='--teacher FILE')
	@test -n "$(PAIRS)" -a -n "$(IMAGES)" || { echo "Usage: make compare-peers PAIRS=pairs.csv IMAGES=folder" >&2; exit 2; }
	@$(BIN)/dwarpal evaluate peers "$(PAIRS)" --images "$(IMAGES)" $(ARGS)

# The newest versions that pyproject.toml allows, written down without the local part (+cpu) of torch's version,
# so that the same line fits a CPU wheel at hand and the wheel on PyPI. pip freeze sees one of the two ONNX
# Runtime wheels; the other is pinned to the newest of the same release series.
lock:  ## write constraints.txt anew from what pyproject.toml allows
	@$(call find_python) && rm -rf build/lock && "$$python" -m venv build/lock
	@build/lock/bin/pip install --quiet -e '.[dev,train,peers]'
	@set -euo pipefail; pip=build/lock/bin/pip; \
	frozen=$$($$pip freeze --exclude-editable --all | grep -v -E '^(pip|dwarpal)==' | sed -E 's/\+[a-z0-9.]+$$//'); \
	here=$$(grep -E '^onnxruntime(-openvino)?==' <<< "$$frozen"); \
	case $$here in onnxruntime-openvino==*) other=onnxruntime;; *) other=onnxruntime-openvino;; esac; \
	series=$$(sed -E 's/.*==([0-9]+\.[0-9]+).*/\1/' <<< "$$here"); \
	pin=$$($$pip install --dry-run --no-deps --ignore-installed --quiet --report - "$$other==$$series.*" 2>/dev/null \
		| build/lock/bin/python -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])') \
		|| pin=$$(sed -n -E "s/^$$other==(.*)/\1/p" constraints.txt); \
	{ echo "# Locked versions: written by 'make lock', used by 'pip install -c'. Do not edit by hand."; \
	  { echo "$$frozen"; echo "$$other==$$pin"; } | LC_ALL=C sort -f; } > constraints.txt.new; \
	mv constraints.txt.new constraints.txt; rm -rf build/lock
	@git --no-pager diff --stat -- constraints.txt 2>/dev/null || true

clean:  ## remove the virtual environment, caches and build leftovers
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Sets $$python in the shell to the first interpreter that is new enough. PYTHON=/path/to/python overrides it.
define find_python
python=; for p in $(PYTHON) python3 python3.11 python3.12 python3.13 python3.14; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { python=$$p; break; }; \
done; \
test -n "$$python" || { echo "Dwarpal needs Python 3.11 or newer; python3 is: $$(python3 --version 2>&1 || true)." >&2; \
	echo "Install it (Debian, Ubuntu: apt install python3.11 python3.11-venv) or say PYTHON=/path/to/python." >&2; false; }
endef

$(BIN)/python:
	@$(call find_python) && echo "Creating $(VENV) with $$("$$python" --version)" \
		&& { "$$python" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Python's venv module does not work here (Debian, Ubuntu: apt install python3-venv)." >&2; false; }; }

# A stamp says that an extra is installed; pip runs again only when what it reads has changed.
$(DEMO): $(LOCKED) | $(BIN)/python
	@echo "Installing Dwarpal into $(VENV) (a minute or so, once)"
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(DEV): $(LOCKED) | $(BIN)/python
	@echo "Installing Dwarpal and its tests into $(VENV) (a minute or so, once)"
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(DEMO) $@

$(TRAIN): $(LOCKED) | $(BIN)/python
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[train]'
	@touch $@

$(PEERS): $(LOCKED) | $(BIN)/python
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[peers]'
	@touch $@
