package reports

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/farmspec/farmspec"
)

// officialSARIF is the schema that OASIS's technical committee publishes, as
// the npm package @microsoft/jest-sarif 1.0.0-beta.0 carries it.
func officialSARIF(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("testdata/sarif-2.1.0-rtm.5.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("sarif.json", doc); err != nil {
		t.Fatal(err)
	}
	return c.MustCompile("sarif.json")
}

// Every finding is a result with its rule, its place and the digest of its
// evidence, in a file that the official schema accepts.
func TestSARIF(t *testing.T) {
	schema := officialSARIF(t)
	r := fixture(1)
	r.Targets[0].File = "farms/my shop.yaml"
	files := write(t, r)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(files[SARIFFile]))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("the official schema refuses it: %v", err)
	}
	var log sarifLog
	if err := json.Unmarshal(files[SARIFFile], &log); err != nil {
		t.Fatal(err)
	}
	run := log.Runs[0]
	lines := map[string]bool{} // digests of the lines of results.json
	for line := range bytes.Lines(files[ResultsFile]) {
		sum := sha256.Sum256(bytes.TrimSuffix(bytes.TrimSpace(line), []byte(",")))
		lines["sha256:"+hex.EncodeToString(sum[:])] = true
	}
	findings := 0
	for _, c := range r.Results {
		if c.Verdict == farmspec.Fail || c.Verdict == farmspec.Flaky || c.Verdict == farmspec.Warn {
			findings += len(c.Requirements)
		}
	}
	if findings == 0 || len(run.Results) != findings {
		t.Errorf("%d results of %d findings", len(run.Results), findings)
	}
	fingerprints := map[string]bool{}
	for _, x := range run.Results {
		if run.Tool.Driver.Rules[x.RuleIndex].ID != x.RuleID {
			t.Errorf("%s points at the rule %s", x.RuleID, run.Tool.Driver.Rules[x.RuleIndex].ID)
		}
		if digest, _ := x.Properties["evidence"].(string); !lines[digest] {
			t.Errorf("%s: no line of results.json has the digest %q", x.RuleID, digest)
		}
		if fingerprints[x.Fingerprints["farmspec/v1"]] {
			t.Errorf("%s: two results have one fingerprint", x.RuleID)
		}
		fingerprints[x.Fingerprints["farmspec/v1"]] = true
		at := x.Locations[0].Physical.Artifact.URI
		if ours := x.Properties["target"] == r.Targets[0].Name; ours != (at == "farms/my%20shop.yaml") || ours != (len(x.Related) == 1) {
			t.Errorf("%s of %s is placed at %s, with %d places beside", x.RuleID, x.Properties["target"], at, len(x.Related))
		}
	}
	if run.Invocations[0].Successful || len(run.Invocations[0].Notifications) == 0 {
		t.Error("a run with errors counts as successful")
	}

	clean := small()
	clean.Results = slices.DeleteFunc(clean.Results, func(c farmspec.Result) bool { return c.Verdict != farmspec.NotRun })
	clean.Plan = nil
	for _, c := range clean.Results {
		clean.Plan = append(clean.Plan, c.CaseID)
	}
	if err := json.Unmarshal(write(t, clean)[SARIFFile], &log); err != nil {
		t.Fatal(err)
	}
	if log.Runs[0].Invocations[0].Successful {
		t.Error("a run in which nothing ran counts as successful")
	}
}

// Every requirement has an address where its source can be read.
func TestHelpOfEveryRequirement(t *testing.T) {
	for _, q := range theCatalogue().requirements {
		uri := helpURI(q)
		if !strings.HasPrefix(uri, "https://") || strings.HasSuffix(uri, "/5.0/en/") {
			t.Errorf("%s (%s) has the address %q", q.ID, q.Source, uri)
		}
	}
}

// A kill matrix beside the report is linked; otherwise the published one.
func TestPageLinksTheMatrix(t *testing.T) {
	dir := t.TempDir()
	for _, want := range []string{home + "/blob/main/reports/published/mutants.html", "mutants.html"} {
		if _, err := writeTo(quick{}, dir, small(), fixtureCatalogue()); err != nil {
			t.Fatal(err)
		}
		page, err := os.ReadFile(filepath.Join(dir, PageFile))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), `<a href="`+want+`">kill matrix</a>`) {
			t.Errorf("the page has no link to %s", want)
		}
		if err := os.WriteFile(filepath.Join(dir, MatrixPageFile), []byte("a matrix"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
