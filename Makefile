# make run and make test need Python 3.11 and make. Everything else they fetch themselves: Python packages into .venv,
# and, as root on Debian, the programs that the kernel or the tests need (.ci/packages; it starts no service).
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
CONTAIN := $(VENV)/bin/contain
ARGS ?=
# Each worker has a network namespace, servers and boxes of its own; make test ARGS="-n 0 -x tests/actions" for one at a time.
WORKERS := -n logical --maxprocesses 4 --dist loadfile

RUN_PACKAGES := nftables iproute2
DEMO_PACKAGES := $(RUN_PACKAGES) openssh-server openssh-client nginx-light wrk
TEST_PACKAGES := $(DEMO_PACKAGES) apache2-bin busybox-static chromium chromium-driver crowdsec dbus docker.io dovecot-imapd dovecot-pop3d fail2ban iptables openssl \
  polkitd postfix postgresql prometheus prometheus-alertmanager python3-pyinotify sudo systemd-container systemd-journal-remote tcc
BENCH_PACKAGES := $(DEMO_PACKAGES) crowdsec crowdsec-firewall-bouncer fail2ban monit python3-pyinotify sshguard

.PHONY: setup bytecode run demo test check bench debian13 chaos rotation lock clean install uninstall deb docs
setup: $(READY)

$(READY): pyproject.toml requirements.lock requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/packages python3-venv
	$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check uv 2>/dev/null || true
	@VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --quiet --require-hashes -r requirements-dev.lock 2>/dev/null \
	  || $(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(VENV)/bin/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true  # some package ships what is no Python 3, on purpose
	@touch $@

# As installed: where the environment forbids Python to write bytecode, every start would compile all of it anew.
bytecode: $(READY)
	@$(VENV)/bin/python -m compileall -q -j 0 agent actions tests

run: $(READY) ## watch this host in dry run: nothing is changed, everything is shown
	@.ci/packages $(RUN_PACKAGES)
	@mkdir -p var
	@test -f var/agent.yaml || $(CONTAIN) init --output var/agent.yaml --state var --policies policies
	$(CONTAIN) run --config var/agent.yaml --dry-run $(ARGS)

demo: $(READY) ## a whole attack in half a minute, in network namespaces of its own
	@.ci/packages $(DEMO_PACKAGES)
	@$(VENV)/bin/python -m tests.demo $(ARGS)

test: $(READY) bytecode check ## everything CI runs
	@.ci/packages $(TEST_PACKAGES)
	$(VENV)/bin/pytest $(WORKERS) $(ARGS)

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	CONTAIN_CONFIG=none $(CONTAIN) policy check policies
	CONTAIN_CONFIG=none $(CONTAIN) policy test policies

bench: $(READY) bytecode ## our numbers beside fail2ban's, CrowdSec's, sshguard's and monit's, in one run
	@.ci/packages $(BENCH_PACKAGES)
	@$(VENV)/bin/python -m tests.bench $(ARGS)

debian13: ## the tests of the package on Debian 13, in a root of its own that is fetched the first time
	@.ci/debian13 $(ARGS)

chaos: $(READY) ## every fault under every action, then an hour of all of them at random; make chaos ARGS="--minutes 20 --seed 7"
	@.ci/packages $(TEST_PACKAGES)
	@$(VENV)/bin/python -m tests.chaos $(ARGS)

rotation: $(READY) ## an hour of rotations and kill -9 at 10,000 lines/s: every line once; make rotation ARGS="--minutes 5"
	@.ci/packages $(RUN_PACKAGES)
	@$(VENV)/bin/python -m tests.chaos.rotation $(ARGS)

PREFIX ?= /usr/local
DESTDIR ?=
install: $(READY) ## this tree as a service of this host, in dry run; again for an upgrade. The .deb of make deb does the same
	$(VENV)/bin/python systemd/package/stage.py "$(DESTDIR)/" --prefix $(PREFIX) $(ARGS)
	@test -n "$(DESTDIR)" || $(PREFIX)/lib/containment-agent/setup configure

uninstall: ## stop and remove it; PURGE=1 takes configuration, evidence and the user, too
	@systemd/package/uninstall.sh "$(DESTDIR)" $(PREFIX) $(PURGE)

deb: $(READY) ## a Debian package for the release that this runs on, in dist/
	@$(VENV)/bin/python systemd/package/deb.py $(ARGS)

docs: $(READY) ## write docs/reference and the man pages anew, from the code
	$(VENV)/bin/python -m agent.reference

lock: ## rewrite the hashed requirement locks from pyproject.toml
	$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  pyproject.toml -o requirements.lock
	$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --extra dev pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) var
