# make without a target lists the targets. PYTHON sets the interpreter that creates the environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo compare real-data real-test test hostile browser-parts runtime-test lint docs package smoke bench clean clean-data

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## create the environment in .venv

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python >= 3.11 expected; found " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# torch alone first, so that pip takes a CPU build if the index offers one
	$(BIN)/pip install --progress-bar on -c constraints.txt torch
	$(BIN)/pip install --progress-bar on -c constraints.txt -e '.[dev]'
	touch $@

SHOWN := runs/demo/predictions/segmentation-7
demo: setup  ## fine-tune the packaged network on synthetic CT, test it, and predict a CT with the packaged network (two minutes)
	$(BIN)/python -m lits_seg.train experiment=demo_strided name=demo ckpt_path=last
	@echo "the paper's network from scratch after two and a half minutes, same patients: Dice per case 0.321 [0.215, 0.434] (experiments/demo)"
	@echo; echo "a synthetic CT, predicted by the packaged network:"
	$(BIN)/python -m lits_seg.predict input=data/phantom_demo/volume-7.nii.gz output=$(dir $(SHOWN))
	@echo "mask: $(SHOWN).nii.gz"; echo "report: $(SHOWN).json"; echo "page, for a browser: $(SHOWN).html"

COMPARE := experiment=demo data.slices_per_epoch=640 optimizer.lr=0.001 ckpt_path=last
compare: setup  ## train the paper's network and two UNets (without and with batch norm) by one short schedule, and compare them (twenty minutes)
	$(BIN)/python -m lits_seg.train $(COMPARE) model=dsc_unet decoder=subpixel name=compare/dsc_unet
	$(BIN)/python -m lits_seg.train $(COMPARE) model=unet decoder=deconv name=compare/unet
	$(BIN)/python -m lits_seg.train $(COMPARE) model=unet_bn decoder=deconv name=compare/unet_bn
	$(BIN)/python -m lits_seg.report runs=runs/compare

real-data: setup  ## fetch one real LiTS case from PyPI into data/real
	$(BIN)/python -m experiments.real_case data/real

real-test: real-data  ## test the packaged network on the real case, which has not trained it
	$(BIN)/python -m lits_seg.evaluate ckpt=packaged references=data/real output=runs/real

test: setup  ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

hostile: setup  ## test that damaged files, wrong settings and other bad input end with one clear message
	$(BIN)/python -m pytest -n 2 --dist loadfile -m hostile

browser-parts: setup  ## fetch other people's JavaScript and WebAssembly for the browser page, by npm, and check it
	cd lits_seg/browser && npm ci --no-progress
	$(BIN)/python -m lits_seg.browser.third_party

RUNTIME := $(VENV)-runtime
runtime-test: setup  ## test predicting in an environment with only the package and the runtime extra
	test -x $(RUNTIME)/bin/python || $(PYTHON) -m venv $(RUNTIME)
	$(RUNTIME)/bin/pip install -c constraints.txt '.[runtime]'
	LIGHT_PYTHON=$(abspath $(RUNTIME))/bin/python $(BIN)/python -m pytest tests/test_light.py

lint: setup  ## check format, code, types, the layers of the architecture and the words
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_words.py

docs: setup  ## draw the architecture and build the documentation in docs/_build/html
	$(BIN)/python docs/house.py
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@if test -d lits_seg/browser/parts; then $(BIN)/python -m lits_seg.export format=site output=docs/_build/html/app; \
	else echo "without the browser page, whose parts are missing (make browser-parts)"; fi

package: setup  ## build sdist and wheel into dist/ and check both
	@test -d lits_seg/browser/parts || echo "without the browser page, whose parts are missing (make browser-parts)"
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist

smoke: setup  ## run a sweep over two models and two decoders on tiny volumes
	$(BIN)/python -m lits_seg.train -m experiment=smoke model=dsc_unet,unet decoder=subpixel,deconv

bench: setup  ## repeat the measurements of cost, parameters and speed, and write their tables into experiments/
	$(BIN)/python -m experiments.inference_speed
	$(BIN)/python -m experiments.inference_speed.layers
	$(BIN)/python -m experiments.parameter_audit
	$(BIN)/python -m experiments.data_speed
	$(BIN)/python -m experiments.mask_speed
	$(BIN)/python -m experiments.train_speed

clean:  ## remove environments, caches and built files; data and results stay
	rm -rf $(VENV) $(RUNTIME) lits_seg/browser/node_modules lits_seg/browser/parts
	rm -rf dist docs/_build docs/api docs/experiments .pytest_cache .ruff_cache .mypy_cache .hypothesis

DATA = $(wildcard data runs predictions exported evaluation comparison)
clean-data:  ## ask, then remove data, runs, predictions and other results in this folder
	@test -n "$(DATA)" || { echo "no data or results here"; exit 1; }
	@du -shc $(DATA); printf 'Remove these folders with everything in them? [y/N] '; read -r answer; \
	if test "$$answer" = y; then rm -rf $(DATA); else echo "nothing removed"; fi
