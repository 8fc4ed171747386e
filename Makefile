# A machine with Go, Python, git and make is enough. Every other tool is pinned in a
# module of its own below tools/, built on first use and then taken from Go's
# build cache; one module per tool, so that no tool's dependencies move
# another's version or the project's.

BUF      := go tool -modfile=tools/buf/go.mod buf
LINT     := go tool -modfile=tools/lint/go.mod golangci-lint
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# The race detector needs cgo, and so a C compiler; RACE=-race insists on it.
RACE     ?= $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)
PACKAGES ?= ./...

.DEFAULT_GOAL := help
.PHONY: help build test go-test lint generate python bars bench demo

## help      print this list
help:
	@sed -n 's/^## /  make /p' Makefile

## build     build bin/multirate, static and stripped
build:
	@echo "==> building bin/multirate $(VERSION)"
	@CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/multirate ./cmd/multirate

## test      lint, vet and run every test, with the race detector where cgo is at hand
test: lint go-test python

go-test:
	@echo "==> go vet $(PACKAGES)"
	@go vet $(PACKAGES)
	@echo "==> go test $(or $(RACE),(without -race, which needs a C compiler)) $(PACKAGES)"
	@go test $(RACE) $(PACKAGES)

## lint      check modules, proto, generated code and Go source
lint:
	@echo "==> go.mod and go.sum are tidy"
	@go mod tidy -diff || { echo '    run go mod tidy' >&2; exit 1; }
	@echo "==> buf: lint and format (the first run builds buf, about a minute)"
	@$(BUF) lint
	@$(BUF) format --diff --exit-code
	@echo "==> buf: breaking changes against main"
	@tools/breaking.sh $(BUF)
	@echo "==> generated Go is up to date"
	@tools/generated.sh $(BUF)
	@echo "==> golangci-lint (the first run builds it, about a minute)"
	@$(LINT) run $(PACKAGES)

## generate  write the Go and Python code of the proto files
generate:
	@echo "==> formatting proto and generating Go into proto/"
	@$(BUF) format --write
	@$(BUF) generate
	@echo "==> generating Python into clients/python/src/multirate/v1"
	@tools/python.sh python generate.py

## python    lint, type-check and test the Python client
python:
	@echo "==> Python: environment"
	@tools/python.sh true
	@echo "==> Python: generated code is up to date"
	@tools/python.sh python generate.py --check
	@echo "==> Python: ruff"
	@tools/python.sh ruff check --config pyproject.toml . ../../bench/python ../../examples/python
	@tools/python.sh ruff format --config pyproject.toml --check . ../../bench/python ../../examples/python
	@echo "==> Python: mypy"
	@tools/python.sh mypy
	@echo "==> Python: pytest"
	@tools/python.sh python -m pytest

## bars      measure every figure the project promises, fail where one is missed
bars:
	@echo "==> measuring the promised figures"
	@go run ./bench/bars

## bench     run the Go benchmarks
bench:
	@echo "==> running the benchmarks"
	@go test -run '^$$' -bench . -benchmem ./bench/...

## demo      train on real data through the service and compare
demo:
	@echo "==> training on real data through the service"
	@go run ./cmd/multirate train
