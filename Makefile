# Everything lives in .venv; a stamp file remembers each step, so that `make` does only what changed.
#   make                 set up            make test [ARGS=...]   the tests
#   make demo [ARGS=...] the main job      make console [ARGS=...] the web console
#   make lint | lock | sbom | clean        make messages          after adding a .msg or .srv
#   make docs            the documentation as a site, out/docs/index.html

SHELL := /bin/bash
.DELETE_ON_ERROR:
VENV := .venv
PYTHON ?= python3.11
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
ARGS ?=
# A shell that has sourced a ROS 2 installation, or runs inside this venv, must not leak into builds with the wheels.
CLEAN_ENV := env -u LD_LIBRARY_PATH -u _ROS_WHEELS_BOOTSTRAP_COMPLETE -u PYTHONPATH -u AMENT_PREFIX_PATH -u CMAKE_PREFIX_PATH
PIP := $(CLEAN_ENV) PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check --no-input
WS := ros_ws
INTERFACES := $(WS)/src/longhand_msgs $(WS)/src/crtk_msgs $(WS)/wheels_only/tf2_msgs
INTERFACE_STAMPS := $(foreach d,$(INTERFACES),$(STAMPS)/$(notdir $(d)))

.PHONY: setup messages test demo console lint lock sbom docs clean
setup: $(STAMPS)/packages $(INTERFACE_STAMPS) $(VENV)/ros.sh

$(STAMPS)/venv:
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 with its headers, or say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@command -v c++ >/dev/null || { echo "error: no C++ compiler; install g++ (Debian, Ubuntu: apt install g++)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	mkdir -p $(STAMPS)
	touch $@

# The libraries: versions from constraints.txt, which names no index, so that any mirror serves.
$(STAMPS)/libraries: pyproject.toml constraints.txt | $(STAMPS)/venv
	$(PIP) install -q -c constraints.txt setuptools
	$(PIP) install -q --no-build-isolation -c constraints.txt -e '.[ros,interfaces,dev]'
	touch $@

$(STAMPS)/packages: $(STAMPS)/libraries $(WS)/src/longhand_ros/setup.py $(WS)/src/longhand_ros/package.xml
	$(PIP) install -q --no-deps --no-build-isolation -e $(WS)/src/longhand_ros
	install -D -m 644 $(WS)/src/longhand_ros/resource/longhand_ros $(VENV)/share/ament_index/resource_index/packages/longhand_ros
	install -D -m 644 $(WS)/src/longhand_ros/package.xml $(VENV)/share/longhand_ros/package.xml
	touch $@

define INTERFACE_RULE
$(STAMPS)/$(notdir $(1)): $(wildcard $(1)/msg/*.msg $(1)/srv/*.srv) $(1)/CMakeLists.txt $(1)/package.xml $(1)/cmake/ros_wheels.cmake | $(STAMPS)/libraries
	@echo "building $(notdir $(1))"
	@$(CLEAN_ENV) PATH="$$(CURDIR)/$(BIN):$$$$PATH" VIRTUAL_ENV="$$(CURDIR)/$(VENV)" $(BIN)/cmake -GNinja -S $(1) -B $(VENV)/build/$(notdir $(1)) \
	  -DCMAKE_INSTALL_PREFIX="$$(CURDIR)/$(VENV)" -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF \
	  -DPython3_EXECUTABLE="$$(CURDIR)/$(BIN)/python" -Wno-dev > $(VENV)/build-$(notdir $(1)).log 2>&1 \
	  && $(CLEAN_ENV) PATH="$$(CURDIR)/$(BIN):$$$$PATH" $(BIN)/cmake --build $(VENV)/build/$(notdir $(1)) >> $(VENV)/build-$(notdir $(1)).log 2>&1 \
	  && $(CLEAN_ENV) $(BIN)/cmake --install $(VENV)/build/$(notdir $(1)) >> $(VENV)/build-$(notdir $(1)).log 2>&1 \
	  || { tail -n 40 $(VENV)/build-$(notdir $(1)).log >&2; echo "error: $(notdir $(1)) did not build; all of it is in $(VENV)/build-$(notdir $(1)).log" >&2; exit 1; }
	@touch $$@
endef
$(foreach d,$(INTERFACES),$(eval $(call INTERFACE_RULE,$(d))))

messages: $(INTERFACE_STAMPS)

$(VENV)/ros.sh: tools/write_ros_sh.py | $(STAMPS)/venv
	$(BIN)/python tools/write_ros_sh.py $(VENV) > $@

test: setup
	$(BIN)/python -m pytest $(ARGS)

demo: setup
	$(BIN)/longhand demo $(ARGS)

console: setup
	$(BIN)/longhand console $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: setup
	$(BIN)/python tools/lock.py > constraints.txt

sbom: setup
	mkdir -p out
	$(BIN)/python tools/sbom.py > out/sbom.json
	@echo "out/sbom.json"

# Warnings are errors: a page that points nowhere is not built.
docs: setup
	@$(BIN)/python -c "import sphinx, furo, myst_parser" 2>/dev/null || $(PIP) install -q --no-build-isolation -c constraints.txt -e '.[docs]'
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs out/docs
	@echo "out/docs/index.html"

clean:
	rm -rf $(VENV) out build install
