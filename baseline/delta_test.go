package baseline

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/farmspec/farmspec"
)

func TestBaselineRoundTrip(t *testing.T) {
	b := Of(run("b.b f R pass -", "a.a g R fail x", "a.a f R unobservable -"))
	text, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schema":"farmspec.baseline/v1","cases":[
{"scenario":"a.a","target":"f","verdict":"unobservable"},
{"scenario":"a.a","target":"g","verdict":"fail"},
{"scenario":"b.b","target":"f","verdict":"pass"}
]}
`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	back, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	for _, tc := range []struct{ name, old, new, want string }{
		{"version", "baseline/v1", "baseline/v2", "version"},
		{"unknown key", `"scenario":"b.b"`, `"scenaria":"b.b"`, "scenaria"},
		{"unknown verdict", `"pass"`, `"passed"`, `"passed" is no verdict`},
		{"order", `"b.b"`, `"a.0"`, "not sorted"},
		{"twice", `{"scenario":"b.b","target":"f"`, `{"scenario":"a.a","target":"g"`, "twice"},
		{"more", "]}\n", "]}{}", "more after it"},
		{"cut", "]}\n", "", "not a baseline"},
		{"none", want[strings.Index(want, "\n"):], "]}", "no case"},
	} {
		if _, err := Parse([]byte(strings.Replace(want, tc.old, tc.new, 1))); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q in it", tc.name, err, tc.want)
		}
	}
}

func TestCompare(t *testing.T) {
	before := Of(run("same.pass f R pass -", "same.fail f R fail x", "new.failure f R inconclusive -", "pass.fail f R pass -", "pass.lost f R pass -",
		"pass.warn f R pass -", "gone.one f R fail x", "fail.fixed f R fail x", "warn.better f R warn x", "odd.other f R error x"))
	d := Compare(before, run("same.pass f R pass -", "same.fail f R fail x", "new.failure f R fail x", "pass.fail f R fail x", "pass.lost f R unobservable no hook",
		"pass.warn f R warn x", "fail.fixed f R pass -", "warn.better f R pass -", "odd.other f R not-run x", "brand.new f R pass -", "brand.bad f R fail x"))
	names := func(changes []Change) (s string) {
		for _, c := range changes {
			s += c.Scenario + " "
		}
		return s
	}
	want := []string{"brand.bad new.failure pass.fail ", "pass.lost pass.warn ", "gone.one ", "fail.fixed warn.better ", "brand.new ", "odd.other "}
	got := []string{names(d.Failures), names(d.Lost), names(d.Vanished), names(d.Fixed), names(d.New), names(d.Other)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("delta (-want +got):\n%s", diff)
	}
	if !d.Regressed() || d.Same != 2 {
		t.Errorf("regressed %v, same %d", d.Regressed(), d.Same)
	}
	if text := d.String(); !strings.Contains(text, "pass.lost on f: pass → unobservable: no hook") || !strings.Contains(text, "gone.one on f: was fail") ||
		!strings.Contains(text, "6 worse, 2 fixed, 1 new, 1 changed, 2 as before") {
		t.Errorf("text:\n%s", text)
	}
	better := Compare(Of(run("a.a f R fail x")), run("a.a f R pass -", "b.b f R pass -"))
	if better.Regressed() || len(better.Fixed) != 1 || better.Fixed[0].Was != farmspec.Fail {
		t.Errorf("getting better counts as worse: %+v", better)
	}
}
