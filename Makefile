# Two commands do everything: `make fit` and `make test`.
PYTHON ?= python3
DATA_DIR ?= data
BIN := .venv/bin
.PHONY: fit test check kill cluster parts loggers export demo sweep browser bench gpu lint tensorboard lock clean test-oldest

fit: .venv/installed
	$(BIN)/python -m src fit --config configs/quickstart.yaml $(ARGS)

test: lint
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term-missing:skip-covered --cov-fail-under=95 $(ARGS)

# The tests to run after every edit: all but the slow ones.
check: lint
	$(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

# The fast tests with the oldest versions that pyproject.toml allows, whose own warnings are not errors.
test-oldest: .venv/installed
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/oldest
	$(BIN)/uv pip install --quiet --python .venv/oldest/bin/python --resolution lowest-direct \
		--requirement pyproject.toml --extra dev
	.venv/oldest/bin/python -m pytest -n 2 -m "not slow" -W default $(ARGS)

# The long form of test_kill.py, which kills one process 50 times and two processes 20 times, in float32 and in bf16, and
# of the kills of a study.
kill: .venv/installed
	KILLS=50 $(BIN)/python -m pytest tests/runtime/test_kill.py -s $(ARGS)
	KILLS=10 $(BIN)/python -m pytest tests/cli/test_study.py -s $(ARGS)

# Jobs on a real SLURM of two nodes on this machine: on Debian, `apt-get install slurm-wlm munge`.
cluster: .venv/installed
	$(BIN)/python -m pytest -m cluster tests/cluster $(ARGS)

# Tries every part of docs/parts.md: optimizers, schedules, networks and callbacks of other packages.
parts: .venv/installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.txt --requirement pyproject.toml --extra parts --extra parquet
	$(BIN)/python -m pytest -n 2 -m parts tests/test_parts.py tests/test_finetuning.py tests/cli/test_pretrained.py tests/inference $(ARGS)

# Logs with the packages of other loggers, offline.
loggers: .venv/installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.txt --requirement pyproject.toml --extra loggers
	$(BIN)/python -m pytest -n 2 -m loggers tests/callbacks/test_loggers.py $(ARGS)

# Exports to ONNX and safetensors, and reads the files again.
export: .venv/installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.txt --requirement pyproject.toml --extra export
	$(BIN)/python -m pytest -m export tests/inference tests/cli/test_inference.py tests/runtime/test_initial_weights.py $(ARGS)

# Searches with Optuna, kills a sweep, and runs one on SLURM where it is installed; KILLS=10 kills more often.
sweep: .venv/installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.txt --requirement pyproject.toml --extra sweep
	$(BIN)/python -m pytest -m sweep tests/studies tests/cli tests/cluster $(ARGS)

# Drops images on the page of `demo` in Chromium, in an environment of its own, since gradio needs an older Pillow.
demo: .venv/installed
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/demo
	$(BIN)/uv pip install --quiet --python .venv/demo/bin/python \
		--requirement pyproject.toml --extra dev --extra demo --extra browser
	.venv/demo/bin/python -m pytest -m demo tests/browser/test_demo.py $(ARGS)

# Looks at TensorBoard in Chromium (`apt-get install chromium`). Skips where there is none, fails under REQUIRE_BROWSER=1.
browser: .venv/installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.txt --requirement pyproject.toml --extra browser
	$(BIN)/python -m pytest -m browser tests/browser $(ARGS)

# The classes and functions of each folder, docs/api/build/index.html; a docstring that cannot be rendered fails. Then
# tests of what completes recipes in editors and commands in bash.
docs: .venv/installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.txt --requirement pyproject.toml --extra docs --extra completion --extra sweep
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env docs/api docs/api/build
	$(BIN)/python -m pytest -m docs tests/cli/test_completion.py $(ARGS)

# The short form of the benchmarks, whose tables it writes to benchmarks/results.md. KERAS_PYTHON is a Python that has
# Keras, DATA_DIR the folder of CIFAR-10.
PUBLISH = $(BIN)/python -m benchmarks.publish
bench: .venv/installed
	$(PUBLISH) training --short --data_dir $(DATA_DIR) $(if $(KERAS_PYTHON),--keras_python $(KERAS_PYTHON))
	$(PUBLISH) peak --data_dir $(DATA_DIR)
	$(PUBLISH) steps --short --data_dir $(DATA_DIR)
	$(PUBLISH) robustness --short --data_dir $(DATA_DIR)
	$(PUBLISH) parts --rounds 3 --data_dir $(DATA_DIR)
	$(PUBLISH) folder --images 20000 --epochs 2 --pairs 1
	$(PUBLISH) startup --rounds 1 --data_dir $(DATA_DIR)

# Checks and figures on a GPU, in at most seven minutes; the report is in logs/gpu.
gpu: .venv/installed
	$(BIN)/python -m benchmarks.gpu --data_dir $(DATA_DIR) $(ARGS)

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

tensorboard: .venv/installed
	$(BIN)/tensorboard --logdir logs

# Pins the dependencies of pyproject.toml, with hashes. Keeps pinned versions; ARGS=--upgrade takes the newest.
lock: .venv/installed
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-strip-extras --no-annotate --no-header --no-emit-index-url --quiet --output-file requirements.txt $(ARGS)

clean:
	rm -rf .venv

.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.txt
	touch $@
