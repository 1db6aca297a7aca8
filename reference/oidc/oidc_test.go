package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// pair is a provider and a relying party with one clock.
func pair(t testing.TB) (*Provider, *Receiver) {
	t.Helper()
	now := func() time.Time { return noon }
	p := &Provider{Issuer: "https://provider.example", Key: key(t), Now: now}
	var mu sync.Mutex
	seen := map[string]bool{}
	r := &Receiver{Issuer: p.Issuer, Client: "farm", Key: p.Key.Public(), Now: now, Once: func(id string, _, _ time.Time) bool {
		mu.Lock()
		defer mu.Unlock()
		again := seen[id]
		seen[id] = true
		return !again
	}}
	return p, r
}

func TestReceive(t *testing.T) {
	p, r := pair(t)
	for _, tc := range []struct {
		name   string
		change func(*Claims)
		want   error
		why    string
	}{
		{"whole", func(*Claims) {}, nil, "the control"},
		{"subject alone", func(c *Claims) { c.Session = "" }, nil, "2.4: sub or sid or both"},
		{"session alone", func(c *Claims) { c.Subject = "" }, nil, "2.4: sub or sid or both"},
		{"neither", func(c *Claims) { c.Subject, c.Session = "", "" }, ErrClaims, "2.6 step 4"},
		{"one of several clients", func(c *Claims) { c.Audience = Audience{"other", "farm"} }, nil, "aud may be a list"},
		{"another client", func(c *Claims) { c.Audience = Audience{"other"} }, ErrClaims, "2.6 step 3"},
		{"no client", func(c *Claims) { c.Audience = nil }, ErrClaims, "2.6 step 3"},
		{"another issuer", func(c *Claims) { c.Issuer += "/" }, ErrClaims, "2.6 step 3"},
		{"type in full", func(c *Claims) { c.Type = "application/logout+jwt" }, nil, "RFC 7515 4.1.9: the prefix may be left out"},
		{"type of an access token", func(c *Claims) { c.Type = "at+jwt" }, ErrClaims, "10.5.5"},
		{"no type", func(c *Claims) { c.Type = "" }, ErrClaims, "10.5.5"},
		{"no event", func(c *Claims) { c.Events = nil }, ErrClaims, "2.6 step 5"},
		{"another event", func(c *Claims) { c.Events = map[string]json.RawMessage{"x": json.RawMessage("{}")} }, ErrClaims, "2.6 step 5"},
		{"event is no object", func(c *Claims) { c.Events[Event] = json.RawMessage("1") }, ErrClaims, "2.4: a JSON object"},
		{"event is null", func(c *Claims) { c.Events[Event] = json.RawMessage("null") }, ErrClaims, "2.4: a JSON object"},
		{"nonce", func(c *Claims) { c.Nonce = json.RawMessage(`"n"`) }, ErrClaims, "2.6 step 6"},
		{"null nonce", func(c *Claims) { c.Nonce = json.RawMessage("null") }, ErrClaims, "2.6 step 6: there is one"},
		{"no ID", func(c *Claims) { c.ID = "" }, ErrClaims, "2.4: required"},
		{"no instant", func(c *Claims) { c.IssuedAt = 0 }, ErrClaims, "2.4: required"},
		{"no expiry", func(c *Claims) { c.Expiry = 0 }, ErrClaims, "2.4: required"},
		{"just before its end", func(c *Claims) { c.Expiry = noon.Add(time.Second - skew).Unix() }, nil, "two clocks may differ"},
		{"expired", func(c *Claims) { c.Expiry = noon.Add(-skew).Unix() }, ErrClaims, "2.6 step 3"},
		{"issued long ago", func(c *Claims) { c.IssuedAt = noon.Add(-time.Hour).Unix() }, ErrClaims, "2.6 step 3: iat"},
		{"issued in the future", func(c *Claims) { c.IssuedAt = noon.Add(time.Minute).Unix() }, ErrClaims, "2.6 step 3: iat"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := p.Claims("farm", "ada", "one")
			tc.change(&c)
			token, err := Sign(c, p.Key)
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Receive(token)
			if !errors.Is(err, tc.want) {
				t.Errorf("Receive = %+v, %v; want %v (%s)", got, err, tc.want, tc.why)
			}
			if tc.want == nil {
				if got.Subject != c.Subject || got.Session != c.Session {
					t.Errorf("Receive names %q and %q, want %q and %q", got.Subject, got.Session, c.Subject, c.Session)
				}
				if _, err := r.Receive(token); !errors.Is(err, ErrReplayed) {
					t.Errorf("Receive again = %v, want %v", err, ErrReplayed)
				}
			}
		})
	}
}

func TestReceiveWantsTheProvidersSignature(t *testing.T) {
	p, r := pair(t)
	c := p.Claims("farm", "ada", "one")
	good, err := Sign(c, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := Sign(c, key(t))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	encode := base64.RawURLEncoding.EncodeToString
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	public, err := p.Key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	symmetric, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: public}, new(jose.SignerOptions).WithType(Type))
	if err != nil {
		t.Fatal(err)
	}
	confused, err := symmetric.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	byPublicKey, err := confused.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"another key":               foreign,
		"no algorithm":              encode([]byte(`{"alg":"none","typ":"logout+jwt"}`)) + "." + parts[1] + ".",
		"the public key as secret":  byPublicKey,
		"another subject":           parts[0] + "." + encode([]byte(strings.Replace(string(payload), "ada", "ben", 1))) + "." + parts[2],
		"no signature":              parts[0] + "." + parts[1] + ".",
		"two parts":                 parts[0] + "." + parts[1],
		"nothing":                   "",
		"not a token":               "ada",
		"a token longer than bound": good + strings.Repeat("A", maxToken),
	} {
		if got, err := r.Receive(token); !errors.Is(err, ErrToken) && !errors.Is(err, ErrSignature) {
			t.Errorf("%s: Receive = %+v, %v; want it refused for its form or signature", name, got, err)
		}
	}
	if _, err := r.Receive(good); err != nil {
		t.Errorf("the control: %v", err)
	}
}

func TestNotify(t *testing.T) {
	p, r := pair(t)
	status := http.StatusOK
	var got Claims
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var err error
		if got, err = r.Receive(req.PostFormValue("logout_token")); err != nil {
			t.Error(err)
		}
		w.WriteHeader(status)
	}))
	defer srv.Close()
	for _, tc := range []struct {
		status int
		ok     bool
	}{{http.StatusOK, true}, {http.StatusNoContent, true}, {http.StatusBadRequest, false}, {http.StatusNotImplemented, false}, {http.StatusFound, false}} {
		status = tc.status
		err := p.Notify(context.Background(), srv.URL, "farm", "ada", "one")
		if (err == nil) != tc.ok {
			t.Errorf("Notify, answered %d = %v, want ok %v", tc.status, err, tc.ok)
		}
		if got.Subject != "ada" || got.Session != "one" {
			t.Errorf("the token names %q and %q", got.Subject, got.Session)
		}
	}
	srv.Close()
	if err := p.Notify(context.Background(), srv.URL, "farm", "ada", "one"); err == nil {
		t.Error("Notify of nobody = nil, want an error")
	}
}

// FuzzReceive feeds strangers' bytes: nothing may panic, and what the provider
// has not signed is never believed.
func FuzzReceive(f *testing.F) {
	p, r := pair(f)
	foreign, err := Sign(p.Claims("farm", "ada", "one"), key(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(foreign)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if c, err := r.Receive(token); err == nil {
			t.Errorf("believed %+v", c)
		}
	})
}
