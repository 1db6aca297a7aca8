package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"aead.dev/minisign"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/reports"
	"github.com/farmspec/farmspec/simfarm"
)

// part is the report of a few scenarios on a real farm.
var part = sync.OnceValues(func() (*farmspec.Report, error) {
	farm, err := simfarm.Open(context.Background(), simfarm.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = farm.Close() }()
	return features.Judge(context.Background(), features.Options{Run: []string{"rotate.old-token-refused"}, Sparse: true, Seed: 7, Version: "v0", Command: "farmspec run"}, farm.Target())
})

// report is that report, a copy for each caller; whole, with every other
// scenario in it as one that the operator left out.
func report(t *testing.T, whole bool) *farmspec.Report {
	t.Helper()
	p, err := part()
	if err != nil {
		t.Fatal(err)
	}
	var r farmspec.Report
	text, err := json.Marshal(p)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	if whole {
		all, err := features.Scenarios(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			id := farmspec.CaseID{Scenario: s.ID, Target: r.Targets[0].Name}
			if !slices.Contains(r.Plan, id) {
				r.Results = append(r.Results, farmspec.Result{
					CaseID: id, Name: s.Name, Feature: s.Feature, File: s.File, Line: s.Line, Requirements: s.Requirements, Level: s.Level, Tags: s.Tags,
					Verdict: farmspec.Disabled, Reason: "left out", Repeat: "farmspec run",
				})
			}
		}
		slices.SortFunc(r.Results, func(a, b farmspec.Result) int { return strings.Compare(a.Scenario, b.Scenario) })
		conclude(&r)
	}
	return &r
}

// conclude makes the plan and the conclusions those of the results.
func conclude(r *farmspec.Report) {
	r.Plan = nil
	for i := range r.Results {
		r.Plan = append(r.Plan, r.Results[i].CaseID)
	}
	features.Conclude(r)
}

// text is the report's JSON, without the pages that a writer makes too.
func text(t *testing.T, r *farmspec.Report) []byte {
	t.Helper()
	for i := range r.Results {
		if x := &r.Results[i]; x.Steps == nil {
			x.Steps = []farmspec.Step{}
		}
	}
	for i := range r.Claims {
		if x := &r.Claims[i]; x.Requirements == nil {
			x.Requirements = []string{}
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func keys(t *testing.T) (minisign.PublicKey, minisign.PrivateKey) {
	t.Helper()
	pub, key, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pub, key
}

func TestMakeAndVerify(t *testing.T) {
	pub, key := keys(t)
	results := text(t, report(t, true))
	archive, err := Make(results, key, false)
	if err != nil {
		t.Fatal(err)
	}
	m, notes, err := Verify(archive, pub)
	if err != nil || len(notes) != 0 {
		t.Fatalf("Verify = %v, notes %q", err, notes)
	}
	if m.Seed != 7 || len(m.Plan) != len(m.Scenarios) || m.Partial || m.Verdict != farmspec.Pass {
		t.Errorf("manifest: seed %d, %d cases of %d scenarios, partial %v, verdict %s", m.Seed, len(m.Plan), len(m.Scenarios), m.Partial, m.Verdict)
	}
	again, err := Make(results, key, false)
	if err != nil || !bytes.Equal(archive, again) {
		t.Errorf("the same results give another archive (%v)", err)
	}
	other, _ := keys(t)
	if m, _, err := Verify(archive, other); err == nil || m != nil || !strings.Contains(err.Error(), "signature") {
		t.Errorf("another key: %v", err)
	}
}

func TestPartOfTheSuite(t *testing.T) {
	pub, key := keys(t)
	results := text(t, report(t, false))
	if _, err := Make(results, key, false); err == nil || !strings.Contains(err.Error(), "leaves out") {
		t.Errorf("a part was bundled as the whole: %v", err)
	}
	archive, err := Make(results, key, true)
	if err != nil {
		t.Fatal(err)
	}
	m, notes, err := Verify(archive, pub)
	if err != nil || !m.Partial || len(notes) != 1 || !strings.Contains(notes[0], "a part of the suite") {
		t.Errorf("Verify = %v, notes %q", err, notes)
	}
}

func TestMakeRefuses(t *testing.T) {
	_, key := keys(t)
	for _, tc := range []struct {
		name   string
		change func(r *farmspec.Report)
		want   string
	}{
		{"other features", func(r *farmspec.Report) { r.Tool.Features = strings.Repeat("0", 64) }, "other features"},
		{"interrupted", func(r *farmspec.Report) {
			r.Run.Complete, r.Run.Why = false, "interrupted"
			features.Conclude(r)
		}, "the run is incomplete: interrupted"},
		{"other verdict", func(r *farmspec.Report) { r.Verdict = farmspec.Warn }, "the verdict is stated as warn"},
	} {
		r := report(t, true)
		tc.change(r)
		if _, err := Make(text(t, r), key, false); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q in it", tc.name, err, tc.want)
		}
	}
	if _, err := Make([]byte("{}"), key, false); err == nil {
		t.Error("no report was bundled")
	}
}

// Somebody with the key can sign anything; what contradicts itself does not
// verify all the same.
func TestSignedAndYetWrong(t *testing.T) {
	pub, key := keys(t)
	one := func(r *farmspec.Report) *farmspec.Result { // a pass that rests on a refusal
		return &r.Results[slices.IndexFunc(r.Results, func(c farmspec.Result) bool {
			return slices.ContainsFunc(c.Checks, func(k farmspec.Check) bool { return k.Kind == farmspec.Refusal })
		})]
	}
	for _, tc := range []struct {
		name   string
		report func(r *farmspec.Report)
		sign   func(m *Manifest)
		want   string
	}{
		{"a scenario vanished", func(r *farmspec.Report) {
			r.Results = slices.Delete(r.Results, 3, 4)
			conclude(r)
		}, nil, "the plan leaves out 1 of"},
		{"a scenario vanished from the list too", func(r *farmspec.Report) {
			r.Results = slices.Delete(r.Results, 3, 4)
			conclude(r)
		}, func(m *Manifest) { m.Scenarios = slices.Delete(slices.Clone(m.Scenarios), 3, 4) }, "not that of these features"},
		{"a planned case has no result", func(r *farmspec.Report) { r.Results = r.Results[:len(r.Results)-1] }, nil, "was planned and has no result"},
		{"a failure became a pass", func(r *farmspec.Report) {
			one(r).Verdict = farmspec.Fail
			features.Conclude(r)
			one(r).Verdict = farmspec.Pass
		}, nil, "the verdict is stated as fail, and pass follows"},
		{"a claim was lifted", func(r *farmspec.Report) { r.Claims[8].Verdict = farmspec.Fail }, nil, "claim 9"},
		{"a requirement was lifted", func(r *farmspec.Report) {
			r.Requirements[slices.IndexFunc(r.Requirements, func(q farmspec.RequirementResult) bool { return q.Verdict == farmspec.Disabled })].Verdict = farmspec.Pass
		}, nil, "requirement "},
		{"a pass without a check", func(r *farmspec.Report) { one(r).Checks = nil }, nil, "a pass without a check"},
		{"a pass with a failed check", func(r *farmspec.Report) { one(r).Checks[0].OK = false }, nil, "a pass with a check that failed"},
		{"a refusal without a survivor", func(r *farmspec.Report) {
			one(r).Checks = slices.DeleteFunc(one(r).Checks, func(c farmspec.Check) bool { return c.Kind == farmspec.Survivor })
		}, nil, "without witness or survivor"},
		{"a pass with a skipped step", func(r *farmspec.Report) { one(r).Steps[1].Status = "skipped" }, nil, "a step that is skipped"},
		{"another seed", nil, func(m *Manifest) { m.Seed++ }, "another run"},
		{"another plan", nil, func(m *Manifest) { m.Plan = m.Plan[1:] }, "plan is not the results'"},
		{"another verdict", nil, func(m *Manifest) { m.Hardened = farmspec.Pass }, "other verdicts"},
		{"another digest", nil, func(m *Manifest) { m.Files[0].SHA256 = strings.Repeat("0", 64) }, "not what was signed"},
		{"another version", nil, func(m *Manifest) { m.Schema = "farmspec.bundle/v2" }, `version "farmspec.bundle/v2"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := report(t, true)
			if tc.report != nil {
				tc.report(r)
			}
			results := text(t, r)
			ids, _, err := suite()
			if err != nil {
				t.Fatal(err)
			}
			m := Manifest{
				Schema: Schema, Tool: r.Tool, Started: r.Run.Started, Seed: r.Run.Seed, Command: r.Run.Command,
				Verdict: r.Verdict, Exit: r.Exit, ClaimConformant: r.ClaimConformant, Hardened: r.Hardened,
				Targets: r.Targets, Scenarios: ids, Plan: r.Plan, Files: []File{{reports.ResultsFile, len(results), sum(results)}},
			}
			if tc.sign != nil {
				tc.sign(&m)
			}
			manifest, err := json.Marshal(&m)
			if err != nil {
				t.Fatal(err)
			}
			archive, err := pack(map[string][]byte{manifestFile: manifest, signatureFile: minisign.Sign(key, manifest), reports.ResultsFile: results})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := Verify(archive, pub); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Verify = %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestTamperedArchive(t *testing.T) {
	pub, key := keys(t)
	archive, err := Make(text(t, report(t, true)), key, false)
	if err != nil {
		t.Fatal(err)
	}
	files, err := unpack(archive)
	if err != nil {
		t.Fatal(err)
	}
	repack := func(change func(files map[string][]byte)) []byte {
		copied := map[string][]byte{}
		for name, content := range files {
			copied[name] = bytes.Clone(content)
		}
		change(copied)
		b, err := pack(copied)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	raw := func(headers ...*tar.Header) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		w := tar.NewWriter(z)
		for _, h := range headers {
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = w.Close(), z.Close()
		return b.Bytes()
	}
	for _, tc := range []struct {
		name    string
		archive []byte
		format  bool
		want    string
	}{
		{"results changed", repack(func(f map[string][]byte) { f[reports.ResultsFile][10]++ }), false, "not what was signed"},
		{"results appended to", repack(func(f map[string][]byte) { f[reports.ResultsFile] = append(f[reports.ResultsFile], ' ') }), false, "not what was signed"},
		{"manifest changed", repack(func(f map[string][]byte) { f[manifestFile][10]++ }), false, "signature"},
		{"signature changed", repack(func(f map[string][]byte) { f[signatureFile][80] ^= 1 }), false, "signature"},
		{"no signature", repack(func(f map[string][]byte) { f[signatureFile] = nil }), false, "signature"},
		{"cut", archive[:len(archive)/2], true, "unexpected EOF"},
		{"not compressed", []byte("PK\x03\x04 and nothing like gzip"), true, "gzip"},
		{"empty", nil, true, "EOF"},
		{"a way out", raw(&tar.Header{Typeflag: tar.TypeReg, Name: "../manifest.json"}), true, `"../manifest.json" is not in its place`},
		{"a link", raw(&tar.Header{Typeflag: tar.TypeSymlink, Name: manifestFile, Linkname: "/etc/passwd"}), true, "not in its place"},
		{"twice", raw(&tar.Header{Typeflag: tar.TypeReg, Name: manifestFile}, &tar.Header{Typeflag: tar.TypeReg, Name: manifestFile}), true, "not in its place"},
		{"too little", raw(&tar.Header{Typeflag: tar.TypeReg, Name: manifestFile}), true, "manifest.json.minisig is missing"},
	} {
		_, _, err := Verify(tc.archive, pub)
		if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, ErrFormat) != tc.format {
			t.Errorf("%s: %v, want %q in it, a wrong format %v", tc.name, err, tc.want, tc.format)
		}
	}
}

func FuzzVerify(f *testing.F) {
	pub, key, err := minisign.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	archive, err := pack(map[string][]byte{manifestFile: []byte("{}"), signatureFile: minisign.Sign(key, []byte("{}")), reports.ResultsFile: []byte("{}")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(archive)
	f.Add(archive[:len(archive)/2])
	f.Fuzz(func(t *testing.T, archive []byte) {
		if _, _, err := Verify(archive, pub); err == nil {
			t.Error("verified")
		}
	})
}
