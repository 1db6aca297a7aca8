package dbtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/farmspec/farmspec/reference/storetest/native"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

// Each way to a server gives one that works, that is on loopback alone, that
// wants its password, and that is the same one after a stop.
func TestServers(t *testing.T) {
	for _, k := range []*kind{postgres, redis} {
		for way, start := range map[string]func(context.Context) (*Server, error, error){
			"container": func(ctx context.Context) (*Server, error, error) { return k.inContainer(ctx, false) },
			"installed": func(ctx context.Context) (*Server, error, error) {
				s, err := k.installed(ctx)
				if errors.Is(err, native.ErrAbsent) {
					return nil, err, nil
				}
				return s, nil, err
			},
		} {
			t.Run(k.name+" "+way, func(t *testing.T) {
				s, why, err := start(context.WithoutCancel(t.Context()))
				if err != nil {
					t.Fatal(err)
				}
				if why != nil {
					t.Skip(why)
				}
				t.Cleanup(func() {
					if err := s.close(); err != nil {
						t.Error(err)
					}
				})
				for _, address := range elsewhere(t, s.URL) {
					if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
						conn.Close()
						t.Errorf("it listens at %s too", address)
					}
				}
				if err := k.ask(t.Context(), withPassword(t, s.URL, "wrong")); err == nil {
					t.Error("it takes a wrong password")
				}
				s.Stop(t)
				if err := k.ask(t.Context(), s.URL); err == nil {
					t.Error("it answers after Stop")
				}
				s.Start(t)
				s.Kill(t)
				if err := k.ask(t.Context(), s.URL); err == nil {
					t.Error("it answers after Kill")
				}
				s.Start(t)
			})
		}
	}
}

// elsewhere lists the server's port at every address of this machine that is
// not loopback.
func elsewhere(t *testing.T, address string) (all []string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip, is := a.(*net.IPNet); is && !ip.IP.IsLoopback() && ip.IP.To4() != nil {
			all = append(all, net.JoinHostPort(ip.IP.String(), u.Port()))
		}
	}
	return all
}

func withPassword(t *testing.T, address, password string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String()
}

func TestSharedServer(t *testing.T) {
	if first, again := Redis(t), Redis(t); first != again {
		t.Error("two calls in one binary gave two servers")
	}
}

// The skip for a missing server says each way to one.
func TestNoServer(t *testing.T) {
	k := &kind{name: "Nothing", variable: "FARMSPEC_TEST_NOTHING", image: "127.0.0.1:1/none:1", packageName: "nothing-server", port: "1/tcp",
		args:  func(string) []string { return nil },
		start: func(context.Context, native.Options) (*native.Server, error) { return nil, native.ErrAbsent }}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // where an engine tries to pull
	defer cancel()
	s, why, err := k.serve(ctx)
	if s != nil || err != nil {
		t.Fatalf("serve = %v, %v", s, err)
	}
	for _, want := range []string{"no Nothing: ", k.variable, "Docker engine", k.packageName} {
		if !strings.Contains(why, want) {
			t.Errorf("the skip says %q, without %q", why, want)
		}
	}
}

// A server does not outlive a process that is killed.
func TestKilled(t *testing.T) {
	if os.Getenv("DBTEST_TEST_KILLED") != "" {
		s, err := redis.installed(context.Background())
		if err != nil {
			fmt.Println("absent", err)
			return
		}
		fmt.Println("serving", s.URL)
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "DBTEST_TEST_KILLED=yes", "TMPDIR="+reachable(t))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	lines := bufio.NewScanner(out)
	lines.Scan()
	address, serving := strings.CutPrefix(lines.Text(), "serving ")
	if !serving {
		t.Skip(lines.Text())
	}
	if err := redis.ask(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); redis.ask(t.Context(), address) == nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server lives on ten seconds after the process that started it")
		}
	}
}

// reachable is a folder that another user may pass through.
func reachable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "farmspec-db-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}
