# make check is what a change must pass; .ci/run does the same on a fresh clone.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME = 10s
ROUNDS = 50

.PHONY: check lint test race run mutants soak serve bench bench-peers fuzz update-goldens

check: lint race run mutants

lint:
	@files=$$(gofmt -l .); test -z "$$files" || { echo "gofmt -w $$files"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

test:
	go test ./...

race:
	go test -race ./...

run:
	go run ./cmd/farmspec run

mutants:
	go run ./cmd/farmspec mutants

# Every correct farm ROUNDS times on a busy machine, now and then with -race: no verdict may differ.
soak:
	.ci/soak $(ROUNDS)

serve:
	go run ./cmd/farmspec serve

bench:
	go test -run '^$$' -bench . -benchmem ./...

# The reference beside its peers, those that are installed included.
bench-peers:
	cd bench && go run . --time 3m

# Every fuzz target for FUZZTIME each.
fuzz:
	@set -e; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

# Rewrites the goldens of the packages that have some; review them like code.
update-goldens:
	go test $$(grep -rl --include='*_test.go' '"update"' . | xargs -n1 dirname | sort -u) -update
