package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/targetfile"
)

// From nothing to a judged farm: init by flags, then the doctor, then a run.
func TestInitDoctorRun(t *testing.T) {
	t.Setenv("MY_PASSWORD", shopPassword)
	s := openShop(t, nil)
	dir := t.TempDir()
	path := filepath.Join(dir, "mine.yaml")
	code, out, errs := command(t, "init", path, "--product", "My: shop", "--url", s.Members[0], "--url", s.Members[1], "--cookie", "shop",
		"--user", "user1", "--user", "user2", "--user", "user3", "--user", "user4", "--password", "env:MY_PASSWORD")
	if code != 0 || !strings.Contains(out, "farmspec doctor "+path) {
		t.Fatalf("init: exit code %d\n%s%s", code, out, errs)
	}
	if code, out, errs := command(t, "doctor", path); code != 0 {
		t.Fatalf("doctor: exit code %d\n%s%s", code, out, errs)
	}
	code, out, errs = command(t, "run", path, "--out", filepath.Join(dir, "report"), "--run", "logout.*", "--run", "login.*", "--run", "common.*")
	if code != 0 {
		t.Errorf("run: exit code %d\n%s%s", code, out, errs)
	}
	if !strings.Contains(out, path+" describes its farm") {
		t.Errorf("run did not call the doctor first:\n%s", out)
	}
	r := results(t, filepath.Join(dir, "report"))
	if len(r.Targets) != 1 || r.Targets[0].Product != "My: shop" {
		t.Errorf("the report is of %+v", r.Targets)
	}
	for _, c := range r.Results {
		if !strings.HasPrefix(c.Repeat, "farmspec run '"+path+"' --run '") {
			t.Errorf("%s is repeated by %q", c.Scenario, c.Repeat)
		}
	}
	for name, text := range entries(t, filepath.Join(dir, "report")) {
		if strings.Contains(text, shopPassword) {
			t.Errorf("%s has the password", name)
		}
	}
}

func TestInitOverwritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.yaml")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errs := command(t, "init", path)
	if text, _ := os.ReadFile(path); code != farmspec.ExitUsage || string(text) != "mine" || !strings.Contains(errs, "--force") {
		t.Errorf("exit code %d, the file is %q: %s", code, text, errs)
	}
	if code, _, errs := command(t, "init", path, "--force"); code != 0 {
		t.Errorf("--force: exit code %d: %s", code, errs)
	}
	if text, _ := os.ReadFile(path); string(text) != string(targetfile.Example) {
		t.Error("without flags the file is not the example")
	}
}

func TestInitRefusesWhatCannotBe(t *testing.T) {
	for _, args := range [][]string{
		{"--url", "127.0.0.1:80"}, {"--login", "login"}, {"--idle", "30"}, {"--echo", "Hello"}, {"--password", "hunter2"},
	} {
		path := filepath.Join(t.TempDir(), "t.yaml")
		code, _, errs := command(t, append([]string{"init", path}, args...)...)
		if _, err := os.Stat(path); code != farmspec.ExitUsage || err == nil || strings.Contains(errs, "hunter2") {
			t.Errorf("%v: exit code %d, file written: %v, %s", args, code, err == nil, errs)
		}
	}
}

func TestInitAsks(t *testing.T) {
	s := targetfile.Sketch{Cookie: "known"}
	var out strings.Builder
	answers := "\"Quoted\" & odd: shop\nhttp://a.shop.example:1 http://b.shop.example:1\n\n\n\n\nHello {user}\n\n\n45m\nx y\nenv:P\n"
	if err := ask(strings.NewReader(answers), &out, &s); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "Session cookie") {
		t.Error("what a flag said is asked for")
	}
	content, err := s.Write()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("P", "p")
	path := filepath.Join(t.TempDir(), "t.yaml")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	target, err := targetfile.Load(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, content)
	}
	if target.Product != `"Quoted" & odd: shop` || target.Members[1].URL != "http://b.shop.example:1" || target.Carrier.Name != "known" || target.UserEcho != "Hello {user}" {
		t.Errorf("the answers became %+v", target)
	}
	if err := ask(strings.NewReader("only one\n"), &out, &targetfile.Sketch{}); err == nil {
		t.Error("answers that end too early make a file")
	}
}

// The doctor stops a run that would prove nothing, before any report.
func TestRunNeedsAReadyTarget(t *testing.T) {
	s := openShop(t, nil)
	path := s.file(t, "url: "+s.Members[1], "url: "+unused(t))
	dir := filepath.Join(t.TempDir(), "report")
	code, out, errs := command(t, "run", path, "--out", dir)
	if code != farmspec.ExitNotReady || !strings.Contains(out, "ill  "+path+":6: server-2 cannot be reached") || !strings.Contains(errs, "1 line to mend") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if left := names(t, dir); len(left) > 0 {
		t.Errorf("a run that never began left %q", left)
	}
	code, _, _ = command(t, "run", path, "--out", dir, "--no-doctor", "--run", "rotate.honest-user")
	if code == 0 || code == farmspec.ExitNotReady {
		t.Errorf("--no-doctor: exit code %d", code)
	}
	if code, _, errs := command(t, "run", path, "--mode", "sealed"); code != farmspec.ExitUsage || !strings.Contains(errs, "profiles of the reference") {
		t.Errorf("--mode with a target file: exit code %d: %s", code, errs)
	}
}
