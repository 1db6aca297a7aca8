package reports

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/farmspec/farmspec"
)

// single builds a report about one target of the fixture: its cases, and
// a ledger that follows from them.
func single(target int, change func(*farmspec.Report)) *farmspec.Report {
	r := ByTarget(fixture(1))[target]
	if change != nil {
		change(r)
	}
	by := map[string][]farmspec.Result{}
	for _, x := range r.Results {
		for _, q := range x.Requirements {
			by[q] = append(by[q], x)
		}
	}
	r.ClaimConformant = farmspec.Pass
	ledger := make([]farmspec.RequirementResult, 0, len(r.Requirements))
	for _, q := range r.Requirements {
		if cases := by[q.ID]; len(cases) > 0 {
			q = farmspec.RequirementResult{ID: q.ID, Levels: map[farmspec.Level]farmspec.Verdict{}}
			for i, x := range cases {
				if i == 0 || farmspec.Worst(q.Verdict, x.Verdict) != q.Verdict {
					q.Verdict, q.Reason = x.Verdict, x.Reason
				}
				if was, ok := q.Levels[x.Level]; !ok || farmspec.Worst(was, x.Verdict) != was {
					q.Levels[x.Level] = x.Verdict
				}
			}
		}
		if q.Verdict == farmspec.Fail {
			r.ClaimConformant = farmspec.Fail
		}
		ledger = append(ledger, q)
	}
	r.Requirements = ledger
	return r
}

// vendor turns a report into one of another product, which has its own
// addresses and cookies and refuses with another status.
func vendor(r *farmspec.Report) {
	r.Tool.Features = strings.Repeat("77aa", 16)
	r.Targets = slices.Clone(r.Targets)
	t := &r.Targets[0]
	t.Name, t.Product, t.Version = "shop", "Shop <b>5</b>", "5.1"
	for i := range r.Results {
		x := &r.Results[i]
		x.Target = "shop"
		r.Plan[i].Target = "shop"
		x.Exchanges = slices.Clone(x.Exchanges)
		for j := range x.Exchanges {
			e := &x.Exchanges[j]
			e.URL = strings.ReplaceAll(strings.Replace(e.URL, "/orders", "/shop/orders;jsessionid=#abc", 1), "handoff=#Zq81", "sso=#Zq99")
			if e.Status == 401 {
				e.Status = 403
			}
		}
	}
}

func fixtureComparison(t *testing.T) *Comparison {
	t.Helper()
	sound := func(r *farmspec.Report) { r.Run.Complete, r.Run.Why = true, "" }
	c, err := compare([]Compared{
		{"sealed/results.json", single(0, sound)},
		{"claimed/results.json", single(1, sound)},
		{"shop/results.json", single(2, vendor)},
	}, fixtureCatalogue())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompareRows(t *testing.T) {
	c := fixtureComparison(t)
	rows := map[string]ComparedRequirement{}
	for _, row := range c.Requirements {
		rows[row.ID] = row
	}
	for _, tc := range []struct {
		id   string
		want Difference
		why  string
	}{
		{"WF-4.1", ByVerdict, "B fails where A and C pass"},
		{"WF-1.3", ByVerdict, "C was inconclusive, which is an observation and no pass"},
		{"WF-9.1", ByCoverage, "only B offers what it asks"},
		{"AJ-3.5", Alike, "all pass"},
		{"WF-5.1", Alike, "nobody was observed, for the same reason"},
	} {
		if got := rows[tc.id].Difference; got != tc.want {
			t.Errorf("%s differs by %q, want %q (%s)", tc.id, got, tc.want, tc.why)
		}
	}
	if got := c.Requirements[0].ID; got != "WF-1.1" {
		t.Errorf("the first row is %s; rows keep the order of the catalogue", got)
	}
	first := c.Differing()
	if !slices.IsSortedFunc(first, func(a, b ComparedRequirement) int { return weight(a) - weight(b) }) || first[0].Difference != ByVerdict {
		t.Error("differences of verdict do not come first")
	}
}

func TestDifferingByLevel(t *testing.T) {
	pass, fail, warn := farmspec.Pass, farmspec.Fail, farmspec.Warn
	at := func(b, w farmspec.Verdict) ComparedCell {
		return ComparedCell{Verdict: farmspec.Worst(b, w), Levels: map[farmspec.Level]farmspec.Verdict{farmspec.Black: b, farmspec.White: w}}
	}
	for _, tc := range []struct {
		name   string
		a, b   ComparedCell
		want   Difference
		levels string
		why    string
	}{
		{"same", at(pass, pass), at(pass, pass), Alike, "", "nothing differs"},
		{"swapped", at(pass, fail), at(fail, pass), ByLevel, "BW", "both fail, and not at the same level"},
		{"one", at(pass, pass), at(pass, fail), ByVerdict, "", "level W says what the verdict says"},
		{"within", at(warn, pass), at(warn, fail), ByVerdict, "W", "the reference's W passes and its verdict is a warning"},
		{"unseen", at(pass, pass), at(pass, farmspec.Unobservable), Alike, "", "a level without observation does not contradict one with"},
	} {
		got, levels := differing([]ComparedCell{tc.a, tc.b})
		s := ""
		for _, l := range levels {
			s += string(l)
		}
		if got != tc.want || s != tc.levels {
			t.Errorf("%s: %s at %q, want %s at %q (%s)", tc.name, got, s, tc.want, tc.levels, tc.why)
		}
	}
}

func TestAFailureCountsWhereTheReferenceWasNotSeen(t *testing.T) {
	row := func(id string, d Difference, verdicts ...farmspec.Verdict) ComparedRequirement {
		q := ComparedRequirement{ID: id, Difference: d}
		for _, v := range verdicts {
			q.Cells = append(q.Cells, ComparedCell{Verdict: v})
		}
		return q
	}
	c := &Comparison{Requirements: []ComparedRequirement{
		row("same", Alike, farmspec.Fail, farmspec.Fail), row("offered", ByCoverage, farmspec.Pass, farmspec.Unsupported),
		row("seen", ByCoverage, farmspec.Unobservable, farmspec.Fail), row("split", ByVerdict, farmspec.Pass, farmspec.Fail),
	}}
	ids := func(rows []ComparedRequirement) (ids []string) {
		for _, q := range rows {
			ids = append(ids, q.ID)
		}
		return ids
	}
	if diff := cmp.Diff([]string{"split", "seen", "offered"}, ids(c.Differing())); diff != "" {
		t.Errorf("what differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"split", "seen"}, ids(c.contested())); diff != "" {
		t.Errorf("what is told with reasons (-want +got):\n%s", diff)
	}
}

func TestCompareMarksWhatIsUnlike(t *testing.T) {
	c := fixtureComparison(t)
	if diff := cmp.Diff([]string{"hand-off", "topology", "levels"}, c.Implementations[1].Unlike); diff != "" {
		t.Errorf("B is unlike A in (-want +got):\n%s", diff)
	}
	if got := c.Implementations[2].Unlike; !slices.Contains(got, "features") || !slices.Contains(got, "rotation") || !slices.Contains(got, "spent token") {
		t.Errorf("C is unlike A in %q", got)
	}
	if len(c.Warnings) != 2 || !strings.Contains(c.Warnings[0], "A, B by 9b1d") || !strings.HasPrefix(c.Warnings[1], "C is an incomplete run: Interrupted after 32") {
		t.Errorf("warnings: %q", c.Warnings)
	}
	if got := c.Implementations[1].Sentence; !strings.Contains(got, "fails 2 (WF-4.1, WF-4.2)") {
		t.Errorf("B in words: %s", got)
	}
	if _, err := Compare(Compared{"a", fixture(1)}); err == nil {
		t.Error("one implementation was compared with nothing")
	}
}

func TestCompareMerged(t *testing.T) {
	c, err := compare([]Compared{{"a", fixture(1)}, {"b", single(0, nil)}}, fixtureCatalogue())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(c.Scenarios, func(s ComparedScenario) bool { return s.ID == "rotate.old-token-refused" })
	if x := c.Scenarios[i].Cases[0]; x.Verdict != farmspec.Fail || x.Target != fixtureTargets[1].Name {
		t.Errorf("of three profiles the case is %s on %s; want the failing one", x.Verdict, x.Target)
	}
	if got := c.Implementations[0].Name; got != "farmspec reference farm 0.2.0 (3 profiles)" {
		t.Errorf("the merged implementation is called %q", got)
	}
	if u := c.Unlike[0]; u.Property != "hand-off" || u.Values[0] != "sealed, claimed" {
		t.Errorf("hand-offs of merged profiles: %+v", u)
	}
}

func TestByTargetLosesNothing(t *testing.T) {
	whole := fixture(1)
	n := 0
	for i, part := range ByTarget(whole) {
		n += len(part.Results)
		if err := checkPlan(part); err != nil || len(part.Targets) != 1 || part.Targets[0].Name != fixtureTargets[i].Name {
			t.Errorf("part %d: %v, targets %v", i, err, part.Targets)
		}
	}
	if n != len(whole.Results) {
		t.Errorf("the parts have %d results, the whole %d", n, len(whole.Results))
	}
}

func TestPathShape(t *testing.T) {
	for _, tc := range []struct{ address, want, why string }{
		{"http://s1.farm.test:80/a?x=#d&y=2#top", "/a?x=…&y=…", "host and values differ from run to run"},
		{"/orders;jsessionid=#abc/x?z", "/orders;jsessionid=…/x?z", "a path parameter may carry the token"},
		{"https://farm.test", "/", "no path is the root"},
		{"http://[::1", "an address that cannot be read", "what a farm sent may be anything"},
		{"/a\x1b[31m", "an address that cannot be read", "controls are no address"},
	} {
		if got := pathShape(tc.address); got != tc.want {
			t.Errorf("pathShape(%q) = %q, want %q (%s)", tc.address, got, tc.want, tc.why)
		}
	}
}

func TestCookieShape(t *testing.T) {
	began := time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
	for _, tc := range []struct{ line, want, why string }{
		{"sid=#abc; Path=/; HttpOnly", "sid=…; Path=/; HttpOnly", "a value differs from run to run"},
		{"sid=; Max-Age=0", "sid=; Max-Age=0", "no value is telling"},
		{"sid=#a; expires=Sun, 22 Nov 2026 10:00:00 GMT", "sid=…; expires=…", "so does a date to come"},
		{"sid=#a; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "sid=…; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "a date that is past takes the cookie away"},
		{"#abc", "…", "a line without a name is all value"},
	} {
		if got := cookieShape(tc.line, began); got != tc.want {
			t.Errorf("cookieShape(%q) = %q, want %q (%s)", tc.line, got, tc.want, tc.why)
		}
	}
}

func TestBeside(t *testing.T) {
	x := func(n int, step, browser, method, path string, status int) ComparedExchange {
		return ComparedExchange{N: n, Step: step, Browser: browser, Method: method, Path: path, Status: status}
	}
	ref := []ComparedExchange{
		x(1, "log in", "Ada", "GET", "/login", 200), x(2, "log in", "Ada", "POST", "/login", 303), x(3, "log in", "Ada", "GET", "/", 200),
		x(4, "visit", "Ada", "GET", "/page", 200),
	}
	this := []ComparedExchange{
		x(1, "log in", "Ada", "POST", "/login", 200), x(2, "log in", "Ada", "GET", "/", 200),
		x(3, "visit", "Mallory", "GET", "/page", 200), x(4, "visit", "Ada", "GET", "/account", 401),
	}
	want := []ExchangePair{
		{Reference: 1}, {2, 1, []string{"status"}}, {3, 2, nil},
		{This: 3}, {4, 4, []string{"path", "status"}},
	}
	if diff := cmp.Diff(want, beside(ref, this)); diff != "" {
		t.Errorf("pairs (-want +got):\n%s", diff)
	}
	if got := beside(nil, nil); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

func TestComparisonGoldens(t *testing.T) {
	c := fixtureComparison(t)
	keep := []string{"rotate.old-token-refused", "handoff.token-in-url"}
	c.Scenarios = slices.DeleteFunc(c.Scenarios, func(s ComparedScenario) bool { return !slices.Contains(keep, s.ID) })
	text, err := c.JSON()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "compare.json", text)
	golden(t, "compare.md", c.Markdown(false))
	var b bytes.Buffer
	if err := c.Table(&b, Terminal{}, false); err != nil {
		t.Fatal(err)
	}
	golden(t, "compare.txt", b.Bytes())
	var back Comparison
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c.Requirements, back.Requirements); diff != "" {
		t.Errorf("the JSON reads back as (-want +got):\n%s", diff)
	}
	again, err := fixtureComparison(t).Page()
	if err != nil {
		t.Fatal(err)
	}
	if page, err := fixtureComparison(t).Page(); err != nil || !bytes.Equal(page, again) {
		t.Errorf("the page is not the same bytes each time (%v)", err)
	}
	// A secret's digest has no business here either: runs salt differently.
	for _, s := range []string{"#k9Qz", "#Zq81", "#abc"} {
		for name, text := range map[string][]byte{"JSON": text, "Markdown": c.Markdown(true), "page": again} {
			if bytes.Contains(text, []byte(s)) {
				t.Errorf("%s shows %s", name, s)
			}
		}
	}
}

func TestComparisonTableFits(t *testing.T) {
	for _, n := range []int{2, 3, 5, 12} {
		var runs []Compared
		for i := range n {
			runs = append(runs, Compared{"results.json", single(i%3, nil)})
		}
		c, err := compare(runs, fixtureCatalogue())
		if err != nil {
			t.Fatal(err)
		}
		for _, width := range []int{60, 80, 200} {
			var b bytes.Buffer
			if err := c.Table(&b, Terminal{Width: width, Color: true}, true); err != nil {
				t.Fatal(err)
			}
			text := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(b.String(), "")
			for line := range strings.Lines(text) {
				if k := utf8.RuneCountInString(strings.TrimRight(line, "\n")); k > max(min(width, 100), 80) {
					t.Errorf("%d implementations, width %d: %d columns: %s", n, width, k, line)
				}
			}
			if !strings.Contains(text, "WF-5.1") {
				t.Errorf("%d implementations: the table of all rows lacks one that is alike", n)
			}
		}
	}
	if got := label(0) + label(25) + label(26) + label(701) + label(702); got != "AZAAZZAAA" {
		t.Errorf("labels: %s", got)
	}
}

func TestComparisonPageInABrowser(t *testing.T) {
	b := openBrowser(t)
	c := fixtureComparison(t)
	c.Scenarios[0].Name = `</script><script>document.title="acted"</script>`
	text, err := c.Page()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "compare.html")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	page := (&url.URL{Scheme: "file", Path: file}).String()
	visible := func(selector string) int {
		return ask[int](b, `[...document.querySelectorAll('`+selector+`')].filter((e) => e.checkVisibility()).length`)
	}
	for _, width := range []int64{390, 1280} {
		b.size(width)
		b.do(chromedp.Navigate(page))
		b.run(`document.querySelectorAll('details').forEach((d, i) => { d.open = true })`)
		if n := ask[int](b, overflow); n > 0 {
			t.Errorf("%d wide: the page overflows by %d", width, n)
		}
		if got, want := visible("#cmatrix tr[data-r]"), len(c.Differing()); got != want || visible(".creq") != want {
			t.Errorf("%d wide: %d rows to begin with, want the %d that differ", width, got, want)
		}
		b.run(`(() => { const f = document.getElementById('cfilter'); f.elements.d.value = ''; f.dispatchEvent(new Event('input')); })()`)
		if got, want := visible("#cmatrix tr[data-r]"), len(c.Requirements); got != want {
			t.Errorf("%d wide: %d rows of all, want %d", width, got, want)
		}
		stays := `(() => {
			const box = document.querySelectorAll('.cbox')[1], head = document.querySelector('#cmatrix thead th:nth-child(3)'), row = document.querySelector('#cmatrix tbody tr:nth-child(20) th');
			box.scrollTo(60, 400);
			const b = box.getBoundingClientRect();
			return box.scrollTop > 300 && Math.abs(head.getBoundingClientRect().top - b.top) < 3 && Math.abs(row.getBoundingClientRect().left - b.left) < 3;
		})()`
		if !ask[bool](b, stays) {
			t.Errorf("%d wide: the headers leave with the matrix", width)
		}
	}
	b.run(`(() => { const f = document.getElementById('cfilter'); f.elements.q.value = 'WF-4'; f.elements.v.value = 'fail'; f.dispatchEvent(new Event('input')); })()`)
	if got := visible("#cmatrix tr[data-r]"); got != 2 {
		t.Errorf("the filter leaves %d rows, want WF-4.1 and WF-4.2", got)
	}
	// A link to a requirement that the filter hides shows and opens it.
	b.run(`location.hash = 'r-AJ-3.5'`)
	b.shown("[id='r-AJ-3.5'] .body")
	// A case shows its exchanges beside those of the reference, of the implementation that differs.
	b.run(`location.hash = 'case=rotate.old-token-refused'`)
	b.shown("#case .dpair")
	if got := ask[string](b, `document.querySelector('.pick [aria-pressed=true]').textContent`); !strings.HasPrefix(got, "B ") {
		t.Errorf("the case opens with %q beside A, want B, which fails", got)
	}
	b.run(`document.querySelectorAll('.pick button')[1].click()`)
	b.until(`document.querySelector('.dhead').textContent.includes('C shop') && [...document.querySelectorAll('.dx .ch')].some((e) => e.textContent.includes('jsessionid=…'))`)
	if n := ask[int](b, overflow); n > 0 {
		t.Errorf("a case overflows by %d", n)
	}
	b.run(`location.hash = 'case=no-such'`)
	b.until(`document.querySelector('#case h1').textContent === 'No such case'`)
	b.run(`location.hash = 'case=` + c.Scenarios[0].ID + `'`)
	b.until(`document.querySelector('#case h1').textContent.startsWith('</script>')`)
	b.quiet(page)
}
