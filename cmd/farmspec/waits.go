package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/farmspec/farmspec/features"
)

// tellWaits says before a run how long it waits, and what it leaves out
// because that would wait too long; nothing where neither is so.
func tellWaits(out io.Writer, w features.Waits, most time.Duration) error {
	if w.Cases > 0 {
		if _, err := fmt.Fprintf(out, "Waits about %v for the farm's time, %s, at most %d at once; the longest: %s, %v.\n",
			w.Total.Round(time.Second), counted(w.Cases, "scenario"), w.AtOnce, w.Longest.Scenario, w.LongestFor.Round(time.Second)); err != nil {
			return err
		}
	}
	if len(w.LeftOut) == 0 {
		return nil
	}
	var ids []string
	var longest time.Duration
	for _, c := range w.LeftOut {
		if longest = max(longest, c.For); !slices.Contains(ids, c.Scenario) {
			ids = append(ids, c.Scenario)
		}
	}
	var list strings.Builder
	column := 0
	for _, id := range ids {
		if column += len(id) + 2; column > 96 || list.Len() == 0 {
			list.WriteString("\n  ")
			column = len(id) + 2
		}
		list.WriteString(id + " ")
	}
	_, err := fmt.Fprintf(out, "--max-wait %v leaves out %s, reported as unobservable; --max-wait %v would wait for all:%s\n",
		most, counted(len(ids), "scenario"), longest.Round(time.Second)+time.Second, list.String())
	return err
}
