package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/farmspec/farmspec/simfarm/speed"
)

func TestMain(m *testing.M) {
	if users, err := strconv.Atoi(os.Getenv(farmVariable)); err == nil {
		if err := serveFarm(users); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Every peer gives back what it was given; no time is judged.
func TestLibrariesWork(t *testing.T) {
	for _, c := range libraries() {
		t.Run(c.Name, func(t *testing.T) {
			w, err := c.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Do(40); err != nil {
				t.Error(err)
			}
		})
	}
}

// A server that is installed starts, answers and is gone afterwards; a load
// client gets pages only.
func TestServersWork(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers")
	}
	h, err := newHost()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, c := range slices.Concat(h.servers(), h.clients()) {
		t.Run(c.Name, func(t *testing.T) {
			w, err := c.Open(t.Context())
			if errors.Is(err, speed.ErrAbsent) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if r, err := w.Measure(t.Context(), 10*time.Millisecond); err != nil || r.Wall <= 0 {
				t.Errorf("measured %+v, %v", r, err)
			}
		})
	}
}

func TestGoalsNameCases(t *testing.T) {
	h := &host{}
	all := slices.Concat(speed.Standard(), libraries(), h.servers(), h.clients())
	for _, g := range slices.Concat(speed.Goals(), goals()) {
		for _, name := range []string{g.Case, g.Than} {
			if name != "" && !slices.ContainsFunc(all, func(c speed.Case) bool { return c.Name == name }) {
				t.Errorf("goal %q speaks of %s, which is not measured", g.Name, name)
			}
		}
	}
}
