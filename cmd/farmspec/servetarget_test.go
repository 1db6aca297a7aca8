package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/simfarm"
	"github.com/farmspec/farmspec/targetfile"
)

// A served farm writes a file that describes it as it describes itself, and
// judged by that file from another process it gets the verdicts that it gets
// in one process, as far as its hooks reach.
func TestServedFarmIsJudgedByItsFile(t *testing.T) {
	if testing.Short() {
		t.Skip("judges two whole farms")
	}
	for _, tc := range []struct {
		name string
		args []string
		o    simfarm.Options
	}{
		{"sealed", []string{"--policy", "strict"}, simfarm.Options{Rotation: farmspec.Strict}},
		{"claimed", []string{"--mode", "claimed", "--policy", "read-verify", "--topology", "split-domain", "--replay", "revoke-family"},
			simfarm.Options{Handoff: farmspec.Claimed, Rotation: farmspec.ReadVerify, Topology: farmspec.SplitDomain, Replay: farmspec.RevokeFamily}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "farm.yaml")
			serve(t, append(tc.args, "--write-target", path)...)
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Fatalf("the file has mode %v (%v), want 0600", info.Mode(), err)
			}
			target, err := targetfile.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			farm, err := simfarm.Open(t.Context(), tc.o)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = farm.Close() }()
			own := farm.Target()
			own.Login.Kind, own.Logout.Kind, own.Limits.Tolerance = farmspec.FormLogin, farmspec.FormLogout, time.Second // as a file spells nothing
			if diff := cmp.Diff(own, target, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(farmspec.Target{}, "Members", "Resolve", "Hooks", "Version", "Features")); diff != "" {
				t.Errorf("the file describes another target (-farm +file):\n%s", diff)
			}

			code, out, errs := command(t, "doctor", path)
			if code != 0 {
				t.Fatalf("doctor: exit code %d\n%s%s", code, out, errs)
			}
			for _, proven := range []string{
				"the keys open the token", "it verifies a good token for each member", "it shows the row of", "the administrator ends all sessions",
				"the service stops", "the database stops", "server-1 stops", "the hook moves the time",
			} {
				if !strings.Contains(out, proven) {
					t.Errorf("the doctor does not say %q\n%s", proven, out)
				}
			}
			dir := filepath.Join(t.TempDir(), "report")
			_, out, errs = command(t, "run", path, "--no-doctor", "--out", dir, "--timeout", "2m")
			served := results(t, dir)
			embedded, err := features.Judge(t.Context(), features.Options{Seed: 1, Sparse: true}, own)
			if err != nil {
				t.Fatal(err)
			}
			verdicts := map[string]farmspec.Result{}
			for _, r := range embedded.Results {
				verdicts[r.Scenario] = r
			}
			alike := 0
			for _, r := range served.Results {
				was := verdicts[r.Scenario]
				switch {
				case r.Verdict == was.Verdict:
					alike++
				case was.Verdict == farmspec.Pass && (r.Verdict == farmspec.Unobservable || r.Verdict == farmspec.NotOffered): // no private farms, no messages
				default:
					t.Errorf("%s: %s by the file (%s), %s embedded (%s)", r.Scenario, r.Verdict, r.Reason, was.Verdict, was.Reason)
				}
			}
			t.Logf("%d of %d verdicts are the same", alike, len(served.Results))
			if alike < len(served.Results)*4/5 {
				t.Errorf("%d of %d verdicts are the same; the hooks of the file reach too little\n%s%s", alike, len(served.Results), out, errs)
			}
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(file)) {
				_, secret, ok := strings.Cut(strings.TrimSpace(line), `"text:`)
				secret = strings.TrimSuffix(secret, `"`)
				for name, text := range entries(t, dir) {
					if ok && strings.Contains(text, secret) {
						t.Errorf("%s has the secret of the line %q", name, line[:12])
					}
				}
			}
		})
	}
}

// A served farm tells its own numbers, and its file says where.
func TestServedFarmTellsItsNumbers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "farm.yaml")
	s := serve(t, "--metrics", "127.0.0.1:0", "--write-target", path)
	target, err := targetfile.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(target.Metrics) != 1 {
		t.Fatalf("the file has the numbers at %q, want one address", target.Metrics)
	}
	b := farmspec.NewBrowser(farmspec.BrowserOptions{Name: "Ada", Target: target})
	page, err := b.Open(t.Context(), s.members[0].At("/login"))
	if err == nil {
		_, err = b.Submit(t.Context(), page, "", map[string]string{"user": "ada", "password": s.passwords["ada"]})
	}
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(target.Metrics[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(text), "farm_logins_total 1\n") {
		t.Errorf("after one log-in the numbers are (%v)\n%s", err, text)
	}
}
