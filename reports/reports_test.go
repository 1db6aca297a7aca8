package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/farmspec/farmspec"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with testdata/name, or rewrites it under -update.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got); if that is meant, run with -update:\n%s", path, diff)
	}
}

// small is the fixture with one scenario's cases, for goldens that show all there is of them.
func small() *farmspec.Report {
	r := fixture(1)
	keep := func(c farmspec.CaseID) bool { return c.Scenario == "rotate.old-token-refused" }
	r.Plan = slices.DeleteFunc(r.Plan, func(c farmspec.CaseID) bool { return !keep(c) })
	r.Results = slices.DeleteFunc(r.Results, func(x farmspec.Result) bool { return !keep(x.CaseID) })
	r.Requirements = slices.DeleteFunc(r.Requirements, func(q farmspec.RequirementResult) bool { return q.ID != "WF-4.1" && q.ID != "AJ-3.5" })
	for i := range r.Requirements {
		r.Requirements[i].Cases = slices.DeleteFunc(r.Requirements[i].Cases, func(c farmspec.CaseID) bool { return !keep(c) })
	}
	return r
}

// quick is the disk without waiting for it.
type quick struct{ disk }

type quickFile struct{ outfile }

func (quickFile) Sync() error          { return nil }
func (quick) SyncDir(dir string) error { return nil }

func (q quick) Create(name string) (outfile, error) {
	out, err := q.disk.Create(name)
	return quickFile{out}, err
}

// write writes the report with the fixture's catalogue and returns the files by name.
func write(t *testing.T, r *farmspec.Report) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	paths, err := writeTo(quick{}, dir, r, fixtureCatalogue())
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, p := range paths {
		if files[filepath.Base(p)], err = os.ReadFile(p); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestGoldenFiles(t *testing.T) {
	few, all := write(t, small()), write(t, fixture(1))
	golden(t, "results.json", few[ResultsFile])
	golden(t, "junit.xml", all[JUnitFile])
	golden(t, "summary.md", all[SummaryFile])
	// How gzip packs is Go's business, and the two inline texts have their own files.
	page := string(few[PageFile])
	for _, cut := range []struct{ pattern, with string }{
		{`(<script type="application/gzip" id="e\d+">)[^<]*`, "${1}PACKED"},
		{`(?s)<style>.*?</style>`, "<style>STYLE</style>"}, {`(?s)<script>.*?</script>`, "<script>SCRIPT</script>"},
		{`sha256-[A-Za-z0-9&#;+/=]*`, "sha256-DIGEST"},
	} {
		page = regexp.MustCompile(cut.pattern).ReplaceAllString(page, cut.with)
	}
	golden(t, "report.html", []byte(page))
}

func TestSameReportSameBytes(t *testing.T) {
	first := write(t, fixture(1))
	for range 5 { // maps are walked in another order each time
		for name, text := range write(t, fixture(1)) {
			if !bytes.Equal(first[name], text) {
				t.Errorf("%s differs at the second writing:\n%s", name, cmp.Diff(string(first[name]), string(text)))
			}
		}
	}
}

func TestResultsFollowTheSchema(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*farmspec.Report{
		"fixture": fixture(1),
		"hostile": hostile(),
		"empty":   {ClaimConformant: farmspec.NotRun, Hardened: farmspec.NotRun, Verdict: farmspec.NotRun, Exit: farmspec.ExitUsage},
	} {
		got, err := jsonschema.UnmarshalJSON(bytes.NewReader(write(t, r)[ResultsFile]))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The schema and the Go types say the same, field by field: a new field that
// the schema does not know would make Read refuse what Write wrote.
func TestSchemaKnowsEveryField(t *testing.T) {
	var s struct {
		Properties map[string]any `json:"properties"`
		Required   []string       `json:"required"`
		Defs       map[string]struct {
			Properties map[string]any `json:"properties"`
			Required   []string       `json:"required"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	var fields func(reflect.Type) (all, required []string)
	fields = func(typ reflect.Type) (all, required []string) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Anonymous {
				a, r := fields(f.Type)
				all, required = append(all, a...), append(required, r...)
				continue
			}
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			all = append(all, name)
			if options != "omitempty" {
				required = append(required, name)
			}
		}
		return all, required
	}
	sorted := func(s []string) []string { s = slices.Clone(s); slices.Sort(s); return s }
	compare := func(name string, typ reflect.Type, properties map[string]any, required []string) {
		all, must := fields(typ)
		var known []string
		for p := range properties {
			known = append(known, p)
		}
		if diff := cmp.Diff(sorted(all), sorted(known)); diff != "" {
			t.Errorf("%s: fields (-Go +schema):\n%s", name, diff)
		}
		if diff := cmp.Diff(sorted(must), sorted(required)); diff != "" {
			t.Errorf("%s: required (-Go +schema):\n%s", name, diff)
		}
	}
	compare("report", reflect.TypeFor[farmspec.Report](), s.Properties, s.Required)
	for name, typ := range map[string]reflect.Type{
		"tool": reflect.TypeFor[farmspec.Tool](), "run": reflect.TypeFor[farmspec.Run](), "target": reflect.TypeFor[farmspec.TargetInfo](),
		"case": reflect.TypeFor[farmspec.CaseID](), "result": reflect.TypeFor[farmspec.Result](), "step": reflect.TypeFor[farmspec.Step](),
		"check": reflect.TypeFor[farmspec.Check](), "exchange": reflect.TypeFor[farmspec.ExchangeRecord](), "header": reflect.TypeFor[farmspec.Header](),
		"message": reflect.TypeFor[farmspec.MessageRecord](), "requirement": reflect.TypeFor[farmspec.RequirementResult](), "claim": reflect.TypeFor[farmspec.ClaimResult](),
	} {
		compare(name, typ, s.Defs[name].Properties, s.Defs[name].Required)
	}
	var doc struct {
		Defs struct {
			Verdict struct {
				Enum []farmspec.Verdict `json:"enum"`
			} `json:"verdict"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	want, got := farmspec.Verdicts(), doc.Defs.Verdict.Enum
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdicts (-Go +schema):\n%s", diff)
	}
}

func TestReadReturnsWhatWasWritten(t *testing.T) {
	dir := t.TempDir()
	want := fixture(1)
	if _, err := writeTo(disk{}, dir, want, fixtureCatalogue()); err != nil {
		t.Fatal(err)
	}
	got, err := Read(filepath.Join(dir, ResultsFile))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(complete(want), got); diff != "" {
		t.Errorf("read differs (-written +read):\n%s", diff)
	}
}

func TestReadIsStrict(t *testing.T) {
	good := string(write(t, small())[ResultsFile])
	for _, tc := range []struct {
		name, text, want, why string
	}{
		{"empty", "", "ends early", "an empty file is a truncated one"},
		{"truncated", good[:len(good)/2], "ends early", "half a report must not pass for a short one"},
		{"trailing", good + "{}", "not the JSON of a report", "two reports in one file are no report"},
		{"other JSON", `{"tests": 3}`, `no "schema"`, "a file of another tool is named as such"},
		{"array", `[]`, "no JSON object", "a report is an object"},
		{"future", strings.Replace(good, farmspec.ReportSchema, "farmspec.results/v9", 1), `"farmspec.results/v9"`, "a newer version may mean something else by the same words"},
		{"unknown field", strings.Replace(good, `"tool": {`, `"mood": "good", "tool": {`, 1), "mood", "an unknown field may be the one that matters"},
		{"unknown field inside", strings.Replace(good, `"keyword":"Given"`, `"keyword":"Given","mood":1`, 1), "mood", "as above, at depth"},
		{"unknown verdict", strings.Replace(good, `"verdict":"fail"`, `"verdict":"superb"`, 1), "verdict", "a reader that meets an unknown verdict cannot count it"},
		{"missing field", strings.Replace(good, `"hardened": "planned",`, "", 1), "hardened", "an absent verdict is not a pass"},
		{"planned and not there", strings.Replace(good, `"results": [`, `"results": [], "x": [`, 1), "x", "see unknown field"},
		{"result of another case", strings.Replace(good, `"scenario":"rotate.old-token-refused"`, `"scenario":"rotate.vanished"`, 1), "rotate.vanished", "a planned case must have its result"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.text == good {
				t.Fatal("the case changes nothing")
			}
			path := filepath.Join(t.TempDir(), "results.json")
			if err := os.WriteFile(path, []byte(tc.text), 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := Read(path)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("Read = %v, want an error that names %q and the file (%s)", err, tc.want, tc.why)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("the error takes several lines:\n%v", err)
			}
		})
	}
	if _, err := Read(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Read of an absent file = %v, want one that is os.ErrNotExist", err)
	}
}

func TestWriteRefusesAResultThatWasNotPlanned(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*farmspec.Report)
	}{
		{"vanished", func(r *farmspec.Report) { r.Results = r.Results[:len(r.Results)-1] }},
		{"unplanned", func(r *farmspec.Report) { r.Plan = r.Plan[:len(r.Plan)-1] }},
		{"swapped", func(r *farmspec.Report) { r.Results[0], r.Results[1] = r.Results[1], r.Results[0] }},
	} {
		r := fixture(1)
		tc.change(r)
		dir := filepath.Join(t.TempDir(), "out")
		if _, err := Write(dir, r); err == nil || !strings.Contains(err.Error(), "planned") {
			t.Errorf("%s: Write = %v, want an error about the plan", tc.name, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: the folder was made for nothing", tc.name)
		}
	}
}

// faulty lets the first calls through and fails the next one, as a disk that
// fills up. A failing write leaves half of its bytes behind.
type faulty struct {
	disk
	left *int
	err  error
}

func (f faulty) fail(op string) error {
	*f.left--
	if *f.left == -1 {
		return &os.PathError{Op: op, Path: "there", Err: f.err}
	}
	return nil
}

func (f faulty) MkdirAll(dir string) error {
	if err := f.fail("mkdir"); err != nil {
		return err
	}
	return f.disk.MkdirAll(dir)
}

func (f faulty) Rename(from, to string) error {
	if err := f.fail("rename"); err != nil {
		return err
	}
	return f.disk.Rename(from, to)
}

func (f faulty) SyncDir(dir string) error {
	if err := f.fail("sync"); err != nil {
		return err
	}
	return f.disk.SyncDir(dir)
}

func (f faulty) Create(name string) (outfile, error) {
	if err := f.fail("open"); err != nil {
		return nil, err
	}
	out, err := f.disk.Create(name)
	return faultyFile{out, f}, err
}

type faultyFile struct {
	outfile
	f faulty
}

func (x faultyFile) Write(b []byte) (int, error) {
	if err := x.f.fail("write"); err != nil {
		n, _ := x.outfile.Write(b[:len(b)/2])
		return n, err
	}
	return x.outfile.Write(b)
}

func (x faultyFile) Sync() error {
	if err := x.f.fail("sync"); err != nil {
		return err
	}
	return x.outfile.Sync()
}

func (x faultyFile) Close() error {
	err := x.outfile.Close()
	if fault := x.f.fail("close"); fault != nil {
		return fault
	}
	return err
}

func TestWriteLeavesNothingHalfWritten(t *testing.T) {
	r := small()
	failures := 0
	for calls := 0; ; calls++ {
		dir := t.TempDir()
		const old = "the report of an earlier run"
		before := []string{ResultsFile, SARIFFile, JUnitFile, SummaryFile, PageFile}
		for _, name := range before {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(old), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		left := calls
		_, err := writeTo(faulty{left: &left, err: syscall.ENOSPC}, dir, r, fixtureCatalogue())
		if err == nil {
			break
		}
		failures++
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "--out") || !strings.Contains(err.Error(), dir) {
			t.Errorf("after %d calls: %v; want the cause, the folder and the cure", calls, err)
		}
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			text, _ := os.ReadFile(filepath.Join(dir, e.Name()))
			if !slices.Contains(before, e.Name()) || string(text) != old {
				t.Errorf("after %d calls: %s is left behind with %d bytes", calls, e.Name(), len(text))
			}
		}
	}
	if failures < 4*4 {
		t.Errorf("only %d calls could fail; is the seam still in use?", failures)
	}
}

func TestWriteSaysWhatIsInTheWay(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	occupied := filepath.Join(dir, "occupied")
	if err := os.MkdirAll(filepath.Join(occupied, PageFile, "inside"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, dir, want string }{
		{"a file where the folder should be", file, "in the way"},
		{"a file above it", filepath.Join(file, "below"), "in the way"},
		{"a folder under a final name", occupied, "in the way"},
	} {
		_, err := Write(tc.dir, small())
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "--out") {
			t.Errorf("%s: Write = %v, want %q and the cure", tc.name, err, tc.want)
		}
	}
	entries, err := os.ReadDir(occupied)
	if err != nil || len(entries) != 1 {
		t.Errorf("the occupied folder now holds %v (%v), want only what was in the way", entries, err)
	}
	for cause, want := range map[error]string{syscall.EACCES: "permissions", syscall.EROFS: "read-only", syscall.ENOSPC: "full"} {
		left := 0
		if _, err := writeTo(faulty{left: &left, err: cause}, t.TempDir(), small(), fixtureCatalogue()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: Write = %v, want a cure with %q", cause, err, want)
		}
	}
}

func TestWriteUsesTheCatalogue(t *testing.T) {
	dir := t.TempDir()
	r := small()
	paths, err := Write(dir, r)
	if err != nil {
		t.Fatal(err)
	}
	q, ok := farmspec.RequirementByID("AJ-3.5")
	if !ok {
		t.Fatal("AJ-3.5 is not in the catalogue")
	}
	text, err := os.ReadFile(paths[3])
	if err != nil || !bytes.Contains(text, []byte(markdown(q.Title))) {
		t.Errorf("%s does not name AJ-3.5 %q (%v)", paths[3], q.Title, err)
	}
}

// hostile is a report in which a farm has put what hurts into everything it can reach.
func hostile() *farmspec.Report {
	const poison = "</script><script>alert(1)</script><!-- ]]> --><img src=x onerror=alert(1)> \x1b]0;owned\x07\x1b[2J \x00\x01\x7f\u202e\u2028 \xff\xfe | `code` *b* [x](javascript:alert(1)) \r\n\t'\"&amp;"
	r := small()
	r.Run.Command += poison
	r.Run.Why, r.Left = poison, []string{poison}
	r.Targets = slices.Clone(r.Targets)
	for i := range r.Targets {
		r.Targets[i].Product += poison
		r.Targets[i].Version += poison
	}
	for i := range r.Results {
		x := &r.Results[i]
		x.Name, x.Reason, x.Repeat, x.Feature = x.Name+poison, poison, x.Repeat+poison, x.Feature+poison
		for j := range x.Steps {
			x.Steps[j].Text += poison
			x.Steps[j].Error = poison
		}
		for j := range x.Checks {
			x.Checks[j].Actual += poison
		}
		for j := range x.Exchanges {
			e := &x.Exchanges[j]
			e.Body, e.URL, e.RequestBody = poison+strings.Repeat("\xc3\x28<b>", 4000), e.URL+poison, poison
			e.BodyBytes = len(e.Body)
			e.Header = append(e.Header, farmspec.Header{Name: "X-" + poison, Value: poison})
		}
		for j := range x.Messages {
			x.Messages[j].Detail += poison
		}
	}
	for i := range r.Requirements {
		r.Requirements[i].Reason = poison
	}
	for i := range r.Claims {
		r.Claims[i].Reason = poison
	}
	return r
}

// withoutCode removes the code spans of Markdown: what stands between two
// runs of backticks of one length.
func withoutCode(s string) string {
	run := regexp.MustCompile("`+")
	var b strings.Builder
	for {
		at := run.FindStringIndex(s)
		if at == nil {
			return b.String() + s
		}
		b.WriteString(s[:at[0]])
		fence := s[at[0]:at[1]]
		s = s[at[1]:]
		if strings.HasSuffix(b.String(), "\\") {
			b.WriteString(fence)
			continue
		}
		for at = run.FindStringIndex(s); at != nil && s[at[0]:at[1]] != fence; at = run.FindStringIndex(s) {
			s = s[at[1]:]
		}
		if at != nil {
			s = s[at[1]:]
		}
	}
}

func TestHostileContentIsHarmless(t *testing.T) {
	files := write(t, hostile())

	page := string(files[PageFile])
	clean := string(write(t, small())[PageFile])
	for _, tag := range []string{"<script", "</script", "<img", "<!--"} {
		// What the farm wrote may stand there as text, "&lt;script"; never as markup.
		if got, want := strings.Count(page, tag), strings.Count(clean, tag); got != want {
			t.Errorf("%s: %q occurs %d times, in an honest report %d times", PageFile, tag, got, want)
		}
	}
	controls := regexp.MustCompile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u0080-\u009f\u202a-\u202e\u2028\u2029]")
	for _, name := range []string{PageFile, SummaryFile} {
		if at := controls.FindIndex(files[name]); at != nil {
			t.Errorf("%s holds a control character at %d: %q", name, at[0], files[name][max(at[0]-20, 0):at[1]+20])
		}
	}
	for name, text := range files {
		if !bytes.Equal(bytes.ToValidUTF8(text, nil), text) {
			t.Errorf("%s is no valid UTF-8", name)
		}
	}
	for line := range strings.Lines(withoutCode(string(files[SummaryFile]))) {
		if strings.HasPrefix(line, "    ") {
			continue // an indented block is code
		}
		if strings.Contains(line, "<script") || strings.Contains(line, "<img") || strings.Contains(line, "[x](") {
			t.Errorf("%s lets markup through: %s", SummaryFile, line)
		}
	}
	decodeJUnit(t, files[JUnitFile])
	if bytes.ContainsAny(files[JUnitFile], "\x00\x01\x1b\x07") {
		t.Errorf("%s holds characters that XML does not have", JUnitFile)
	}

	var b bytes.Buffer
	v := newView(hostile(), fixtureCatalogue())
	if err := closing(&b, v, Terminal{}, nil); err != nil {
		t.Fatal(err)
	}
	p := NewProgress(&b, Terminal{})
	p.Planned(1, v.Targets)
	p.Ended(&v.Results[0])
	if at := controls.FindIndex(b.Bytes()); at != nil {
		t.Errorf("the terminal gets a control character: %q", b.Bytes()[max(at[0]-20, 0):at[1]+20])
	}
}

func TestPageStaysSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("renders 400 cases")
	}
	r := fixture(13)
	if len(r.Results) < 400 {
		t.Fatalf("only %d cases", len(r.Results))
	}
	content, err := page(newView(r, fixtureCatalogue()))
	if err != nil {
		t.Fatal(err)
	}
	const most = 6 << 20
	if len(content) > most {
		t.Errorf("%d cases take %d bytes, want at most %d", len(r.Results), len(content), most)
	}
	t.Logf("%d cases, %.2f MB", len(r.Results), float64(len(content))/(1<<20))
}

func BenchmarkWrite400(b *testing.B) {
	r := fixture(13)
	dir := b.TempDir()
	for b.Loop() {
		if _, err := Write(dir, r); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleWrite() {
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	files, err := Write(dir, &farmspec.Report{
		Run:             farmspec.Run{Command: "farmspec run", Why: "Nothing was planned."},
		ClaimConformant: farmspec.NotRun, Hardened: farmspec.NotRun, Verdict: farmspec.NotRun, Exit: farmspec.ExitUsage,
	})
	if err != nil {
		panic(err)
	}
	for _, f := range files {
		fmt.Println(filepath.Base(f))
	}
	// Output:
	// results.json
	// junit.xml
	// results.sarif
	// summary.md
	// report.html
}
