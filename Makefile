# Two commands do everything: `make quickstart` and `make test`. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := runs/quickstart

.PHONY: quickstart evaluate docs test test-slow lint clean

quickstart: $(VENV)/.quickstart
	$(BIN)/i2sb-train --config configs/quickstart.py --workdir $(RUN)
	$(BIN)/python -m experiments.quickstart.held_out $(RUN)/held_out --blur 1 1.5 2
	$(BIN)/i2sb-restore --model $(RUN) --input $(RUN)/held_out/degraded --output $(RUN)/restored
	$(BIN)/python -m experiments.quickstart.table \
	    $(RUN)/held_out/clean $(RUN)/held_out/degraded $(RUN)/restored

# After quickstart: windows of the same photographs, restored by several numbers of evaluations.
evaluate: $(VENV)/.quickstart
	$(BIN)/python -m experiments.quickstart.held_out $(RUN)/windows --windows 64
	$(BIN)/i2sb-evaluate --model $(RUN) --data $(RUN)/windows --nfe 1,2,5,10 --baseline

docs: $(VENV)/.test
	$(BIN)/python -m sphinx -W --keep-going -n -q -b html docs docs/_build

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) runs docs/_build

# An environment a folder, made once; a stamp names what was installed into it.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "i2sb_jax needs Python 3.11 to 3.13, and $(PYTHON) is" \
	  "$$($(PYTHON) -V 2>&1 || true): install one and choose it, e.g. make PYTHON=python3.13"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.quickstart: setup.cfg | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[quickstart]'
	@touch $@

$(VENV)/.test: setup.cfg | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[test]'
	@touch $@
