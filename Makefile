# Two commands do everything: `make fit` and `make test`.
PYTHON ?= python3
DATA_DIR ?= data
BIN := .venv/bin
.PHONY: fit test check kill bench lint tensorboard clean

fit: .venv/installed
	$(BIN)/python -m src fit --config configs/quickstart.yaml $(ARGS)

test: lint
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term-missing:skip-covered --cov-fail-under=95 $(ARGS)

# The everyday part of the tests.
check: lint
	$(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

# The long form of tests/test_kill.py: 50 kills of one process and 20 of two, in float32 and in bf16.
kill: .venv/installed
	KILLS=50 $(BIN)/python -m pytest tests/test_kill.py -s $(ARGS)

# The short form of the benchmarks; KERAS_PYTHON=... names a Python that has Keras, DATA_DIR=... the folder of CIFAR-10.
bench: .venv/installed
	$(BIN)/python -m benchmarks.training --short --data_dir $(DATA_DIR) $(if $(KERAS_PYTHON),--keras_python $(KERAS_PYTHON))
	$(BIN)/python -m benchmarks.steps --short --data_dir $(DATA_DIR)
	$(BIN)/python -m benchmarks.robustness --short --data_dir $(DATA_DIR)
	$(BIN)/python -m benchmarks.parts --rounds 3 --data_dir $(DATA_DIR)
	$(BIN)/python benchmarks/folder.py --pictures 20000 --epochs 2 --pairs 1
	$(BIN)/python benchmarks/startup.py --rounds 1 --data_dir $(DATA_DIR)

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

tensorboard: .venv/installed
	$(BIN)/tensorboard --logdir logs

clean:
	rm -rf .venv

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
