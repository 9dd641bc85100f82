# Needs Python 3.11 to 3.13 and make; everything else is installed into .venv by the first target that needs it.
#   make demo    train KGCL on a generated world, beside the baselines, and recommend
#   make test    all tests
#   make check   lint, types, import rules, generated docs

ACCEPTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	$$name -c '$(ACCEPTED)' 2>/dev/null && echo $$name && break; done)
ifeq ($(strip $(PYTHON)),)
$(error no Python 3.11 to 3.13 on the PATH; name one with: make PYTHON=/path/to/python ...)
endif

# The DGL backend exists where its last importable wheel does.
DGL := $(shell $(PYTHON) -c 'import sys; print("plugins/sslrec-dgl" if sys.version_info < (3, 12) else "")')
PACKAGES := $(addprefix plugins/sslrec-,cf kg mbehavior seq social) $(DGL)

# The name of the stamp is the content of what was asked for, so touching a file or changing branches installs nothing.
KEY := $(shell $(PYTHON) -c 'import hashlib, sys; print(hashlib.sha256(b"".join(open(p, "rb").read() for p in sys.argv[1:]) + sys.version.encode()).hexdigest()[:16])' \
	constraints.txt pyproject.toml $(PACKAGES:%=%/pyproject.toml))
BIN := .venv/bin
STAMP := .venv/installed-$(KEY)

DEMO_EPOCHS ?=
TEST_ARGS ?= -n 2 --dist loadscope
ALONE_TESTS ?=

.PHONY: demo test check fix docs wheels alone clean
demo: $(STAMP)
	$(BIN)/python tools/demo.py $(if $(DEMO_EPOCHS),--epochs $(DEMO_EPOCHS))

test: $(STAMP)
	$(BIN)/python -m pytest $(TEST_ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m cogapp --check -P -I . docs/*.md

fix: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	$(BIN)/python -m cogapp -r -P -I . docs/*.md
	$(BIN)/python tools/tutorial.py

wheels: $(STAMP)
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps -w dist . $(PACKAGES:%=./%)

alone: wheels
	$(BIN)/python tools/alone.py --wheels dist --select "$(ALONE_TESTS)"

clean:
	rm -rf .venv dist build

$(STAMP):
	$(PYTHON) -m venv .venv
	rm -f .venv/installed-*
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]' $(PACKAGES:%=-e %)
	touch $@
