package stub_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/simfarm/stub"
)

func TestStubs(t *testing.T) {
	for _, tc := range []struct {
		kind stub.Kind
		want farmspec.Outcome // for a protected page, after a log-in
		why  string
	}{
		{stub.DenyAll, farmspec.Refused, "it refuses everybody"},
		{stub.NotFound, farmspec.Refused, "it has nothing"},
		{stub.LoginPage, farmspec.Refused, "a form is not the page, whatever the status"},
		{stub.AcceptAll, farmspec.Accepted, "it shows everything to everybody"},
		{stub.HangUp, farmspec.NoAnswer, "it never answers"},
	} {
		t.Run(string(tc.kind), func(t *testing.T) {
			target, stop, err := stub.Open(t.Context(), tc.kind)
			if err != nil {
				t.Fatal(err)
			}
			user, err := target.Hooks.Accounts.New(t.Context(), "Ada")
			if err != nil {
				t.Fatal(err)
			}
			client := &http.Client{Transport: &http.Transport{
				DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					host, port, _ := net.SplitHostPort(addr)
					return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(target.Resolve[host], port))
				},
			}}
			defer client.CloseIdleConnections()
			form := url.Values{target.Login.UserField: {user.Name}, target.Login.PassField: {user.Password}}
			if resp, err := client.PostForm(target.Members[0].At(target.Login.Path), form); err == nil {
				_ = resp.Body.Close()
			}
			for _, p := range target.Pages {
				for _, m := range target.Members {
					if got := target.Judge(get(client, m.At(p.Path)), p, user.Name); got != tc.want {
						t.Errorf("%s at %s: %s, want %s (%s)", p.Path, m.Name, got, tc.want, tc.why)
					}
				}
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if x := get(client, target.Members[0].At("/")); x.Err == nil {
				t.Error("still answers after stop")
			}
		})
	}
}

func get(c *http.Client, url string) *farmspec.Exchange {
	resp, err := c.Get(url)
	if err != nil {
		return &farmspec.Exchange{URL: url, Err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return &farmspec.Exchange{URL: url, Status: resp.StatusCode, Header: resp.Header, Body: body, Err: err}
}

func TestOpenNamesTheKinds(t *testing.T) {
	_, _, err := stub.Open(t.Context(), "deny-al")
	if err == nil || !strings.Contains(err.Error(), string(stub.DenyAll)) {
		t.Errorf("Open of an unknown kind = %v, want an error that lists the kinds", err)
	}
}
