// Package baseline holds what is expected of a run before it starts: the
// failures that are known, and the verdicts of an earlier run. Both are
// compared with a report and change nothing in it.
package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/farmspec/farmspec"
)

// KnownFailure is an entry of known-failures.yaml: something that is known to
// fail, why, and until when that is tolerated. The case still runs.
type KnownFailure struct {
	// Scenario and Requirement are IDs or globs; at least one is there. With a
	// scenario, each of its cases must fail; with both, each that tests the
	// requirement. With the requirement alone, the requirement must fail on
	// each target, by whichever of its cases.
	Scenario, Requirement string
	// Target is the name or a glob of target and profile; empty is every one.
	Target string
	// Reason says why it fails, and Link where that is being worked on.
	Reason, Link string
	// Expires is the last day on which the entry counts, in UTC.
	Expires time.Time
	// Message is text that the reason of each failure must contain; empty is any.
	Message string
	// Line is where the entry begins in its file, from 1.
	Line int
}

// String is the entry as messages name it.
func (k KnownFailure) String() string {
	var parts []string
	for _, p := range []string{k.Scenario, k.Requirement} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	s := strings.Join(parts, " for ")
	if k.Target != "" {
		s += " on " + k.Target
	}
	return s
}

var keys = []string{"scenario", "requirement", "target", "reason", "link", "expires", "message"}

// ParseKnown reads the text of a known-failures.yaml: a list of entries, empty
// or not. It is strict: an unknown key, one given twice, a missing one, a
// value that is no plain text, a malformed glob or date are errors, each with
// the line and, where one is near, the word that was probably meant.
func ParseKnown(text []byte) ([]KnownFailure, error) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, errors.New(yaml.FormatError(err, false, false))
	}
	var known []KnownFailure
	documents := 0
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		if documents++; documents > 1 {
			return nil, at(doc.Body, "a second document; keep all entries in one list")
		}
		sequence, ok := doc.Body.(*ast.SequenceNode)
		if !ok {
			return nil, at(doc.Body, "want a list of entries, each beginning with \"- scenario:\" or \"- requirement:\"")
		}
		for _, node := range sequence.Values {
			k, err := parseEntry(node)
			if err != nil {
				return nil, err
			}
			known = append(known, k)
		}
	}
	for i, k := range known {
		for _, other := range known[:i] {
			if k.Scenario == other.Scenario && k.Requirement == other.Requirement && k.Target == other.Target {
				return nil, fmt.Errorf("line %d: %s is listed at line %d too", k.Line, k, other.Line)
			}
		}
	}
	return known, nil
}

func at(n ast.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %s", n.GetToken().Position.Line, fmt.Sprintf(format, args...))
}

func parseEntry(node ast.Node) (KnownFailure, error) {
	var k KnownFailure
	mapping, ok := node.(*ast.MappingNode)
	if !ok {
		return k, at(node, "an entry has keys and values, such as \"scenario: rotate.old-token-refused\"")
	}
	if len(mapping.Values) == 0 {
		return k, at(node, "an empty entry")
	}
	k.Line = mapping.Values[0].Key.GetToken().Position.Line
	values := map[string]string{}
	where := map[string]ast.Node{}
	for _, pair := range mapping.Values {
		key := pair.Key.GetToken().Value
		switch _, twice := values[key]; {
		case !slices.Contains(keys, key):
			hint := ""
			if near := farmspec.Suggest(key, keys); near != "" {
				hint = fmt.Sprintf(" (did you mean %s?)", near)
			}
			return k, at(pair.Key, "unknown key %q%s; an entry has %s", key, hint, strings.Join(keys, ", "))
		case twice:
			return k, at(pair.Key, "%s is given twice", key)
		}
		value, ok := scalar(pair.Value)
		if !ok || strings.TrimSpace(value) == "" {
			return k, at(pair.Key, "%s wants text", key)
		}
		values[key], where[key] = value, pair.Key
	}
	k.Scenario, k.Requirement, k.Target = values["scenario"], values["requirement"], values["target"]
	k.Reason, k.Link, k.Message = values["reason"], values["link"], values["message"]
	if k.Scenario == "" && k.Requirement == "" {
		return k, fmt.Errorf("line %d: the entry has neither scenario nor requirement", k.Line)
	}
	for _, key := range []string{"scenario", "requirement", "target"} {
		if _, err := farmspec.Match(values[key], ""); err != nil {
			return k, at(where[key], "%s %q is not a glob", key, values[key])
		}
	}
	for _, key := range []string{"reason", "expires"} {
		if values[key] == "" {
			return k, fmt.Errorf("line %d: the entry has no %s", k.Line, key)
		}
	}
	var err error
	if k.Expires, err = time.Parse(time.DateOnly, values["expires"]); err != nil {
		return k, at(where["expires"], "expires %q is no date such as 2027-01-31", values["expires"])
	}
	return k, nil
}

// scalar is the text of a plain, quoted or block value.
func scalar(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// Unexpected is something the list of known failures does not foresee.
type Unexpected struct {
	// Line is that of the entry; zero for a failure that no entry covers.
	Line int
	What string
}

// Gate is what a run came to beside its list of known failures. It stands
// beside the verdict and never replaces it.
type Gate struct {
	// Known counts the failing cases that the list covers.
	Known int
	// Failures are the failures that it does not cover, or not with this message.
	Failures []Unexpected
	// Stale are entries that no longer hold: expired, matching nothing, or
	// matching what passes.
	Stale []Unexpected
	// Unjudged are entries that this run says nothing about: their cases were
	// not selected, ended in an error or were cut off.
	Unjudged []Unexpected
	// Exit is the code of the gated run: 1 for a failure that is not known, 64
	// for a stale entry, and otherwise what the run would end with without
	// the known failures.
	Exit int
}

// failing reports whether a verdict is one that an entry may foresee. What
// could not be asked is no known failure.
func failing(v farmspec.Verdict) bool { return v == farmspec.Fail || v == farmspec.Flaky }

// NewGate holds the report to the list. Partial says that the run was asked
// for less than everything, so that an entry that matches none of its cases
// is no news. The day on which entries expire is the day the run started, UTC.
func NewGate(known []KnownFailure, r *farmspec.Report, partial bool) Gate {
	var g Gate
	today := r.Run.Started.UTC().Truncate(24 * time.Hour)
	covered := make([]bool, len(r.Results))
	changed := make([]string, len(r.Results)) // by an entry whose message is not there
	for _, k := range known {
		add := func(list *[]Unexpected, format string, args ...any) {
			*list = append(*list, Unexpected{k.Line, fmt.Sprintf("%s %s", k, fmt.Sprintf(format, args...))})
		}
		if today.After(k.Expires) {
			add(&g.Stale, "expired on %s: %s", k.Expires.Format(time.DateOnly), k.Reason)
		}
		matched, judged := 0, 0
		requirementFails := map[string]bool{} // by requirement and target; with a scenario, by case
		var passing []string
		for i := range r.Results {
			c := &r.Results[i]
			for _, unit := range k.units(c) {
				matched++
				switch {
				case failing(c.Verdict):
					judged++
					requirementFails[unit] = true
					if strings.Contains(c.Reason, k.Message) {
						covered[i] = true
					} else if changed[i] == "" {
						changed[i] = fmt.Sprintf("; the entry at line %d expects %q in the reason", k.Line, k.Message)
					}
				case c.Verdict == farmspec.Pass, c.Verdict == farmspec.Warn:
					judged++
					if !slices.Contains(passing, unit) {
						passing = append(passing, unit)
					}
				}
			}
		}
		passing = slices.DeleteFunc(passing, func(unit string) bool { return requirementFails[unit] })
		switch {
		case matched == 0 && partial:
			add(&g.Unjudged, "is not part of this run")
		case matched == 0:
			add(&g.Stale, "matches no case")
		case judged == 0 && !partial && r.Run.Complete && notRun(k, r):
			add(&g.Stale, "matches only cases that do not run on this target")
		case judged == 0:
			add(&g.Unjudged, "was not judged: none of its cases ended in pass or fail")
		case len(passing) > 0:
			add(&g.Stale, "passes: %s; take the entry away or narrow it", strings.Join(passing, ", "))
		}
	}
	count := map[farmspec.Verdict]int{}
	for i := range r.Results {
		c := &r.Results[i]
		switch {
		case !failing(c.Verdict):
			count[c.Verdict]++
		case covered[i]:
			g.Known++
		default:
			count[c.Verdict]++
			g.Failures = append(g.Failures, Unexpected{0, fmt.Sprintf("%s on %s: %s%s", c.Scenario, c.Target, plain(c.Reason), changed[i])})
		}
	}
	switch {
	case len(g.Failures) > 0:
		g.Exit = farmspec.ExitNonconformant
	case len(g.Stale) > 0:
		g.Exit = farmspec.ExitUsage
	case !r.Run.Complete, count[farmspec.Error]+count[farmspec.Inconclusive] > 0, count[farmspec.Pass]+count[farmspec.Warn] == 0:
		g.Exit = farmspec.ExitInconclusive
	}
	return g
}

// units are what the entry expects to fail in a case: the case, or for an
// entry with a requirement alone each such requirement on the case's target.
// None if the entry does not match.
func (k KnownFailure) units(c *farmspec.Result) []string {
	if !matches(k.Target, c.Target) || !matches(k.Scenario, c.Scenario) {
		return nil
	}
	var units []string
	for _, id := range c.Requirements {
		if matches(k.Requirement, id) {
			units = append(units, id+" on "+c.Target)
		}
	}
	if k.Scenario != "" && (k.Requirement == "" || len(units) > 0) {
		return []string{c.Scenario + " on " + c.Target}
	}
	return units
}

// matches is [farmspec.Match] where the empty pattern stands for everything.
func matches(pattern, id string) bool {
	ok, err := farmspec.Match(pattern, id)
	return pattern == "" || ok && err == nil
}

// plain puts a farm's text on one line of a terminal without letting it act there.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case unicode.IsControl(c), unicode.Is(unicode.Cf, c):
			return unicode.ReplacementChar
		}
		return c
	}, s)
}

// notRun reports whether every case of the entry was left out for good.
func notRun(k KnownFailure, r *farmspec.Report) bool {
	for i := range r.Results {
		if c := &r.Results[i]; len(k.units(c)) > 0 && (c.Verdict.Ran() || c.Verdict == farmspec.NotRun) {
			return false
		}
	}
	return true
}

// Text tells the gate's outcome in lines, the file being named in them.
func (g Gate) Text(file string) string {
	var b bytes.Buffer
	list := func(title string, items []Unexpected) {
		if len(items) > 0 {
			fmt.Fprintf(&b, "%s\n", title)
		}
		for _, u := range items {
			if u.Line > 0 {
				fmt.Fprintf(&b, "  %s:%d: %s\n", file, u.Line, u.What)
			} else {
				fmt.Fprintf(&b, "  %s\n", u.What)
			}
		}
	}
	list("Failures that are not known", g.Failures)
	list("Known failures that no longer hold", g.Stale)
	list("Known failures that this run did not judge", g.Unjudged)
	meaning := map[int]string{
		farmspec.ExitConformant:    "passed",
		farmspec.ExitNonconformant: "failed: a failure is not known",
		farmspec.ExitUsage:         "failed: the list of known failures must change",
		farmspec.ExitInconclusive:  "inconclusive: a control failed, nothing passed, or the run is incomplete",
	}[g.Exit]
	fmt.Fprintf(&b, "Gate %s, exit %d: %d known, %d not known, %d stale (the report keeps the farm's own verdict)\n", meaning, g.Exit, g.Known, len(g.Failures), len(g.Stale))
	return b.String()
}
