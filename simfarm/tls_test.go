package simfarm_test

import (
	"crypto/tls"
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/simfarm"
)

// TestTLS walks through farms that speak TLS, in each topology and hand-off
// mode, and looks at every door from outside.
func TestTLS(t *testing.T) {
	for _, o := range []simfarm.Options{
		{TLS: true, Handoff: farmspec.Sealed, Topology: farmspec.SharedDomain},
		{TLS: true, Handoff: farmspec.Direct, Topology: farmspec.SingleHost},
		{TLS: true, Handoff: farmspec.Direct, Topology: farmspec.SplitDomain},
	} {
		t.Run(o.ProfileName(), func(t *testing.T) {
			target := open(t, o)
			signIn(t, target).walk()

			doors := []string{target.Hooks.Service.Endpoint()}
			for _, m := range target.Members {
				doors = append(doors, m.URL)
			}
			for _, door := range doors {
				transport := target.Transport()
				defer transport.CloseIdleConnections()
				transport.Protocols.SetHTTP2(true)
				x := farmspec.NewBrowser(farmspec.BrowserOptions{Target: target, Transport: transport}).Send(t.Context(), farmspec.Request{URL: door + "/"})
				if x.Err != nil || !strings.HasPrefix(door, "https://") {
					t.Errorf("%s: %v", door, x.Err)
				}

				plain := farmspec.NewBrowser(farmspec.BrowserOptions{Target: target}).Send(t.Context(), farmspec.Request{URL: "http" + strings.TrimPrefix(door, "https") + "/"})
				if plain.Err == nil && plain.Status != http.StatusBadRequest {
					t.Errorf("%s answers %d over plain HTTP", door, plain.Status)
				}

				stranger := *target
				stranger.RootCAs = nil
				x = farmspec.NewBrowser(farmspec.BrowserOptions{Target: &stranger}).Send(t.Context(), farmspec.Request{URL: door + "/"})
				var unknown *tls.CertificateVerificationError
				if !errors.As(x.Err, &unknown) {
					t.Errorf("%s is trusted by who does not know its authority: %v", door, x.Err)
				}
			}

			fork, closeFork, err := target.Hooks.Fork(t.Context(), farmspec.Variation{})
			must(t, err)
			signIn(t, fork).walk()
			must(t, closeFork())
			if err := target.Hooks.Processes.Stop(t.Context(), target.Members[0].Name); err != nil {
				t.Fatal(err)
			}
			x := farmspec.NewBrowser(farmspec.BrowserOptions{Target: target}).Send(t.Context(), farmspec.Request{URL: target.Members[0].URL + "/"})
			if o.Topology != farmspec.SingleHost && !errors.Is(x.Err, syscall.ECONNREFUSED) {
				t.Errorf("a stopped member answers: %d %v", x.Status, x.Err)
			}
		})
	}
}
