package features

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tagexpressions "github.com/cucumber/tag-expressions/go/v6"

	"github.com/farmspec/farmspec"
)

// UsageError is a wrong wish: an unknown ID, glob or tag, or a selection that
// selects nothing. Nothing was run.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

func usage(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// Select returns the scenarios that match any of the IDs or globs (all, when
// there are none) and the tag expression (Cucumber's: and, or, not,
// parentheses). A pattern, a tag or a whole selection that matches nothing is
// a UsageError.
func Select(all []*Scenario, patterns []string, tags string) ([]*Scenario, error) {
	selected := all
	if len(patterns) > 0 {
		selected = nil
		for _, p := range patterns {
			n := 0
			for _, s := range all {
				ok, err := farmspec.Match(p, s.ID)
				if err != nil {
					return nil, usage("select scenarios: %q is not a glob: %v", p, err)
				}
				if ok {
					n++
					if !slices.Contains(selected, s) {
						selected = append(selected, s)
					}
				}
			}
			if n == 0 {
				return nil, usage("select scenarios: nothing matches %q%s; `farmspec list` shows every ID", p, hint(p, ids(all)))
			}
		}
	}
	if tags == "" {
		return selected, nil
	}
	expr, err := parseTags(tags)
	if err != nil {
		return nil, usage("select scenarios: %v", err)
	}
	if err := knownTags(all, tags); err != nil {
		return nil, err
	}
	selected = slices.DeleteFunc(slices.Clone(selected), func(s *Scenario) bool { return !expr.Evaluate(s.Tags) })
	if len(selected) == 0 {
		return nil, usage("select scenarios: no scenario matches the tag expression %q", tags)
	}
	return selected, nil
}

// parseTags parses a tag expression. The library panics on some that end too
// early, such as "(@a or".
func parseTags(tags string) (expr tagexpressions.Evaluatable, err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("tag expression %q could not be parsed because of a syntax error", tags)
		}
	}()
	return tagexpressions.Parse(tags)
}

func knownTags(all []*Scenario, expression string) error {
	var known []string
	for _, s := range all {
		known = append(known, s.Tags...)
	}
	for _, word := range strings.FieldsFunc(expression, func(r rune) bool { return strings.ContainsRune(" ()\t", r) }) {
		if word == "and" || word == "or" || word == "not" || slices.Contains(known, word) {
			continue
		}
		return usage("select scenarios: no scenario has the tag %s%s", word, hint(word, known))
	}
	return nil
}

func ids(all []*Scenario) []string {
	var out []string
	for _, s := range all {
		out = append(out, s.ID)
	}
	return out
}

func hint(word string, known []string) string {
	if near := farmspec.Suggest(word, known); near != "" {
		return fmt.Sprintf(" (did you mean %s?)", near)
	}
	return ""
}

// planned is a case: a scenario on a target, and why it will not run if it will not.
type planned struct {
	scenario *Scenario
	target   *farmspec.Target
	verdict  farmspec.Verdict // "" where it runs
	reason   string
	wait     time.Duration // how long it waits at most, where the farm's clock cannot be moved
	tooLong  bool          // nothing but the wait keeps it from running
}

func (p *planned) id() farmspec.CaseID {
	return farmspec.CaseID{Scenario: p.scenario.ID, Target: p.target.Name}
}

// plan fixes the cases before any runs, sorted by target and then by ID.
func plan(selected []*Scenario, targets []*farmspec.Target, o *Options) []*planned {
	sorted := slices.Clone(selected)
	slices.SortFunc(sorted, func(a, b *Scenario) int { return strings.Compare(a.ID, b.ID) })
	var cases []*planned
	for _, t := range targets {
		for _, s := range sorted {
			p := &planned{scenario: s, target: t}
			if o.waiting(p) {
				p.wait = s.waits(t)
			}
			p.verdict, p.reason = applicable(p, o)
			cases = append(cases, p)
		}
	}
	return cases
}

// standardsOnly reports whether all that the scenario tests counts for the
// hardened verdict alone.
func (s *Scenario) standardsOnly() bool {
	return !slices.ContainsFunc(s.Requirements, func(id string) bool {
		q, ok := farmspec.RequirementByID(id)
		return ok && q.Profile == "claim"
	})
}

// applicable says whether the target declares what the scenario is about, and
// whether the run can see it.
func applicable(p *planned, o *Options) (farmspec.Verdict, string) {
	s, t := p.scenario, p.target
	if len(o.Standards) > 0 && !slices.Contains(o.Standards, t.Name) && s.standardsOnly() {
		return farmspec.Disabled, "only standards ask for it, and this run judges that on " + strings.Join(o.Standards, " and ")
	}
	for _, d := range []struct {
		what, has string
		wants     []string
	}{
		{"hand-off mode", string(t.Handoff), s.Modes},
		{"rotation policy", string(t.Rotation), s.Policies},
		{"topology", string(t.Topology), s.Topologies},
		{"answer to a spent token", string(t.Replay), s.Replays},
	} {
		if len(d.wants) > 0 && !slices.Contains(d.wants, d.has) {
			return farmspec.Unsupported, fmt.Sprintf("about %s %s; this target's is %s", d.what, strings.Join(d.wants, " or "), d.has)
		}
	}
	for _, f := range s.Features {
		if t.Feature(f) == farmspec.No {
			return farmspec.Unsupported, fmt.Sprintf("about a farm in which %s; this target declares that it is not so", farmspec.Features[f])
		}
	}
	if len(t.Members) < s.Members {
		return farmspec.Unsupported, fmt.Sprintf("needs %d members; this target has %d", s.Members, len(t.Members))
	}
	if order(s.Level) > order(o.Level) {
		return farmspec.Disabled, fmt.Sprintf("needs level %s; the run is limited to level %s", s.Level, o.Level)
	}
	for _, hook := range s.Needs {
		if !t.Hooks.Has(hook) {
			return farmspec.Unobservable, fmt.Sprintf("needs the %s hook (level %s), which this target does not offer", hook, farmspec.HookLevel[hook])
		}
	}
	if p.tooLong = p.wait > o.MaxWait; p.tooLong {
		return farmspec.Unobservable, fmt.Sprintf("would wait for the farm's time longer than the %v that --max-wait allows; no hook moves its clock at level %s", o.MaxWait, o.Level)
	}
	return "", ""
}

// clock reports whether the run may move the target's time.
func (o *Options) clock(t *farmspec.Target) bool {
	return order(o.Level) >= order(farmspec.White) && t.Hooks.Clock != nil
}
