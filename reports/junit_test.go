package reports

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
)

// junitShape is the JUnit form as its readers (Jenkins, GitLab, GitHub
// actions) agree on it: elements, their attributes (! is required) and their
// children.
var junitShape = map[string]struct{ attributes, children []string }{
	"":           {nil, []string{"testsuites"}},
	"testsuites": {[]string{"name", "tests!", "failures!", "errors!", "skipped", "time"}, []string{"testsuite"}},
	"testsuite":  {[]string{"name!", "tests!", "failures!", "errors!", "skipped", "time", "timestamp", "hostname", "id", "package"}, []string{"properties", "testcase", "system-out", "system-err"}},
	"properties": {nil, []string{"property"}},
	"property":   {[]string{"name!", "value!"}, nil},
	"testcase":   {[]string{"name!", "classname!", "time!", "file", "line", "assertions", "status"}, []string{"properties", "skipped", "error", "failure", "system-out", "system-err"}},
	"skipped":    {[]string{"message"}, nil},
	"error":      {[]string{"message", "type!"}, nil},
	"failure":    {[]string{"message", "type!"}, nil},
	"system-out": {nil, nil},
	"system-err": {nil, nil},
}

type junitNode struct {
	name       string
	attributes map[string]string
	text       string
	children   []*junitNode
}

func (n *junitNode) all(name string) []*junitNode {
	var list []*junitNode
	for _, c := range n.children {
		if c.name == name {
			list = append(list, c)
		}
	}
	return list
}

// decodeJUnit reads the file strictly and checks shape and sums.
func decodeJUnit(t *testing.T, text []byte) *junitNode {
	t.Helper()
	root := &junitNode{}
	stack := []*junitNode{root}
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("junit.xml: %v", err)
		}
		top := stack[len(stack)-1]
		switch token := token.(type) {
		case xml.StartElement:
			n := &junitNode{name: token.Name.Local, attributes: map[string]string{}}
			if !slices.Contains(junitShape[top.name].children, n.name) {
				t.Errorf("junit.xml: <%s> inside <%s>", n.name, top.name)
			}
			for _, a := range token.Attr {
				n.attributes[a.Name.Local] = a.Value
				if s := junitShape[n.name].attributes; !slices.Contains(s, a.Name.Local) && !slices.Contains(s, a.Name.Local+"!") {
					t.Errorf("junit.xml: <%s> has the attribute %s", n.name, a.Name.Local)
				}
			}
			for _, a := range junitShape[n.name].attributes {
				if name, must := strings.CutSuffix(a, "!"); must {
					if _, there := n.attributes[name]; !there {
						t.Errorf("junit.xml: <%s> has no attribute %s", n.name, name)
					}
				}
			}
			top.children = append(top.children, n)
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(token)
		}
	}
	if len(root.children) != 1 {
		t.Fatalf("junit.xml has %d roots", len(root.children))
	}
	suites := root.children[0]
	var sum [4]int
	for _, s := range suites.all("testsuite") {
		var got [4]int
		for _, c := range s.all("testcase") {
			got[0]++
			outcomes := 0
			for i, kind := range []string{"failure", "error", "skipped"} {
				n := len(c.all(kind))
				got[i+1] += n
				outcomes += n
			}
			if outcomes > 1 {
				t.Errorf("junit.xml: %s has %d outcomes", c.attributes["name"], outcomes)
			}
		}
		for i, name := range []string{"tests", "failures", "errors", "skipped"} {
			if s.attributes[name] != strconv.Itoa(got[i]) {
				t.Errorf("junit.xml: suite %s says %s=%s and has %d", s.attributes["name"], name, s.attributes[name], got[i])
			}
			sum[i] += got[i]
		}
	}
	for i, name := range []string{"tests", "failures", "errors", "skipped"} {
		if suites.attributes[name] != strconv.Itoa(sum[i]) {
			t.Errorf("junit.xml: all suites say %s=%s and have %d", name, suites.attributes[name], sum[i])
		}
	}
	return suites
}

func TestJUnitTellsEveryVerdict(t *testing.T) {
	r := fixture(1)
	suites := decodeJUnit(t, write(t, r)[JUnitFile])
	byClass := map[string]*junitNode{}
	names := map[string]bool{}
	for _, s := range suites.all("testsuite") {
		names[s.attributes["name"]] = true
		for _, c := range s.all("testcase") {
			byClass[c.attributes["classname"]] = c
		}
	}
	want := map[farmspec.Verdict]string{
		farmspec.Pass: "", farmspec.Warn: "", farmspec.Fail: "failure", farmspec.Flaky: "failure", farmspec.Error: "error", farmspec.Inconclusive: "error",
		farmspec.NotRun: "skipped", farmspec.Unobservable: "skipped", farmspec.Unsupported: "skipped", farmspec.NotOffered: "skipped", farmspec.Disabled: "skipped",
	}
	seen := map[farmspec.Verdict]bool{}
	for _, x := range r.Results {
		seen[x.Verdict] = true
		c := byClass[x.Target+"."+x.Scenario]
		if c == nil {
			t.Errorf("%v is not there", x.CaseID)
			continue
		}
		if !names[x.Target+": "+x.Feature] {
			t.Errorf("no suite for %s and %s", x.Target, x.Feature)
		}
		got := ""
		for _, kind := range []string{"failure", "error", "skipped"} {
			for _, n := range c.all(kind) {
				got = kind
				if !strings.Contains(n.attributes["message"], x.Reason) {
					t.Errorf("%v: message %q lacks the reason %q", x.CaseID, n.attributes["message"], x.Reason)
				}
			}
		}
		if got != want[x.Verdict] {
			t.Errorf("%v: %s is <%s>, want <%s>", x.CaseID, x.Verdict, got, want[x.Verdict])
		}
		out := c.all("system-out")
		if len(out) != 1 || !strings.Contains(out[0].text, x.Repeat) {
			t.Errorf("%v: no repeat command in system-out", x.CaseID)
		}
		if x.Verdict == farmspec.Warn && !strings.Contains(out[0].text, x.Reason) {
			t.Errorf("%v: the warning is not noted", x.CaseID)
		}
	}
	for v := range want {
		if !seen[v] {
			t.Errorf("the fixture has no case with verdict %s", v)
		}
	}
	if !names["farmspec: the run"] {
		t.Error("an incomplete run looks complete")
	}
	r.Run.Complete = true
	if bytes.Contains(write(t, r)[JUnitFile], []byte("the run was completed")) {
		t.Error("a complete run has the suite of an incomplete one")
	}
}
