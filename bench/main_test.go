package main

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/farmspec/farmspec/simfarm/speed"
)

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

// A server that is installed starts, answers and is gone afterwards.
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
	for _, c := range h.servers() {
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
	all := slices.Concat(speed.Standard(), libraries(), h.servers())
	for _, g := range slices.Concat(speed.Goals(), goals()) {
		for _, name := range []string{g.Case, g.Than} {
			if name != "" && !slices.ContainsFunc(all, func(c speed.Case) bool { return c.Name == name }) {
				t.Errorf("goal %q speaks of %s, which is not measured", g.Name, name)
			}
		}
	}
}
