package main

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
)

// TestServeOverTLS trusts what serve leaves in the file, and nothing less.
func TestServeOverTLS(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	s := serve(t, "--ca", file)
	ca, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatalf("no certificate in %q", ca)
	}
	address := s.members[1].URL + "/login"
	for _, tc := range []struct {
		name string
		cas  *x509.CertPool
		ok   bool
	}{{"with the file", pool, true}, {"without it", nil, false}} {
		x := farmspec.NewBrowser(farmspec.BrowserOptions{Target: &farmspec.Target{RootCAs: tc.cas}}).Send(t.Context(), farmspec.Request{URL: address})
		if ok := x.Err == nil; ok != tc.ok || !strings.HasPrefix(address, "https://") {
			t.Errorf("%s, %s is reached: %v (%v)", tc.name, address, ok, x.Err)
		}
	}
	if code := s.end(t, os.Interrupt); code != 0 {
		t.Errorf("serve ended with %d", code)
	}
}
