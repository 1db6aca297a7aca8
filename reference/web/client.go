package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/saml"
)

// ClientOptions configures a Client. URL, Member and Secret are required.
type ClientOptions struct {
	// URL is the service's base address, without /v1.
	URL string
	// Member is who calls; Secret is its bearer credential.
	Member, Secret string
	// Transport reaches the service. Nil means one that keeps connections open.
	Transport http.RoundTripper
	// Observer is told of each call. Nil means Silent.
	Observer reference.Observer
	// Timeout bounds one call. Zero means 5 seconds.
	Timeout time.Duration
}

// Client is reference.Sessions over HTTP. A refusal by the service is, by
// errors.Is, the sentinel the service gave; every other error is a failure of
// the system. It calls once and never tries again: after a lost answer nobody
// knows whether a token was replaced. It is safe for concurrent use.
type Client struct {
	caller
	observer reference.Observer
	member   string
}

var _ reference.Sessions = (*Client)(nil)

// NewClient returns a client. It opens no connection before the first call.
// An address that does not parse shows as an error of each call.
func NewClient(o ClientOptions) *Client {
	c := &Client{caller: newCaller(o.URL, o.Secret, o.Transport, o.Timeout), observer: o.Observer, member: o.Member}
	if c.observer == nil {
		c.observer = reference.Silent{}
	}
	return c
}

// do makes one call and tells the observer.
func (c *Client) do(ctx context.Context, op, detail, action, method, path string, in []byte, out any) error {
	began := time.Now()
	err := c.call(ctx, action, method, path, in, out)
	if op != "" {
		c.observer.Event(ctx, reference.Event{Part: c.member, Peer: "service", Op: op, Detail: detail, Err: err, Began: began})
	}
	return err
}

// grant makes a call that answers with a grant. Half a grant is none.
func (c *Client) grant(ctx context.Context, op, action string, in []byte, g *reference.Grant) error {
	err := c.do(ctx, op, "", action, http.MethodPost, "/v1/"+op, in, g)
	if err == nil && (g.Token.IsZero() || g.Session.IsZero() || g.User == "") {
		*g = reference.Grant{}
		return fmt.Errorf("%s: service answered without token, session or user", action)
	}
	return err
}

// Login implements reference.Sessions.
func (c *Client) Login(ctx context.Context, r reference.LoginRequest) (g reference.Grant, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return g, fmt.Errorf("log in: %w", err)
	}
	err = c.grant(ctx, "login", "log in", body, &g)
	return g, err
}

// Renew implements reference.Sessions.
func (c *Client) Renew(ctx context.Context, r reference.Presented) (g reference.Grant, err error) {
	err = c.grant(ctx, "renew", "renew session", appendPresented(nil, r), &g)
	return g, err
}

// Verify implements reference.Sessions.
func (c *Client) Verify(ctx context.Context, r reference.Presented) (g reference.Grant, err error) {
	err = c.grant(ctx, "verify", "verify session", appendPresented(nil, r), &g)
	return g, err
}

// Logout implements reference.Sessions.
func (c *Client) Logout(ctx context.Context, r reference.Presented) error {
	return c.do(ctx, "logout", "", "log out", http.MethodPost, "/v1/logout", appendPresented(nil, r), nil)
}

// OpenHTTP implements reference.Sessions.
func (c *Client) OpenHTTP(ctx context.Context, session reference.ID, application string) (reference.HTTPSession, error) {
	var got httpSession
	body, err := json.Marshal(sessionApp{session, application})
	if err == nil {
		err = c.do(ctx, "http", "open "+application, "open HTTP session", http.MethodPost, "/v1/http-sessions/open", body, &got)
	}
	return reference.HTTPSession(got), err
}

// SaveHTTP implements reference.Sessions.
func (c *Client) SaveHTTP(ctx context.Context, session reference.ID, h reference.HTTPSession) error {
	body, err := json.Marshal(saveRequest{session, saved{h.Application, h.Version, h.Attributes}})
	if err != nil {
		return fmt.Errorf("save HTTP session: %w", err)
	}
	return c.do(ctx, "http", "save "+h.Application, "save HTTP session", http.MethodPost, "/v1/http-sessions/save", body, nil)
}

// EndHTTP implements reference.Sessions.
func (c *Client) EndHTTP(ctx context.Context, session reference.ID, application string) error {
	body, err := json.Marshal(sessionApp{session, application})
	if err != nil {
		return fmt.Errorf("end HTTP session: %w", err)
	}
	return c.do(ctx, "http", "end "+application, "end HTTP session", http.MethodPost, "/v1/http-sessions/end", body, nil)
}

// CreateHTTP makes the application's HTTP session without a page (AJ-2.5).
func (c *Client) CreateHTTP(ctx context.Context, r reference.Presented, application string) (reference.HTTPSession, error) {
	var got httpSession
	body, err := json.Marshal(createRequest{r, application})
	if err == nil {
		err = c.do(ctx, "http", "create "+application, "create HTTP session", http.MethodPost, "/v1/http-sessions/create", body, &got)
	}
	return reference.HTTPSession(got), err
}

// account makes a call for the user's own account.
func (c *Client) account(ctx context.Context, what, action string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return c.do(ctx, "account", action, action, http.MethodPost, "/v1/account/"+what, body, out)
}

// Confirm implements reference.Sessions.
func (c *Client) Confirm(ctx context.Context, by reference.Confirmed) error {
	return c.account(ctx, "confirm", "confirm", by, nil)
}

// Own implements reference.Sessions.
func (c *Client) Own(ctx context.Context, session reference.ID) ([]reference.SecuritySession, error) {
	var got sessionList
	err := c.account(ctx, "sessions", "list own sessions", sessionRequest{session}, &got)
	return got.sessions(), err
}

// EndOwn implements reference.Sessions.
func (c *Client) EndOwn(ctx context.Context, by reference.Confirmed, which reference.ID) (int, error) {
	var got ended
	err := c.account(ctx, "end", "end own sessions", endOwnRequest{by, which, which.IsZero()}, &got)
	return got.Ended, err
}

// ChangePassword implements reference.Sessions.
func (c *Client) ChangePassword(ctx context.Context, by reference.Confirmed, next string, endOthers bool) error {
	return c.account(ctx, "password", "change password", passwordRequest{by, next, endOthers}, nil)
}

// Time implements reference.Sessions.
func (c *Client) Time(ctx context.Context) (time.Time, error) {
	var got instant
	if err := c.do(ctx, "", "", "ask service for its time", http.MethodGet, "/v1/time", nil, &got); err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(got.Now), nil
}

// AdminClient is Admin over HTTP. Its errors are those of a Client.
type AdminClient struct{ caller }

var _ Admin = (*AdminClient)(nil)

// NewAdminClient returns an administrator's client; Secret is the
// administrator's, Member and Observer are not used.
func NewAdminClient(o ClientOptions) *AdminClient {
	return &AdminClient{newCaller(o.URL, o.Secret, o.Transport, o.Timeout)}
}

// List implements Admin. Nothing of the tokens, timestamps included, is told.
func (c *AdminClient) List(ctx context.Context, user string) ([]reference.SecuritySession, error) {
	var got sessionList
	if err := c.call(ctx, "list sessions", http.MethodGet, "/v1/admin/sessions?user="+url.QueryEscape(user), nil, &got); err != nil {
		return nil, err
	}
	return got.sessions(), nil
}

// Terminate implements Admin.
func (c *AdminClient) Terminate(ctx context.Context, sel reference.Selection) (int, error) {
	body, err := json.Marshal(sel)
	if err != nil {
		return 0, fmt.Errorf("terminate: %w", err)
	}
	var got ended
	err = c.call(ctx, "terminate", http.MethodPost, "/v1/admin/terminate", body, &got)
	if err == nil && got.Partial {
		err = fmt.Errorf("terminate: %w", saml.ErrPartial)
	}
	return got.Ended, err
}

// DisableUser implements Admin.
func (c *AdminClient) DisableUser(ctx context.Context, user string) error {
	return c.user(ctx, "disable user", "/v1/admin/disable", user)
}

// EnableUser implements Admin.
func (c *AdminClient) EnableUser(ctx context.Context, user string) error {
	return c.user(ctx, "enable user", "/v1/admin/enable", user)
}

func (c *AdminClient) user(ctx context.Context, action, path, user string) error {
	body, err := json.Marshal(userRequest{user})
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return c.call(ctx, action, http.MethodPost, path, body, nil)
}

// caller makes authenticated JSON calls.
type caller struct {
	base, authorization string
	http                http.Client
}

func newCaller(base, secret string, rt http.RoundTripper, timeout time.Duration) caller {
	if timeout == 0 {
		timeout = 5 * time.Second
	}
	if rt == nil {
		rt = keepingTransport()
	}
	return caller{base: base, authorization: "Bearer " + secret, http: http.Client{
		Transport:     rt,
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// keepingTransport keeps as many idle connections as a loaded member has in use.
func keepingTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.MaxIdleConns, t.MaxIdleConnsPerHost, t.DisableCompression = nil, 0, 256, true
	return t
}

// maxAnswer bounds what is read of an answer; a list of sessions may be long.
const maxAnswer = 64 << 20

// call sends in, unless nil, and reads the answer into out, unless nil.
func (c *caller) call(ctx context.Context, action, method, path string, in []byte, out any) error {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(in))
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	r.Header["Authorization"] = []string{c.authorization}
	if in != nil {
		r.Header["Content-Type"] = jsonType
	}
	if trace := reference.TraceFrom(ctx); trace != "" {
		r.Header["Traceparent"] = []string{fmt.Sprintf("00-%s-%016x-01", trace, rand.Uint64()|1)}
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: read answer: %w", action, err)
	}
	if resp.StatusCode/100 != 2 {
		var p problem
		if json.Unmarshal(body, &p) == nil {
			for _, c := range codes {
				if p.Error == c.word {
					return fmt.Errorf("%s: %w", action, c.err)
				}
			}
		}
		return fmt.Errorf("%s: service answered %d %.40q", action, resp.StatusCode, p.Error)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s: read answer: %w", action, err)
	}
	return nil
}
