package baseline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/farmspec/farmspec"
)

// Schema is the version of a baseline's JSON form.
const Schema = "farmspec.baseline/v1"

// Case is a case and what it came to.
type Case struct {
	farmspec.CaseID
	Verdict farmspec.Verdict `json:"verdict"`
}

// Baseline is what each case of an earlier run came to, by scenario and target.
type Baseline struct {
	Schema string `json:"schema"`
	Cases  []Case `json:"cases"`
}

func byID(a, b Case) int {
	if c := strings.Compare(a.Scenario, b.Scenario); c != 0 {
		return c
	}
	return strings.Compare(a.Target, b.Target)
}

// Of is the baseline that a report makes.
func Of(r *farmspec.Report) Baseline {
	b := Baseline{Schema: Schema}
	for i := range r.Results {
		b.Cases = append(b.Cases, Case{r.Results[i].CaseID, r.Results[i].Verdict})
	}
	slices.SortFunc(b.Cases, byID)
	return b
}

// Marshal returns the baseline as JSON with a line for each case, so that
// version control shows each change as a line of its own.
func (b Baseline) Marshal() ([]byte, error) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "{\"schema\":%q,\"cases\":[", b.Schema)
	for i, c := range b.Cases {
		line, err := json.Marshal(c)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteByte('\n')
		text.Write(line)
	}
	text.WriteString("\n]}\n")
	return text.Bytes(), nil
}

// Parse reads a baseline strictly. One without cases is an error: it would
// find nothing wrong with anything.
func Parse(text []byte) (Baseline, error) {
	var b Baseline
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return b, fmt.Errorf("not a baseline: %w", err)
	}
	if err := d.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return b, errors.New("not a baseline: there is more after it")
	}
	if b.Schema != Schema {
		return b, fmt.Errorf("not a baseline of version %q but %q", Schema, b.Schema)
	}
	if len(b.Cases) == 0 {
		return b, errors.New("the baseline has no case")
	}
	for i, c := range b.Cases {
		if c.Scenario == "" || c.Target == "" || !slices.Contains(verdicts, c.Verdict) {
			return b, fmt.Errorf("case %d (%s on %s): %q is no verdict of a case", i+1, c.Scenario, c.Target, c.Verdict)
		}
	}
	if !slices.IsSortedFunc(b.Cases, byID) {
		return b, errors.New("the cases are not sorted; write the baseline again")
	}
	for i := 1; i < len(b.Cases); i++ {
		if b.Cases[i].CaseID == b.Cases[i-1].CaseID {
			return b, fmt.Errorf("%s on %s is there twice", b.Cases[i].Scenario, b.Cases[i].Target)
		}
	}
	return b, nil
}

var verdicts = []farmspec.Verdict{
	farmspec.Pass, farmspec.Warn, farmspec.Fail, farmspec.Flaky, farmspec.Inconclusive, farmspec.Error,
	farmspec.Unsupported, farmspec.NotOffered, farmspec.Disabled, farmspec.Unobservable, farmspec.NotRun,
}

// Change is a case whose verdict is another than before. Was is empty for a
// case that is new, and Is for one that vanished.
type Change struct {
	farmspec.CaseID
	Was, Is farmspec.Verdict
	Reason  string
}

// Delta is what changed between a baseline and a run.
type Delta struct {
	// Failures fail now and did not before, new cases included.
	Failures []Change
	// Lost passed before and were not seen to pass now.
	Lost []Change
	// Vanished are in the baseline and not in the run.
	Vanished []Change
	// Fixed passed now and did not before.
	Fixed []Change
	// New were not in the baseline and do not fail.
	New []Change
	// Other changed without getting better or worse.
	Other []Change
	// Same counts the cases with the verdict they had.
	Same int
}

// Compare tells what changed from the baseline to the report.
func Compare(b Baseline, r *farmspec.Report) Delta {
	before := map[farmspec.CaseID]farmspec.Verdict{}
	for _, c := range b.Cases {
		before[c.CaseID] = c.Verdict
	}
	reasons := map[farmspec.CaseID]string{}
	for i := range r.Results {
		reasons[r.Results[i].CaseID] = r.Results[i].Reason
	}
	var d Delta
	for _, c := range Of(r).Cases {
		was, known := before[c.CaseID]
		delete(before, c.CaseID)
		change := Change{c.CaseID, was, c.Verdict, reasons[c.CaseID]}
		switch {
		case known && was == c.Verdict:
			d.Same++
		case c.Verdict == farmspec.Fail:
			d.Failures = append(d.Failures, change)
		case !known:
			d.New = append(d.New, change)
		case was == farmspec.Pass, was == farmspec.Warn && c.Verdict != farmspec.Pass:
			d.Lost = append(d.Lost, change)
		case c.Verdict == farmspec.Pass:
			d.Fixed = append(d.Fixed, change)
		default:
			d.Other = append(d.Other, change)
		}
	}
	for _, c := range b.Cases {
		if was, gone := before[c.CaseID]; gone {
			d.Vanished = append(d.Vanished, Change{CaseID: c.CaseID, Was: was})
		}
	}
	return d
}

// Regressed reports whether anything got worse: a new failure, a pass that was
// lost, a case that vanished.
func (d Delta) Regressed() bool { return len(d.Failures)+len(d.Lost)+len(d.Vanished) > 0 }

// String tells the delta in lines, what got worse first.
func (d Delta) String() string {
	var b strings.Builder
	for _, part := range []struct {
		title   string
		changes []Change
	}{
		{"New failures", d.Failures}, {"Passes that were lost", d.Lost}, {"Vanished, which is a regression", d.Vanished},
		{"Fixed", d.Fixed}, {"Changed", d.Other}, {"New cases", d.New},
	} {
		if len(part.changes) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s (%d)\n", part.title, len(part.changes))
		for _, c := range part.changes {
			fmt.Fprintf(&b, "  %s on %s: ", c.Scenario, c.Target)
			switch {
			case c.Is == "":
				fmt.Fprintf(&b, "was %s", c.Was)
			case c.Was == "":
				b.WriteString(string(c.Is))
			default:
				fmt.Fprintf(&b, "%s → %s", c.Was, c.Is)
			}
			if c.Reason != "" {
				b.WriteString(": " + plain(c.Reason))
			}
			b.WriteByte('\n')
		}
	}
	worse := len(d.Failures) + len(d.Lost) + len(d.Vanished)
	fmt.Fprintf(&b, "%d worse, %d fixed, %d new, %d changed, %d as before\n", worse, len(d.Fixed), len(d.New), len(d.Other), d.Same)
	return b.String()
}
