package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/farmspec/farmspec/reference"
)

// The paths at which every member takes part in single sign-on and single
// log-out. They need no session.
const (
	// SSOPath shows a form that leads to the identity provider.
	SSOPath = "/sso/login"
	// ACSPath takes the provider's sign-on responses (SAML Profiles 4.1.4.5).
	ACSPath = "/sso/acs"
	// SLOPath takes log-out messages, on either channel (SAML Profiles 4.4.4).
	SLOPath = "/sso/logout"
	// BackchannelPath takes log-out tokens (OpenID Connect Back-Channel Logout 2.5).
	BackchannelPath = "/sso/backchannel-logout"
)

// What a log-out ends with, where others take part.
const (
	SignedOutEverywhere = "You are signed out of every system that takes part."
	SignedOutPartly     = "You are signed out here. Not every system that takes part has confirmed it: close your browser to be safe."
)

// Federation is the farm's part in single sign-on and single log-out, as its
// members see it. The service judges every message; a member hands on what
// arrived and what is to be answered. All methods are safe for concurrent use.
type Federation interface {
	// SignIn returns where a browser signs in, to come back to the address at
	// with relay.
	SignIn(ctx context.Context, at, relay string) (location string, err error)
	// SignOut ends the session of a token here, and then everywhere. An error
	// means that it has not ended here.
	SignOut(ctx context.Context, r reference.Presented) (Farewell, error)
	// Deliver takes what arrived at SLOPath or BackchannelPath. What is wrong
	// with the message shows in the answer; an error is a failure of the system.
	Deliver(ctx context.Context, d Delivery) (Answer, error)
}

// Farewell is how far a log-out has come.
type Farewell struct {
	// Location is where the browser is to carry it on; "" where it is over.
	Location string `json:"location,omitempty"`
	// Everywhere: all who take part have confirmed. Partial: not all have.
	// Neither: nobody else takes part.
	Everywhere bool `json:"everywhere,omitempty"`
	Partial    bool `json:"partial,omitempty"`
}

func (f Farewell) note() string {
	switch {
	case f.Partial:
		return SignedOutPartly
	case f.Everywhere:
		return SignedOutEverywhere
	}
	return ""
}

// Delivery is a request that brought a message of the federation.
type Delivery struct {
	Path        string `json:"path"`
	Method      string `json:"method"`
	Query       string `json:"query,omitempty"`
	ContentType string `json:"content_type,omitempty"`
	Body        []byte `json:"body,omitempty"`
}

// Answer is what is to be answered, or, without a status, that a log-out that
// began here has come to its end.
type Answer struct {
	Status      int      `json:"status,omitempty"`
	Location    string   `json:"location,omitempty"`
	ContentType string   `json:"content_type,omitempty"`
	Body        []byte   `json:"body,omitempty"`
	Farewell    Farewell `json:"farewell,omitzero"`
}

// assertionPrefix marks a password, of nobody, that is a sign-on response.
const assertionPrefix = "saml:"

// FederationClient is Federation over HTTP. Its errors are those of a Client.
type FederationClient struct{ caller }

var _ Federation = (*FederationClient)(nil)

// NewFederationClient returns a member's client.
func NewFederationClient(o ClientOptions) *FederationClient {
	return &FederationClient{newCaller(o.URL, o.Secret, o.Transport, o.Timeout)}
}

// SignIn implements Federation.
func (c *FederationClient) SignIn(ctx context.Context, at, relay string) (string, error) {
	var got Farewell
	err := c.post(ctx, "begin single sign-on", "/v1/federation/sign-in", signInRequest{at, relay}, &got)
	return got.Location, err
}

// SignOut implements Federation.
func (c *FederationClient) SignOut(ctx context.Context, r reference.Presented) (f Farewell, err error) {
	err = c.call(ctx, "log out everywhere", http.MethodPost, "/v1/federation/sign-out", appendPresented(nil, r), &f)
	return f, err
}

// Deliver implements Federation.
func (c *FederationClient) Deliver(ctx context.Context, d Delivery) (a Answer, err error) {
	err = c.post(ctx, "deliver log-out message", "/v1/federation/deliver", d, &a)
	return a, err
}

func (c *FederationClient) post(ctx context.Context, action, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.call(ctx, action, http.MethodPost, path, body, out)
}

// federationRoutes are the plain routes of a member that takes part.
var federationRoutes = map[string]plainRoute{
	SSOPath:         {"GET, HEAD, POST", (*visit).singleSignOn},
	ACSPath:         {"POST", (*visit).assertion},
	SLOPath:         {"GET, POST", (*visit).deliver},
	BackchannelPath: {"POST", (*visit).deliver},
}

// singleSignOn shows a form, and leads to the provider: only what the person
// does here begins a session (ASVS 7.6.2).
func (v *visit) singleSignOn() {
	d := loginData{Next: v.next(v.r.URL.Query().Get("next"))}
	if !v.safe() {
		form := v.form()
		d.Next = v.next(form.Get("next"))
		if v.formTokenOK(formCookie, form.Get("csrf")) {
			secret, err := v.formToken(signOnCookie)
			to := ""
			if err == nil {
				to, err = v.Federation.SignIn(v.ctx, v.self.URL+ACSPath, secret+d.Next)
			}
			if err != nil {
				v.fail(err)
				return
			}
			v.see(http.StatusSeeOther, to)
			return
		}
	}
	var err error
	if d.Token, err = v.formToken(formCookie); err == nil {
		err = v.html(http.StatusOK, "sso", "Single sign-on", d)
	}
	if err != nil {
		v.fail(err)
	}
}

// assertion logs in whoever the provider's response is about. The service
// decides whether to believe it; a member does not even read it, and only sees
// that this browser has asked for it: else anybody could have somebody else's
// browser signed in as himself (RFC 9700, 4.7). The relay state tells, the
// browser's secret and then where to go.
func (v *visit) assertion() {
	form := v.form()
	secret, next, _ := strings.Cut(form.Get("RelayState"), "/")
	var g reference.Grant
	err := reference.ErrCredentials
	if v.formTokenOK(signOnCookie, secret) {
		in := reference.LoginRequest{Password: assertionPrefix + form.Get("SAMLResponse")}
		g, err = v.Sessions.Login(v.ctx, v.discarding(in))
	}
	switch {
	case errors.Is(err, reference.ErrCredentials):
		v.notice(http.StatusForbidden, "Not signed in", "What the identity provider sent is not good here, or not any more. Please sign in again.")
	case err != nil:
		v.fail(err)
	default:
		v.welcome(g, v.next("/"+next))
	}
}

// deliver hands a message of the federation to the service.
func (v *visit) deliver() {
	var body bytes.Buffer
	if _, err := body.ReadFrom(http.MaxBytesReader(v.w, v.r.Body, maxMessage)); err != nil {
		v.notice(http.StatusBadRequest, "Not understood", "This message is too long, or has broken off.")
		return
	}
	a, err := v.Federation.Deliver(v.ctx, Delivery{
		Path: v.path, Method: v.r.Method, Query: v.r.URL.RawQuery, ContentType: v.r.Header.Get("Content-Type"), Body: body.Bytes(),
	})
	switch {
	case err != nil:
		v.fail(err)
	case a.Status == 0:
		v.loggedOut(a.Farewell)
	case a.Location != "":
		v.see(a.Status, a.Location)
	default:
		v.write(a.Status, []string{a.ContentType}, a.Body)
	}
}

// maxMessage bounds a message of the federation.
const maxMessage = 64 << 10

// signOut ends the session of the browser's token, everywhere where others
// take part.
func (v *visit) signOut(own reference.Token) (Farewell, error) {
	p := reference.Presented{Token: own}
	if v.Federation == nil {
		return Farewell{}, v.Sessions.Logout(v.ctx, p)
	}
	f, err := v.Federation.SignOut(v.ctx, p)
	v.note("logout", "service", strings.TrimSpace("everywhere "+f.note()), err)
	return f, err
}
