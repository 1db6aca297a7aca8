package reports

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/farmspec/farmspec"
)

// fixtureMatrix has every state, every kind of cell, and pairs that mask in
// each way.
func fixtureMatrix() *farmspec.Matrix {
	return &farmspec.Matrix{
		Schema: farmspec.MatrixSchema, Command: "farmspec mutants --level G --seed 7", Tool: farmspec.Tool{Version: "v0.4.0", Commit: "0123456789abcdef", Features: strings.Repeat("ab", 32)},
		Took: 41250 * time.Millisecond, Seed: 7, Level: farmspec.Grey,
		Scenarios: []farmspec.MatrixScenario{
			{ID: "rotate.old-token-refused", Name: "A token that has been replaced is refused", Requirements: []string{"WF-4.1"}, Kills: 2},
			{ID: "rotate.race/two", Name: "Two servers and one token", Requirements: []string{"WF-4.3"}, Kills: 1},
			{ID: "rotate.race/three", Name: "Three servers and one token", Requirements: []string{"WF-4.3"}},
			{ID: "time.idle-limit", Name: "A session that was idle too long has ended", Requirements: []string{"WF-7.1"}, Kills: 1},
			{ID: "time.absolute", Name: "A session ends whatever its use", Requirements: []string{"AJ-2.8"}},
		},
		Faults: []farmspec.FaultResult{
			{ID: "F1", Name: "The old token stays good", Violates: []string{"WF-4.1"}, Convicts: []string{"rotate.old-token-refused"}, Level: farmspec.Black, Precedent: "CVE-0000-0001", Target: "reference/sealed+strict", State: farmspec.Killed, KilledBy: []string{"rotate.old-token-refused", "time.idle-limit"}, Reason: "Ada's old token was accepted by server 2."},
			{ID: "F2", Name: "Two tokens win a race", Violates: []string{"WF-4.3"}, Convicts: []string{"rotate.race", "time.absolute"}, Level: farmspec.Grey, Target: "reference/sealed+strict", State: farmspec.Killed, KilledBy: []string{"rotate.race/two"}},
			{ID: "F3", Name: "The time-out is off by one", Violates: []string{"WF-7.1"}, Convicts: []string{"time.idle-limit"}, Level: farmspec.Black, Target: "reference/sealed+strict", State: farmspec.KilledByOthers, Why: "none of the scenarios named for it says fail", KilledBy: []string{"rotate.old-token-refused"}},
			{ID: "F4", Name: "Sessions never end", Violates: []string{"AJ-2.8"}, Convicts: []string{"time.absolute"}, Level: farmspec.Black, Target: "reference/claimed+strict", State: farmspec.Survived},
			{ID: "F5", Name: "<script>alert(1)</script> in the row", Violates: []string{"WF-11.1"}, Convicts: []string{"time.absolute"}, Level: farmspec.White, Target: "reference/sealed+strict", State: farmspec.Equivalent, Why: "it takes level W to tell it from a sound farm"},
		},
		Pairs: []farmspec.PairResult{
			{First: "F1", Second: "F2", Killed: true},
			{First: "F1", Second: "F3", Masked: []string{"F1"}, Killed: true},
			{First: "F2", Second: "F3", Masked: []string{"F3"}},
			{First: "F3", Second: "F4", Masked: []string{"F3", "F4"}},
		},
		Unproven: []string{"WF-7.1", "AJ-2.8"},
	}
}

func TestWriteMatrix(t *testing.T) {
	dir, m := filepath.Join(t.TempDir(), "new"), fixtureMatrix()
	files, err := WriteMatrix(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{filepath.Join(dir, "mutants.json"), filepath.Join(dir, "mutants.html")}, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	back, err := ReadMatrix(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	page, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	for want, why := range map[string]string{
		`<td class="e n" title="F1: rotate.old-token-refused convicts it and is named for it"`: "a kill by the named scenario",
		`<td class="e o" title="F1: time.idle-limit convicts it too"`:                          "a kill by another",
		`<td class="m" title="F2: time.absolute is named for it and does not convict it"`:      "a named scenario that is silent",
		`<td class="n" title="F2: rotate.race/two convicts it and is named for it"`:            "an outline's name stands for its rows",
		"2 of 4": "equivalent faults do not count",
		"F3 hides F1; the pair is still convicted":              "a pair that masks one",
		"F2 hides F3, and nothing convicts the pair":            "a pair that masks all there was",
		"each hides the other: nothing convicts the pair":       "a pair that masks both",
		"&lt;script&gt;alert(1)&lt;/script&gt; in the row":      "names are text",
		"default-src 'none'":                                    "no network",
		`id="s-rotate.race/three"`:                              "the lists say what the grid shows",
		"none of the scenarios named for it says fail; named":   "why",
		"Exit code 1, the judge is not proven":                  "what the exit code is",
		`<option value="2 4">rotate (3)</option>`:               "columns by subject",
		`data-f="F5"><th scope="row" title="F5 &lt;script&gt;a`: "titles are escaped",
	} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page does not hold %q (%s)", want, why)
		}
	}
	if bytes.Contains(page, []byte("rotate.race/three is named")) {
		t.Error("a row is called silent though another of its outline convicts")
	}
	if bytes.Contains(page, []byte("<script>alert")) {
		t.Error("a fault's name acts in the page")
	}
	if n := bytes.Count(page, []byte("<td")); n != len(m.Faults)*len(m.Scenarios) {
		t.Errorf("%d cells, want %d", n, len(m.Faults)*len(m.Scenarios))
	}
	again, err := renderMatrix(fixtureMatrix(), theCatalogue())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again[0].content[0], page) {
		t.Error("the same matrix gives another page")
	}
}

// An empty matrix is written with every list there, so that it can be read.
func TestWriteEmptyMatrix(t *testing.T) {
	files, err := WriteMatrix(t.TempDir(), &farmspec.Matrix{Level: farmspec.White, Tool: farmspec.Tool{Version: "devel"}})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := ReadMatrix(files[0]); err != nil || len(m.Faults) != 0 {
		t.Errorf("read back %v, %v", m, err)
	}
}

func TestReadMatrixIsStrict(t *testing.T) {
	files, err := renderMatrix(fixtureMatrix(), theCatalogue())
	if err != nil {
		t.Fatal(err)
	}
	good := string(files[1].content[0])
	if _, err := parseMatrix([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, old, new, want string }{
		{"cut", good[len(good)/2:], "", "ends early"},
		{"other file", "farmspec.mutants/v1", "farmspec.results/v1", `unknown version "farmspec.results/v1"`},
		{"unknown key", `"seed": 7,`, `"seed": 7, "sead": 8,`, "sead"},
		{"missing key", `"seed": 7,`, "", "seed"},
		{"unknown state", `"survived"`, `"escaped"`, "breaks the schema"},
		{"killed by none", `"state": "survived"`, `"state": "killed"`, `fault F4 is "killed"`},
		{"count of kills", `"kills": 2`, `"kills": 3`, "has 3 kills by its own count and 2"},
		{"unknown scenario", `"rotate.race/two"` + "\n   ]", `"rotate.rice/two"` + "\n   ]", "is no scenario of the matrix"},
		{"fault twice", `"id": "F4"`, `"id": "F1"`, "fault F1 is there twice"},
		{"unknown pair", `"second": "F4"`, `"second": "F9"`, "F9, which is no fault"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !strings.Contains(good, tc.old) {
				t.Fatalf("the file holds no %q", tc.old)
			}
			_, err := parseMatrix([]byte(strings.Replace(good, tc.old, tc.new, 1)))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
	m := fixtureMatrix()
	m.Scenarios[0].Kills = 9
	if _, err := WriteMatrix(t.TempDir(), m); err == nil {
		t.Error("a matrix that could not be read back was written")
	}
}

func TestClosingMatrix(t *testing.T) {
	var plain bytes.Buffer
	if err := closingMatrix(&plain, newMatrixView(fixtureMatrix(), fixtureCatalogue()), Terminal{}, []string{"mut/mutants.json", "mut/mutants.html"}); err != nil {
		t.Fatal(err)
	}
	golden(t, "closing-matrix.txt", plain.Bytes())
	for _, width := range []int{60, 80, 200} {
		var b bytes.Buffer
		if err := ClosingMatrix(&b, fixtureMatrix(), Terminal{Width: width, TTY: true, Color: true}); err != nil {
			t.Fatal(err)
		}
		text := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(strings.TrimPrefix(b.String(), "\r\x1b[K"), "")
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > max(min(width, 100), 80) {
				t.Errorf("width %d: %d columns: %s", width, n, line)
			}
		}
	}
}

func TestCounter(t *testing.T) {
	var b bytes.Buffer
	now := time.Unix(0, 0)
	tick := func() time.Time { now = now.Add(time.Second); return now }
	c := NewCounter(&b, Terminal{Every: 2, Now: tick}, "faults", 5)
	for i := range 5 {
		c.Done(i != 1)
	}
	c.Close()
	want := "5 faults\n2 of 5 faults, 1 amiss, about 2 s left\n4 of 5 faults, 1 amiss, about 1 s left\n"
	if got := strings.ReplaceAll(b.String(), ".00 s", " s"); got != want {
		t.Errorf("plain (-want +got):\n%s", cmp.Diff(want, got))
	}
	b.Reset()
	c = NewCounter(&b, Terminal{TTY: true, Width: 40, Now: tick}, "faults", 3)
	c.Done(true)
	c.Done(false)
	if text := b.String(); !strings.Contains(text, "1/3 faults") || !strings.Contains(text, "2/3 faults, 1 amiss") {
		t.Errorf("on a terminal: %q", text)
	}
	c.Done(true)
	if c.live || !strings.HasSuffix(b.String(), "\r\x1b[K") {
		t.Error("the live line stays after the last")
	}
}

// largeMatrix is as large as the matrix is ever meant to get.
func largeMatrix() *farmspec.Matrix {
	m := fixtureMatrix()
	m.Faults, m.Pairs, m.Scenarios = nil, nil, nil
	subjects := []string{"ending", "handoff", "pages", "rotate", "service", "sessions", "timeout", "verify"}
	for i := range 120 {
		m.Scenarios = append(m.Scenarios, farmspec.MatrixScenario{
			ID: fmt.Sprintf("%s.the-scenario-of-number-%03d", subjects[i/15], i), Name: fmt.Sprintf("Scenario %d does what it says", i), Requirements: []string{"WF-4.1"},
		})
	}
	for i := range 200 {
		f := farmspec.FaultResult{
			ID: fmt.Sprintf("M%03d", i), Name: fmt.Sprintf("Part %d of the farm does what it must not do", i), Violates: []string{"WF-4.1", "AJ-3.4"},
			Convicts: []string{m.Scenarios[i*119/200].ID}, Level: farmspec.Black, Target: "reference/sealed+strict+shared-domain", State: farmspec.Killed,
		}
		for j := range m.Scenarios {
			if j == i*119/200 || (i*7+j*13)%17 == 0 && j%9 != 0 {
				f.KilledBy = append(f.KilledBy, m.Scenarios[j].ID)
				m.Scenarios[j].Kills++
			}
		}
		m.Faults = append(m.Faults, f)
	}
	return m
}

func TestMatrixPageInABrowser(t *testing.T) {
	b := openBrowser(t)
	files, err := WriteMatrix(t.TempDir(), largeMatrix())
	if err != nil {
		t.Fatal(err)
	}
	page := (&url.URL{Scheme: "file", Path: files[1]}).String()
	for _, width := range []int64{390, 1280} {
		b.size(width)
		b.do(chromedp.Navigate(page))
		b.run(`document.querySelectorAll('details').forEach((d, i) => { d.open = i < 20 })`)
		if n := ask[int](b, overflow); n > 0 {
			t.Errorf("%d wide: the page overflows by %d", width, n)
		}
		// The headers stay while the matrix scrolls both ways.
		stays := `(() => {
			const box = document.querySelector('.mx-box'), head = document.querySelector('.mx thead th:nth-child(90)'), row = document.querySelector('.mx tbody tr:nth-child(150) th');
			box.scrollTo(800, 2000);
			const b = box.getBoundingClientRect();
			return box.scrollLeft > 300 && box.scrollTop > 500 && Math.abs(head.getBoundingClientRect().top - b.top) < 3 && Math.abs(row.getBoundingClientRect().left - b.left) < 3;
		})()`
		if !ask[bool](b, stays) {
			t.Errorf("%d wide: the headers leave with the matrix", width)
		}
	}
	b.run(`document.querySelector('.mx tbody tr:nth-child(3) td:nth-child(5)').dispatchEvent(new MouseEvent('mouseover', {bubbles: true}))`)
	if got := ask[string](b, `document.querySelector('.readout').textContent`); !strings.HasPrefix(got, "M002 ") || !strings.HasSuffix(got, "ending.the-scenario-of-number-003") {
		t.Errorf("the cell under the pointer reads %q", got)
	}
	b.run(`(() => { const f = document.getElementById('mfilter'); f.elements.q.value = 'M01'; f.elements.c.selectedIndex = 2; f.dispatchEvent(new Event('input')); })()`)
	for expression, want := range map[string]int{
		`[...document.querySelectorAll('.mx tbody tr')].filter((e) => e.checkVisibility()).length`:     10,
		`[...document.querySelectorAll('.fault')].filter((e) => e.checkVisibility()).length`:           10,
		`[...document.querySelectorAll('.mx thead th')].filter((e) => e.checkVisibility()).length`:     16,
		`[...document.querySelectorAll('[data-f=M015] td')].filter((e) => e.checkVisibility()).length`: 15,
	} {
		if got := ask[int](b, expression); got != want {
			t.Errorf("%s = %d, want %d", expression, got, want)
		}
	}
	// A link to a fault that the filter hides shows and opens it.
	b.run(`location.hash = 'f-M150'`)
	b.shown("[id='f-M150'] .body")
	b.quiet(page)
}
