package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/memstore"
	"github.com/farmspec/farmspec/reference/saml"
	"github.com/farmspec/farmspec/reference/web"
)

// lonely is a federated service whose provider nobody reaches, and its journal.
func lonely(t *testing.T) (*web.Federated, *[]saml.Record) {
	t.Helper()
	users := &reference.Users{Iterations: 1}
	for _, name := range []string{"ada", "ben"} {
		if err := users.Add(name, "secret"); err != nil {
			t.Fatal(err)
		}
	}
	tickets := &web.Tickets{Accounts: users}
	svc, err := reference.NewService(reference.Options{Store: memstore.Open(), Users: tickets})
	if err != nil {
		t.Fatal(err)
	}
	own, err := saml.NewKey("farm")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := saml.NewKey("provider")
	if err != nil {
		t.Fatal(err)
	}
	var journal []saml.Record
	f, err := web.NewFederated(svc, web.FederatedOptions{Tickets: tickets, Participant: saml.ParticipantOptions{
		Party: saml.Party{
			Entity: "http://farm.example", Key: own, Logout: map[saml.Binding]string{saml.SOAP: "http://farm.example/slo"},
			Transport: unreachable{}, Journal: func(r saml.Record) { journal = append(journal, r) },
		},
		Provider: saml.Peer{
			Entity: "http://provider.example", Certificate: provider.Certificate, SignOn: []string{"http://provider.example/sso"},
			Logout: map[saml.Binding]string{saml.SOAP: "http://provider.example/slo", saml.Redirect: "http://provider.example/slo"},
		},
		SignOn: []string{"http://farm.example/acs"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return f, &journal
}

type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("nobody answers")
}

// tied logs a user in and ties the session to one at the provider, as an
// assertion would have.
func tied(t *testing.T, f *web.Federated, user string) reference.Grant {
	t.Helper()
	g, err := f.Login(t.Context(), reference.LoginRequest{User: user, Password: "secret"})
	if err == nil {
		err = f.Participant().Enter(t.Context(), saml.Identity{NameID: user, Index: "_" + user}, g.Session.String())
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Whoever ends a session by intent, it has ended here though nobody else
// answers, the provider has been told once, and with the right reason.
func TestEndedHereAndTold(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(ctx context.Context, f *web.Federated, g reference.Grant) (partial bool, err error)
		why  saml.Reason
	}{
		{"log-out everywhere", func(ctx context.Context, f *web.Federated, g reference.Grant) (bool, error) {
			bye, err := f.SignOut(ctx, reference.Presented{Token: g.Token})
			return bye.Partial, err
		}, saml.ByUser},
		{"log-out", func(ctx context.Context, f *web.Federated, g reference.Grant) (bool, error) {
			return true, f.Logout(ctx, reference.Presented{Token: g.Token})
		}, saml.ByUser},
		{"one session terminated", func(ctx context.Context, f *web.Federated, g reference.Grant) (bool, error) {
			_, err := f.Terminate(ctx, reference.Selection{Session: g.Session})
			return partialAlone(err)
		}, saml.ByAdmin},
		{"a user terminated", func(ctx context.Context, f *web.Federated, _ reference.Grant) (bool, error) {
			_, err := f.Terminate(ctx, reference.Selection{User: "ada"})
			return partialAlone(err)
		}, saml.ByAdmin},
		{"a user disabled", func(ctx context.Context, f *web.Federated, _ reference.Grant) (bool, error) {
			return true, f.DisableUser(ctx, "ada")
		}, saml.ByAdmin},
		{"ended from another session", func(ctx context.Context, f *web.Federated, g reference.Grant) (bool, error) {
			other, err := f.Login(ctx, reference.LoginRequest{User: "ada", Password: "secret"})
			if err == nil {
				_, err = f.EndOwn(ctx, reference.Confirmed{Session: other.Session, Password: "secret"}, g.Session)
			}
			return true, err
		}, saml.ByUser},
		{"ended with a change of password", func(ctx context.Context, f *web.Federated, _ reference.Grant) (bool, error) {
			other, err := f.Login(ctx, reference.LoginRequest{User: "ada", Password: "secret"})
			if err == nil {
				err = f.ChangePassword(ctx, reference.Confirmed{Session: other.Session, Password: "secret"}, "another secret", true)
			}
			return true, err
		}, saml.ByUser},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, journal := lonely(t)
			ctx := t.Context()
			ada, ben := tied(t, f, "ada"), tied(t, f, "ben")
			partial, err := tc.end(ctx, f, ada)
			if err != nil || !partial {
				t.Errorf("it ends with %v, partial %v; want it ended here, and partial", err, partial)
			}
			if _, err := f.Verify(ctx, reference.Presented{Token: ada.Token}); !errors.Is(err, reference.ErrClosed) {
				t.Errorf("her token afterwards: %v, want %v", err, reference.ErrClosed)
			}
			if _, err := f.Verify(ctx, reference.Presented{Token: ben.Token}); err != nil {
				t.Errorf("his token afterwards: %v", err)
			}
			if n := len(*journal); n != 1 {
				t.Fatalf("the provider was told %d times, want once: %+v", n, *journal)
			}
			if m := (*journal)[0].Message; m.NameID != "ada" || m.Reason != tc.why {
				t.Errorf("the provider was told of %q for the reason %q, want ada and %q", m.NameID, m.Reason, tc.why)
			}
		})
	}
}

func partialAlone(err error) (bool, error) {
	if errors.Is(err, saml.ErrPartial) {
		return true, nil
	}
	return false, err
}

// What nobody else has a part in is told to nobody.
func TestUntiedSessionsAreToldToNobody(t *testing.T) {
	f, journal := lonely(t)
	g, err := f.Login(t.Context(), reference.LoginRequest{User: "ada", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	bye, err := f.SignOut(t.Context(), reference.Presented{Token: g.Token})
	if err != nil || bye != (web.Farewell{}) {
		t.Errorf("SignOut = %+v, %v; want nothing said of others", bye, err)
	}
	if len(*journal) != 0 {
		t.Errorf("somebody was told: %+v", *journal)
	}
}

// A ticket takes the place of a password once, for its user; nobody can make one.
func TestAssertionsNeedTheProvider(t *testing.T) {
	f, _ := lonely(t)
	for _, r := range []reference.LoginRequest{
		{Password: "saml:"}, {Password: "saml:PGEvPg=="}, {User: "ada", Password: "saml:PGEvPg=="}, {},
	} {
		if g, err := f.Login(t.Context(), r); !errors.Is(err, reference.ErrCredentials) {
			t.Errorf("Login(%+v) = %v, %v; want %v", r, g, err, reference.ErrCredentials)
		}
	}
}

// A service that takes no part answers as if there were no such route.
func TestNoFederation(t *testing.T) {
	svc, err := reference.NewService(reference.Options{Store: memstore.Open()})
	if err != nil {
		t.Fatal(err)
	}
	api := web.NewAPI(svc, web.APIOptions{Credentials: map[string]string{"server-1": "secret"}})
	for path, body := range map[string]string{
		"/v1/federation/sign-in":  `{"at":"http://farm.example/acs","relay":"/"}`,
		"/v1/federation/sign-out": `{"token":{"id":"00000000000000000000000000000001","timestamp":1}}`,
		"/v1/federation/deliver":  `{"path":"/sso/logout","method":"GET"}`,
	} {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer secret")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		var got struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusNotFound || got.Error != "path" {
			t.Errorf("%s is answered %d %s, want 404 with path", path, w.Code, w.Body)
		}
	}
}
