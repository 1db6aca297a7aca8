// Package bundle keeps the results of a run as one signed archive that
// somebody else can check without a network and without trusting who sent it
// any further than the signature reaches.
//
// The archive is a gzipped tar of three files: results.json as the run wrote
// it, manifest.json, which says what the run was and has the digest of every
// other file, and manifest.json.minisig, a minisign signature (Ed25519) of the
// manifest, which the minisign tool verifies too. The same results, key and
// tool give the same bytes.
package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"aead.dev/minisign"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/reports"
)

// Schema is the version of the manifest's JSON form.
const Schema = "farmspec.bundle/v1"

const (
	manifestFile  = "manifest.json"
	signatureFile = "manifest.json.minisig"
)

// names are the files of a bundle, in their order.
var names = []string{manifestFile, signatureFile, reports.ResultsFile}

// maxBytes bounds what is unpacked of a stranger's archive.
const maxBytes = 1 << 29

// Manifest says what a bundle holds and what it rests on.
type Manifest struct {
	Schema  string        `json:"schema"`
	Tool    farmspec.Tool `json:"tool"` // with the digest of the features
	Started time.Time     `json:"started"`
	Seed    uint64        `json:"seed"`
	Command string        `json:"command"`
	// Verdict and Exit are the run's; ClaimConformant and Hardened the two
	// that are never merged.
	Verdict         farmspec.Verdict      `json:"verdict"`
	Exit            int                   `json:"exit"`
	ClaimConformant farmspec.Verdict      `json:"claim_conformant"`
	Hardened        farmspec.Verdict      `json:"hardened"`
	Targets         []farmspec.TargetInfo `json:"targets"`
	// Scenarios is every scenario of these features, and Plan every case of
	// the run. Partial says that the plan leaves some out, and is meant to.
	Scenarios []string          `json:"scenarios"`
	Partial   bool              `json:"partial"`
	Plan      []farmspec.CaseID `json:"plan"`
	Files     []File            `json:"files"`
}

// File is a file of the bundle besides the manifest and its signature.
type File struct {
	Name   string `json:"name"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"` // hex
}

// Make signs the text of a results.json and returns the archive. It refuses
// what [Verify] would not accept: an incomplete run, conclusions that do not
// follow from the results, results of other features than this tool's, and,
// unless partial is set, a plan that leaves scenarios out.
func Make(results []byte, key minisign.PrivateKey, partial bool) ([]byte, error) {
	r, err := reports.Parse(results)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", reports.ResultsFile, err)
	}
	suite, digest, err := suite()
	if err != nil {
		return nil, err
	}
	if r.Tool.Features != digest {
		return nil, errors.New("bundle results: they come from other features than this tool's; bundle them with the farmspec that made them")
	}
	m := Manifest{
		Schema: Schema, Tool: r.Tool, Started: r.Run.Started, Seed: r.Run.Seed, Command: r.Run.Command,
		Verdict: r.Verdict, Exit: r.Exit, ClaimConformant: r.ClaimConformant, Hardened: r.Hardened,
		Targets: r.Targets, Scenarios: suite, Partial: partial && len(missing(suite, r)) > 0, Plan: r.Plan,
		Files: []File{{reports.ResultsFile, len(results), sum(results)}},
	}
	if problems := check(&m, r); len(problems) > 0 {
		return nil, fmt.Errorf("bundle results: %w", errors.Join(problems...))
	}
	manifest, err := json.MarshalIndent(&m, "", " ")
	if err != nil {
		return nil, err
	}
	manifest = append(manifest, '\n')
	signature := minisign.SignWithComments(key, manifest, "farmspec bundle of results "+m.Files[0].SHA256, "signature of manifest.json")
	return pack(map[string][]byte{manifestFile: manifest, signatureFile: signature, reports.ResultsFile: results})
}

// suite is the ID of every scenario, sorted, and the digest of the features.
func suite() ([]string, string, error) {
	columns, digest, err := features.Columns()
	if err != nil {
		return nil, "", err
	}
	ids := make([]string, len(columns))
	for i, c := range columns {
		ids[i] = c.ID
	}
	return ids, digest, nil
}

func sum(text []byte) string {
	digest := sha256.Sum256(text)
	return hex.EncodeToString(digest[:])
}

func pack(files map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	t := tar.NewWriter(z)
	for _, name := range names {
		// No time, owner or anything else of this machine.
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(files[name])), Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := t.Write(files[name]); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// ErrFormat is what is not a bundle at all.
var ErrFormat = errors.New("not a bundle")

// unpack reads exactly the files that a bundle has.
func unpack(archive []byte) (map[string][]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	limited := &io.LimitedReader{R: z, N: maxBytes}
	t := tar.NewReader(limited)
	files := map[string][]byte{}
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && (h.Typeflag != tar.TypeReg || len(files) == len(names) || h.Name != names[len(files)]) {
			err = fmt.Errorf("%q is not in its place", h.Name)
		}
		var text []byte
		if err == nil {
			text, err = io.ReadAll(t)
		}
		if limited.N <= 0 {
			err = fmt.Errorf("it unpacks to more than %d MiB", maxBytes>>20)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %v", ErrFormat, err)
		}
		files[h.Name] = text
	}
	if _, err := io.Copy(io.Discard, limited); err != nil { // to the checksum
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if len(files) < len(names) {
		return nil, fmt.Errorf("%w: %s is missing", ErrFormat, names[len(files)])
	}
	return files, nil
}

// Verify checks a bundle: the signature of the manifest, the digest of each
// file, the schema of the results, that the plan has every scenario and every
// planned case its result, and that the conclusions follow from the results.
// The manifest is nil unless the signature holds; the error joins all that is
// wrong, and is an [ErrFormat] where the archive is none of ours. Notes are
// what the check could not tell.
func Verify(archive []byte, key minisign.PublicKey) (m *Manifest, notes []string, err error) {
	files, err := unpack(archive)
	if err != nil {
		return nil, nil, err
	}
	manifest := files[manifestFile]
	if !minisign.Verify(key, manifest, files[signatureFile]) {
		return nil, nil, errors.New("the signature of the manifest is not of this key, or the manifest was changed")
	}
	m = new(Manifest)
	d := json.NewDecoder(bytes.NewReader(manifest))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, nil, fmt.Errorf("%w: manifest: %v", ErrFormat, err)
	}
	if m.Schema != Schema {
		return nil, nil, fmt.Errorf("%w: version %q; this farmspec reads %q", ErrFormat, m.Schema, Schema)
	}
	results := files[reports.ResultsFile]
	if want := []File{{reports.ResultsFile, len(results), sum(results)}}; !slices.Equal(want, m.Files) {
		return m, nil, fmt.Errorf("%s is not what was signed: it has the digest %s", reports.ResultsFile, sum(results))
	}
	r, err := reports.Parse(results)
	if err != nil {
		return m, nil, fmt.Errorf("%s: %w", reports.ResultsFile, err)
	}
	problems := check(m, r)
	ours, digest, err := suite()
	if err != nil {
		return m, nil, err
	}
	if m.Tool.Features == digest {
		if !slices.Equal(m.Scenarios, ours) {
			problems = append(problems, errors.New("the manifest's list of scenarios is not that of these features"))
		}
	} else {
		notes = append(notes, "the features are not this farmspec's: that the list of scenarios is whole rests on who signed")
	}
	if m.Partial {
		notes = append(notes, fmt.Sprintf("a part of the suite: %d of its cases were not planned", len(missing(m.Scenarios, r))))
	}
	return m, notes, errors.Join(problems...)
}

// missing are the cases of the suite on the report's targets that were not planned.
func missing(suite []string, r *farmspec.Report) []farmspec.CaseID {
	planned := make(map[farmspec.CaseID]bool, len(r.Plan))
	for _, c := range r.Plan {
		planned[c] = true
	}
	var list []farmspec.CaseID
	for _, t := range r.Targets {
		for _, id := range suite {
			if c := (farmspec.CaseID{Scenario: id, Target: t.Name}); !planned[c] {
				list = append(list, c)
			}
		}
	}
	return list
}

// check finds what in the results is not whole, or does not agree with the
// manifest or with itself.
func check(m *Manifest, r *farmspec.Report) []error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	if m.Tool != r.Tool || !m.Started.Equal(r.Run.Started) || m.Seed != r.Run.Seed || m.Command != r.Run.Command || !sameJSON(m.Targets, r.Targets) {
		problem("the manifest describes another run than the results")
	}
	if !slices.Equal(m.Plan, r.Plan) {
		problem("the manifest's plan is not the results'")
	}
	if m.Verdict != r.Verdict || m.Exit != r.Exit || m.ClaimConformant != r.ClaimConformant || m.Hardened != r.Hardened {
		problem("the manifest states other verdicts than the results")
	}
	if !r.Run.Complete {
		problem("the run is incomplete: %s", r.Run.Why)
	}
	if len(r.Targets) == 0 || len(r.Plan) == 0 || len(m.Scenarios) == 0 {
		problem("nothing was planned")
	}
	targets, scenarios, seen := map[string]bool{}, map[string]bool{}, map[farmspec.CaseID]bool{}
	for _, t := range r.Targets {
		targets[t.Name] = true
	}
	for _, id := range m.Scenarios {
		scenarios[id] = true
	}
	for _, c := range r.Plan {
		if seen[c] || !targets[c.Target] || !scenarios[c.Scenario] {
			problem("%s on %s was planned twice, or is no scenario of the suite or no target of the run", c.Scenario, c.Target)
		}
		seen[c] = true
	}
	if absent := missing(m.Scenarios, r); len(absent) > 0 && !m.Partial {
		problem("the plan leaves out %d of %d cases, %s on %s first, and does not say that it is a part", len(absent), len(m.Scenarios)*len(r.Targets), absent[0].Scenario, absent[0].Target)
	}
	for i := range r.Results {
		if why := unfounded(&r.Results[i]); why != "" {
			problem("%s on %s: %s", r.Results[i].Scenario, r.Results[i].Target, why)
		}
	}
	return append(problems, conclusions(r)...)
}

// unfounded says why a pass does not rest on the case's own checks and steps.
func unfounded(c *farmspec.Result) string {
	if c.Verdict != farmspec.Pass {
		return ""
	}
	kinds := map[farmspec.CheckKind]bool{}
	for _, k := range c.Checks {
		kinds[k.Kind] = true
		if !k.OK {
			return "a pass with a check that failed: " + k.Expected
		}
	}
	for _, s := range c.Steps {
		if s.Status != "passed" {
			return fmt.Sprintf("a pass with a step that is %s: %s", s.Status, s.Text)
		}
	}
	switch {
	case len(c.Checks) == 0:
		return "a pass without a check"
	case kinds[farmspec.Refusal] && !(kinds[farmspec.Witness] && kinds[farmspec.Survivor]):
		return "a pass of a refusal without witness or survivor"
	}
	return ""
}

// conclusions compares what the report concludes with what follows from its results.
func conclusions(r *farmspec.Report) []error {
	again := *r
	features.Conclude(&again)
	var problems []error
	differ := func(what string, stated, follows any) {
		if !sameJSON(stated, follows) {
			problems = append(problems, fmt.Errorf("%s is stated as %v, and %v follows from the results", what, stated, follows))
		}
	}
	differ("the verdict", r.Verdict, again.Verdict)
	differ("the exit code", r.Exit, again.Exit)
	differ("claim-conformant", r.ClaimConformant, again.ClaimConformant)
	differ("hardened", r.Hardened, again.Hardened)
	if len(r.Requirements) != len(again.Requirements) || len(r.Claims) != len(again.Claims) {
		return append(problems, fmt.Errorf("the catalogue is not this farmspec's; verify with %s %s", r.Tool.Version, r.Tool.Commit))
	}
	for i, q := range again.Requirements {
		stated := r.Requirements[i]
		differ("requirement "+stated.ID, stated.ID+" "+string(stated.Verdict), q.ID+" "+string(q.Verdict))
		if !sameJSON(stated.Levels, q.Levels) || !sameJSON(stated.Cases, q.Cases) {
			problems = append(problems, fmt.Errorf("requirement %s: its levels or cases do not follow from the results", q.ID))
		}
	}
	for i, c := range again.Claims {
		stated := r.Claims[i]
		differ(fmt.Sprintf("claim %d", stated.Claim), fmt.Sprint(stated.Claim, stated.Own, stated.Verdict), fmt.Sprint(c.Claim, c.Own, c.Verdict))
	}
	return problems
}

// sameJSON compares values as a file holds them: nil and empty are the same.
func sameJSON(a, b any) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}
