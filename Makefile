# make demo   sets everything up in .venv and runs the real graph on the bundled recording
# make test   sets up what the tests need on top, and runs them
# make check  ruff, mypy, import contracts
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
OUT ?= demo_output
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
SOURCES := $(shell find tracevlm_ros engine training calibration launch config rviz foxglove sros2 resource \
	-type f -not -name '*.pyc') setup.py package.xml README.md
MESSAGES := $(shell find tracevlm_msgs -type f -not -path '*/build/*')

.PHONY: demo test check format setup setup-dev clean
.DELETE_ON_ERROR:

demo: setup
	$(BIN)/tracevlm demo --out $(OUT)

# Training in a process of its own: smaller, and a crash of one does not hide the other's results.
test: setup-dev
ifeq ($(strip $(PYTEST_ARGS)),)
	$(BIN)/python -m pytest --ignore tests/training
	$(BIN)/python -m pytest tests/training
else
	$(BIN)/python -m pytest $(PYTEST_ARGS)
endif

check: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(VENV)/.package
setup-dev: $(VENV)/.dev $(VENV)/.package

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 10) <= sys.version_info[:2] <= (3, 13) else "Python 3.10 to 3.13 is needed; this is %d.%d. Name another: make PYTHON=python3.11" % sys.version_info[:2])'
	@$(PYTHON) -c 'import ensurepip' || { echo "Python lacks venv: apt install python3-venv"; exit 1; }
	@command -v g++ >/dev/null || { echo "no C++ compiler for the message package: apt install g++ python3-dev"; exit 1; }
	@echo "[1/4] virtual environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: requirements/runtime.txt $(VENV)/.created
	@echo "[2/4] pinned requirements (ROS 2 and ONNX Runtime wheels, about 400 MB)"
	$(PIP) install -r requirements/runtime.txt setuptools==84.2.1 wheel==0.48.0
	@touch $@

$(VENV)/.messages: $(MESSAGES) $(VENV)/.runtime
	@echo "[3/4] message package (C++ build, about a minute)"
	$(PIP) install --no-deps --force-reinstall ./tracevlm_msgs
	@touch $@

$(VENV)/.package: $(SOURCES) $(VENV)/.messages
	@echo "[4/4] this package"
	@rm -rf build/lib build/bdist.*
	$(PIP) install --no-deps --no-build-isolation --force-reinstall --quiet .
	@echo "      compiling the kernels for long traces"
	@cd $(VENV) && bin/python -c 'from tracevlm_ros.core import simplify; simplify.warm_up()'
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	@echo "[dev] requirements of tests, checks and training ($(TORCH), a few hundred MB)"
	$(PIP) install -r requirements/dev.txt "$(TORCH)"
	@touch $@

clean:
	rm -rf $(VENV) build $(OUT)
