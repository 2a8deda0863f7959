# Every target shows itself in `make help` by the words after `##`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: $(shell sed -n 's/^\([a-z][a-z-]*\):.*/\1/p' $(firstword $(MAKEFILE_LIST)))

run: ## build, start the server and print a sign-in link
	@scripts/run

test: ## run every test of the workspace
	@scripts/test

test-long: ## run the tests that take their time as well
	@scripts/test --long

lint: ## formatting, clippy, shell scripts, licences
	@scripts/lint

bench: ## run every bench; results in target/bench
	@scripts/bench latency native transport start idle recovery sandbox api

bench-latency: ## key pressed to pixel changed, black box
	@scripts/bench latency

bench-native: ## the native viewer beside TigerVNC's: key to pixel, bytes, exactness, rest
	@scripts/bench native

bench-transport: ## the native protocol over lossy, full and changing links, seeded
	@scripts/bench transport

bench-start: ## sign-in to first picture, step by step
	@scripts/bench start

bench-idle: ## what a still desktop costs: CPU, wake-ups, packets, memory
	@scripts/bench idle

bench-recovery: ## worker or daemon killed to the next picture at the viewer
	@scripts/bench recovery

bench-sandbox: ## a jail's start beside bubblewrap, runc and bare fork and exec; teardown
	@scripts/bench sandbox

bench-api: ## what requests to the API cost somebody who types
	@scripts/bench api

performance: ## render PERFORMANCE.md from target/bench
	@scripts/performance

spec: ## hold the figures against SPECIFICATION.md
	@scripts/spec

install: ## install the release build below DESTDIR and PREFIX (/usr/local)
	@PREFIX="$(or $(PREFIX),/usr/local)" DESTDIR="$(DESTDIR)" scripts/install

help: ## show this
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1@\2/p' $(firstword $(MAKEFILE_LIST)) \
	  | column -t -s @
