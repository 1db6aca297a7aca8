package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/farmspec/farmspec"
)

// stoppable puts a server before an address that POST /stop ends at once and
// POST /start brings back at its address. It returns the address and that of
// the switch.
func stoppable(t *testing.T, behind string) (address, control string) {
	t.Helper()
	to, err := url.Parse(behind)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var running *http.Server
	start := func(at string) (string, error) {
		l, err := net.Listen("tcp", at)
		if err != nil {
			return "", err
		}
		running = &http.Server{Handler: httputil.NewSingleHostReverseProxy(to)}
		go func(s *http.Server) { _ = s.Serve(l) }(running)
		return l.Addr().String(), nil
	}
	at, err := start(strings.TrimPrefix(unused(t), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	c := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		err := running.Close()
		if r.URL.Path == "/start" {
			_, err = start(at)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	t.Cleanup(func() {
		c.Close()
		mu.Lock()
		defer mu.Unlock()
		_ = running.Close()
	})
	return "http://" + at, c.URL
}

// The hooks that stop and start a member are proved by doing it.
func TestDoctorStopsAndStarts(t *testing.T) {
	s := openShop(t, nil)
	address, control := stoppable(t, s.Members[0])
	file := func(stop, start string) string {
		return s.file(t, "url: "+s.Members[0], "url: "+address, "hooks:\n",
			"hooks:\n  processes:\n    server-1:\n      stop: "+stop+"\n      start: "+start+"\n")
	}
	good := file("POST "+control+"/stop", "POST "+control+"/start")
	if code, out, errs := command(t, "doctor", good); code != 0 || !strings.Contains(out, "server-1 stops, and is back after") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	for _, tc := range []struct{ name, path, want string }{
		{"a stop that does not", file("'true'", "POST "+control+"/start"), "server-1 still answers after it was stopped; it must end the process itself"},
		{"a stop that fails", file("'echo no such unit >&2; exit 5'", "POST "+control+"/start"), "stop server-1: run the command: exit status 5: no such unit"},
		{"a start that fails", file("POST "+control+"/stop", "exit 7"), "start server-1: run the command: exit status 7"},
	} {
		code, out, errs := command(t, "doctor", tc.path)
		if code != farmspec.ExitNotReady || !strings.Contains(out, tc.want) {
			t.Errorf("%s: exit code %d, want %q\n%s%s", tc.name, code, tc.want, out, errs)
		}
	}
}
