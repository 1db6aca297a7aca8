package reports

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
)

// The JUnit form: a suite for each target and feature. A broken MUST and a
// flaky one are failures; what could not be judged, inconclusive or error, is
// an error; what was not run is skipped with its reason. A warning passes with
// a note. Characters that XML does not have become U+FFFD.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Timestamp  string          `xml:"timestamp,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
		took       time.Duration
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name       string          `xml:"name,attr"`
		ClassName  string          `xml:"classname,attr"`
		File       string          `xml:"file,attr,omitempty"`
		Line       int             `xml:"line,attr,omitempty"`
		Time       string          `xml:"time,attr"`
		Properties []junitProperty `xml:"properties>property,omitempty"`
		Skipped    *junitSkipped   `xml:"skipped"`
		Error      *junitTrouble   `xml:"error"`
		Failure    *junitTrouble   `xml:"failure"`
		SystemOut  string          `xml:"system-out"`
	}
	junitSkipped struct {
		Message string `xml:"message,attr"`
	}
	junitTrouble struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

// junit renders junit.xml.
func junit(v *view) ([]byte, error) {
	all := junitSuites{Name: "farmspec", Time: seconds(v.Run.Took)}
	place := map[[2]string]int{}
	for i := range v.Results {
		r := &v.Results[i]
		key := [2]string{r.Target, r.Feature}
		at, ok := place[key]
		if !ok {
			at = len(all.Suites)
			place[key] = at
			all.Suites = append(all.Suites, v.junitSuite(r.Target, r.Target+": "+cmp.Or(r.Feature, "unnamed feature")))
		}
		all.Suites[at].add(junitCaseOf(r), r.Took)
	}
	if !v.Run.Complete {
		// A reader that sees only this file must not take a part for the whole.
		s := v.junitSuite("", "farmspec: the run")
		s.add(junitCase{
			Name: "The run was completed", ClassName: "farmspec", Time: seconds(v.Run.Took),
			Error:     &junitTrouble{Message: cmp.Or(v.Run.Why, "the run ended early"), Type: string(farmspec.NotRun)},
			SystemOut: "repeat: " + v.Run.Command,
		}, v.Run.Took)
		all.Suites = append(all.Suites, s)
	}
	for i := range all.Suites {
		s := &all.Suites[i]
		s.Time = seconds(s.took)
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
		all.Skipped += s.Skipped
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	e := xml.NewEncoder(&b)
	e.Indent("", " ")
	if err := e.Encode(all); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func (v *view) junitSuite(target, name string) junitSuite {
	s := junitSuite{Name: name, Timestamp: v.Run.Started.UTC().Format("2006-01-02T15:04:05")}
	add := func(name, value string) {
		if value != "" {
			s.Properties = append(s.Properties, junitProperty{name, value})
		}
	}
	add("farmspec.version", v.Tool.Version)
	add("farmspec.seed", fmt.Sprint(v.Run.Seed))
	add("farmspec.command", v.Run.Command)
	if i := slices.IndexFunc(v.Targets, func(t farmspec.TargetInfo) bool { return t.Name == target }); i >= 0 {
		t := v.Targets[i]
		add("target", t.Name)
		add("target.product", strings.TrimSpace(t.Product+" "+t.Version))
		add("target.artefact", t.Artefact)
		add("target.handoff", string(t.Handoff))
		add("target.rotation", string(t.Rotation))
		add("target.topology", string(t.Topology))
	}
	return s
}

func (s *junitSuite) add(c junitCase, took time.Duration) {
	s.Cases = append(s.Cases, c)
	s.took += took
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
}

func junitCaseOf(r *farmspec.Result) junitCase {
	c := junitCase{
		Name: cmp.Or(r.Name, r.Scenario), ClassName: r.Target + "." + r.Scenario,
		File: r.File, Line: r.Line, Time: seconds(r.Took),
		Properties: []junitProperty{
			{"scenario", r.Scenario},
			{"verdict", string(r.Verdict)},
			{"level", string(r.Level)},
			{"requirements", strings.Join(r.Requirements, " ")},
		},
	}
	reason := cmp.Or(r.Reason, word(r.Verdict))
	switch r.Verdict {
	case farmspec.Pass:
	case farmspec.Warn:
		c.SystemOut = "warning: " + reason + "\n"
	case farmspec.Fail, farmspec.Flaky:
		c.Failure = &junitTrouble{reason, string(r.Verdict), evidence(r)}
	case farmspec.Error, farmspec.Inconclusive:
		c.Error = &junitTrouble{reason, string(r.Verdict), evidence(r)}
	default:
		c.Skipped = &junitSkipped{Message: word(r.Verdict) + ": " + reason}
	}
	c.SystemOut += "repeat: " + r.Repeat
	return c
}

// evidence tells in plain text which steps and checks did not hold.
func evidence(r *farmspec.Result) string {
	var b strings.Builder
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "%-9s %s %s\n", s.Status, strings.TrimSpace(s.Keyword), s.Text)
		if s.Error != "" {
			fmt.Fprintf(&b, "          %s\n", s.Error)
		}
	}
	for _, c := range r.Checks {
		if !c.OK {
			fmt.Fprintf(&b, "%s: expected %s, got %s", c.Kind, c.Expected, c.Actual)
			if c.Exchange > 0 {
				fmt.Fprintf(&b, " (exchange %d)", c.Exchange)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}
