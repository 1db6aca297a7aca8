package web_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
)

// contract checks every answer of an API against its own document.
type contract struct {
	t      *testing.T
	doc    *openapi3.T
	router routers.Router
	api    http.Handler
	// seen are the (operation, status) pairs that were answered.
	seen map[string]bool
}

func newContract(t *testing.T, api http.Handler) *contract {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(web.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &contract{t, doc, router, api, make(map[string]bool)}
}

// ask sends the request and checks the answer; a request that the API accepts
// must be one that the document allows.
func (c *contract) ask(method, path, secret, body string, header ...string) *httptest.ResponseRecorder {
	c.t.Helper()
	request := func() *http.Request {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		if secret != "" {
			r.Header.Set("Authorization", "Bearer "+secret)
		}
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/json")
		}
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
	w := httptest.NewRecorder()
	c.api.ServeHTTP(w, request())

	r := request()
	route, params, err := c.router.FindRoute(r)
	documented := method
	if errors.Is(err, routers.ErrMethodNotAllowed) && w.Code == http.StatusMethodNotAllowed {
		r.Method = w.Header().Get("Allow")
		documented = r.Method
		route, params, err = c.router.FindRoute(r)
	}
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true}}
	if w.Code/100 == 2 {
		if err := openapi3filter.ValidateRequest(c.t.Context(), in); err != nil {
			c.t.Errorf("%s %s: the API accepted what the document does not: %v", method, path, err)
		}
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: w.Code, Header: w.Header(), Options: in.Options}
	out.SetBodyBytes(w.Body.Bytes())
	if err := openapi3filter.ValidateResponse(c.t.Context(), out); err != nil {
		c.t.Errorf("%s %s: answer is not what the document says: %v", method, path, err)
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		c.t.Errorf("%s %s: the answer may be cached", method, path)
	}
	c.seen[fmt.Sprintf("%s %s %d", documented, r.URL.Path, w.Code)] = true
	return w
}

func code(w *httptest.ResponseRecorder) string {
	_, after, _ := strings.Cut(w.Body.String(), `"error":"`)
	word, _, _ := strings.Cut(after, `"`)
	return word
}

const secret1 = "secret of server-1"

func TestAPIAnswersAsDocumented(t *testing.T) {
	f := newFarm(t, shape{web.SharedDomain, web.Sealed, reference.Strict, ""})
	c := newContract(t, f.api)
	login := func() reference.Grant {
		t.Helper()
		g, err := f.svc.Login(t.Context(), reference.LoginRequest{User: "ada", Password: "ada's password"})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	token := func(tok reference.Token) string {
		return fmt.Sprintf(`"token":{"id":"%s","timestamp":%d}`, tok.ID, tok.Timestamp)
	}
	expect := func(w *httptest.ResponseRecorder, status int, word, why string) {
		t.Helper()
		if w.Code != status || code(w) != word {
			t.Errorf("%s: answered %d %q, want %d %q", why, w.Code, code(w), status, word)
		}
	}

	expect(c.ask("POST", "/v1/login", secret1, `{"user":"ada","password":"ada's password"}`), 200, "", "log in")
	expect(c.ask("POST", "/v1/login", secret1, `{"user":"ada","password":"no"}`), 403, "credentials", "wrong password")
	old := login()
	expect(c.ask("POST", "/v1/login", secret1, `{"user":"ada","password":"ada's password","discard":{"id":"`+old.Token.ID.String()+`","timestamp":`+fmt.Sprint(old.Token.Timestamp)+`}}`), 200, "", "log in again")
	expect(c.ask("POST", "/v1/verify", secret1, "{"+token(old.Token)+"}"), 410, "closed", "discarded session")

	g := login()
	expect(c.ask("POST", "/v1/verify", secret1, "{"+token(g.Token)+"}"), 200, "", "verify")
	expect(c.ask("POST", "/v1/verify", secret1, `{"handed_off_at": 1, `+token(g.Token)+` }`), 410, "handoff", "aged hand-off, in another spelling")
	wrong := g.Token
	wrong.Timestamp++
	for _, path := range []string{"/v1/verify", "/v1/renew", "/v1/logout"} {
		expect(c.ask("POST", path, secret1, "{"+token(wrong)+"}"), 409, "mismatch", "other timestamp")
		expect(c.ask("POST", path, secret1, "{"+token(reference.Token{ID: reference.ID{1}})+"}"), 404, "unknown", "never issued")
	}
	expect(c.ask("POST", "/v1/renew", secret1, "{"+token(g.Token)+"}"), 200, "", "renew")
	expect(c.ask("POST", "/v1/renew", secret1, "{"+token(g.Token)+"}"), 409, "spent", "renew again")

	g = login()
	app := `"application":"cart"`
	session := `"session":"` + g.Session.String() + `"`
	gone := `"session":"` + old.Session.String() + `"`
	expect(c.ask("POST", "/v1/http-sessions/open", secret1, "{"+session+","+app+"}"), 200, "", "open")
	expect(c.ask("POST", "/v1/http-sessions/open", secret1, "{"+gone+","+app+"}"), 410, "closed", "open under a closed session")
	expect(c.ask("POST", "/v1/http-sessions/open", secret1, `{"session":"`+strings.Repeat("0", 31)+`1",`+app+"}"), 404, "unknown", "open under no session")
	save := func(version int, attributes string) string {
		return fmt.Sprintf(`{%s,"http_session":{%s,"version":%d%s}}`, session, app, version, attributes)
	}
	h, err := f.svc.OpenHTTP(t.Context(), g.Session, "cart")
	if err != nil {
		t.Fatal(err)
	}
	v := int(h.Version)
	expect(c.ask("POST", "/v1/http-sessions/save", secret1, save(v, `,"attributes":{"A":"1","a":""}`)), 204, "", "save")
	expect(c.ask("POST", "/v1/http-sessions/save", secret1, save(v, `,"attributes":{}`)), 409, "conflict", "save over a newer version")
	expect(c.ask("POST", "/v1/http-sessions/save", secret1, save(v, "")), 204, "", "record an access")
	expect(c.ask("POST", "/v1/http-sessions/create", secret1, "{"+token(g.Token)+`,"application":"two"}`), 200, "", "create")
	expect(c.ask("POST", "/v1/http-sessions/save", secret1, strings.Replace(save(v, ""), session, gone, 1)), 410, "closed", "save under a closed session")
	expect(c.ask("POST", "/v1/http-sessions/save", secret1, strings.Replace(save(v, ""), app, `"application":"none"`, 1)), 404, "unknown", "save what was never opened")
	expect(c.ask("POST", "/v1/http-sessions/end", secret1, "{"+gone+","+app+"}"), 404, "unknown", "end under a closed session")
	expect(c.ask("POST", "/v1/http-sessions/create", secret1, "{"+token(old.Token)+`,"application":"two"}`), 410, "closed", "create for a closed session")
	expect(c.ask("POST", "/v1/http-sessions/create", secret1, "{"+token(reference.Token{ID: reference.ID{1}})+`,"application":"two"}`), 404, "unknown", "create for no session")
	expect(c.ask("POST", "/v1/http-sessions/create", secret1, "{"+token(wrong)+`,"application":"two"}`), 409, "spent", "create for a spent token")
	expect(c.ask("GET", "/v1/admin/sessions?user=ada", adminSecret, ""), 200, "", "list")
	expect(c.ask("GET", "/v1/admin/sessions", adminSecret, ""), 200, "", "list all")
	expect(c.ask("POST", "/v1/http-sessions/end", secret1, "{"+session+","+app+"}"), 204, "", "end")
	expect(c.ask("POST", "/v1/http-sessions/end", secret1, "{"+session+","+app+"}"), 404, "unknown", "end again")
	expect(c.ask("POST", "/v1/logout", secret1, "{"+token(g.Token)+"}"), 204, "", "log out")
	expect(c.ask("POST", "/v1/logout", secret1, "{"+token(g.Token)+"}"), 410, "closed", "log out again")
	late := login()
	f.advance(idle + time.Second)
	expect(c.ask("POST", "/v1/renew", secret1, "{"+token(late.Token)+"}"), 410, "expired", "timed out")

	expect(c.ask("GET", "/v1/time", secret1, ""), 200, "", "time")
	expect(c.ask("GET", "/v1/health", "", ""), 200, "", "health")
	if w := c.ask("GET", "/v1/openapi.yaml", "", ""); !bytes.Equal(w.Body.Bytes(), web.OpenAPI) {
		t.Error("the document served is another")
	}
	expect(c.ask("POST", "/v1/admin/terminate", adminSecret, `{"user":"ada"}`), 200, "", "terminate")
	expect(c.ask("POST", "/v1/admin/terminate", adminSecret, `{"all":true}`), 200, "", "terminate all")
	expect(c.ask("POST", "/v1/admin/terminate", adminSecret, `{`+session+`}`), 404, "unknown", "terminate what has ended")
	expect(c.ask("POST", "/v1/admin/disable", adminSecret, `{"user":"ada"}`), 204, "", "disable")
	expect(c.ask("POST", "/v1/login", secret1, `{"user":"ada","password":"ada's password"}`), 403, "credentials", "disabled user")
	expect(c.ask("POST", "/v1/admin/enable", adminSecret, `{"user":"ada"}`), 204, "", "enable")

	for path, item := range c.doc.Paths.Map() {
		for method, op := range item.Operations() {
			other := map[string]string{"GET": "POST", "POST": "GET"}[method]
			expect(c.ask(other, path, secret1, ""), 405, "method", "other method")
			if op.Security != nil && len(*op.Security) == 0 {
				continue
			}
			for _, bad := range []string{"", "wrong", secret1 + "x"} {
				expect(c.ask(method, path, bad, "{}"), 401, "caller", "unauthenticated "+path)
			}
			good := secret1
			if strings.HasPrefix(path, "/v1/admin/") {
				good = adminSecret
				expect(c.ask(method, path, secret1, "{}"), 401, "caller", "a member is no administrator")
			} else {
				expect(c.ask(method, path, adminSecret, "{}"), 401, "caller", "an administrator is no member")
			}
			if method != "POST" {
				continue
			}
			expect(c.ask(method, path, good, "{}", "Content-Type", "text/plain"), 415, "media-type", "media type")
			expect(c.ask(method, path, good, strings.Repeat(" ", 129<<10)), 413, "size", "large body")
			full := `{"token":{"id":"` + strings.Repeat("0", 32) + `","timestamp":1}`
			for _, bad := range []string{"", "{}", "[]", "null", `"x"`, "{", `{"token":null}`, `{"token":{}}`, `{"token":[]}`, full + `,"x":1}`, full + `,"Token":{}}`,
				full + `,"handed_off_at":1,"handed_off_at":2}`, full + "}}", full + "} {}", strings.Replace(full, ":1}", ":1.5}", 1) + "}",
				`{"user":"` + strings.Repeat("x", 5000) + `"`, `{"all":false}`, `{"all":true,"user":"ada"}`, `{"session":"zz","application":"a"}`, `{"user":""}`} {
				expect(c.ask(method, path, good, bad), 400, "request", fmt.Sprintf("%s with %.60s", path, bad))
			}
		}
	}
	other := login()
	own := func(password, more string) string {
		return fmt.Sprintf(`{"session":"%s","password":"%s"%s}`, other.Session, password, more)
	}
	expect(c.ask("POST", "/v1/account/confirm", secret1, own("ada's password", "")), 204, "", "the password once more")
	expect(c.ask("POST", "/v1/account/sessions", secret1, fmt.Sprintf(`{"session":"%s"}`, other.Session)), 200, "", "own sessions")
	expect(c.ask("POST", "/v1/account/end", secret1, own("ada's password", `,"others":true`)), 200, "", "all others")
	expect(c.ask("POST", "/v1/account/end", secret1, own("ada's password", `,"end":"`+old.Session.String()+`"`)), 404, "unknown", "one that has ended")
	expect(c.ask("POST", "/v1/account/end", secret1, own("ada's password", "")), 400, "request", "nothing is chosen")
	expect(c.ask("POST", "/v1/account/end", secret1, own("ada's password", `,"others":true,"end":"`+old.Session.String()+`"`)), 400, "request", "two ways at once")
	expect(c.ask("POST", "/v1/account/password", secret1, own("ada's password", `,"new_password":""`)), 400, "request", "an empty password")
	expect(c.ask("POST", "/v1/account/password", secret1, own("ada's password", `,"new_password":"ada's password","end_others":true`)), 204, "", "a change")
	closed, nobody := other, reference.Grant{Session: reference.ID{9}}
	if err := f.svc.Logout(t.Context(), reference.Presented{Token: closed.Token}); err != nil {
		t.Fatal(err)
	}
	for path, more := range map[string]string{"confirm": "", "end": `,"others":true`, "password": `,"new_password":"next"`, "sessions": ""} {
		body := func() string {
			if path == "sessions" {
				return fmt.Sprintf(`{"session":"%s"}`, other.Session)
			}
			return own("wrong", more)
		}
		expect(c.ask("POST", "/v1/account/"+path, secret1, body()), 410, "closed", path+" in a closed session")
		other = nobody
		expect(c.ask("POST", "/v1/account/"+path, secret1, body()), 404, "unknown", path+" in no session")
		if other = login(); path != "sessions" {
			expect(c.ask("POST", "/v1/account/"+path, secret1, body()), 403, "credentials", path+" with a wrong password")
		}
		other = closed
	}
	nowhere := httptest.NewRecorder()
	f.api.ServeHTTP(nowhere, httptest.NewRequest("GET", "/v1/nowhere", nil))
	expect(nowhere, 404, "path", "no such route")

	federation := func() (signIn, signOut, deliver *httptest.ResponseRecorder) {
		return c.ask("POST", "/v1/federation/sign-in", secret1, `{"at":"http://farm.example/acs","relay":"/"}`),
			c.ask("POST", "/v1/federation/sign-out", secret1, "{"+token(g.Token)+"}"),
			c.ask("POST", "/v1/federation/deliver", secret1, `{"path":"/sso/logout","method":"POST","content_type":"text/xml","body":"PGEvPg=="}`)
	}
	in, out, message := federation()
	expect(in, 404, "path", "no single sign-on")
	expect(out, 404, "path", "no single log-out")
	expect(message, 404, "path", "no single log-out")
	g = login()
	wrong = g.Token
	wrong.Timestamp++
	c.api = web.NewAPI(f.svc, web.APIOptions{Credentials: map[string]string{"server-1": secret1}, Federation: takingPart{svc: f.svc}})
	expect(c.ask("POST", "/v1/federation/sign-out", secret1, "{"+token(wrong)+"}"), 409, "mismatch", "other timestamp")
	in, out, message = federation()
	expect(in, 200, "", "single sign-on")
	expect(out, 200, "", "single log-out")
	expect(message, 200, "", "a message")
	_, out, _ = federation()
	expect(out, 410, "closed", "log out everywhere again")

	// What fails below the API is a failure and nothing more specific.
	c.api = web.NewAPI(failing{err: errors.New("disk full")}, web.APIOptions{
		Credentials: map[string]string{"server-1": secret1}, AdminSecret: adminSecret, Federation: takingPart{err: errors.New("disk full")},
	})
	federation()
	c.ask("POST", "/v1/login", secret1, `{"user":"ada","password":""}`)
	for _, path := range []string{"/v1/renew", "/v1/verify", "/v1/logout"} {
		c.ask("POST", path, secret1, "{"+token(g.Token)+"}")
	}
	for _, path := range []string{"/v1/http-sessions/open", "/v1/http-sessions/end"} {
		c.ask("POST", path, secret1, "{"+session+","+app+"}")
	}
	c.ask("POST", "/v1/http-sessions/save", secret1, save(1, ""))
	c.ask("POST", "/v1/http-sessions/create", secret1, "{"+token(g.Token)+","+app+"}")
	c.ask("POST", "/v1/account/confirm", secret1, own("", ""))
	c.ask("POST", "/v1/account/sessions", secret1, fmt.Sprintf(`{"session":"%s"}`, other.Session))
	c.ask("POST", "/v1/account/end", secret1, own("", `,"others":true`))
	c.ask("POST", "/v1/account/password", secret1, own("", `,"new_password":"next"`))
	c.ask("GET", "/v1/time", secret1, "")
	c.ask("GET", "/v1/admin/sessions", adminSecret, "")
	c.ask("POST", "/v1/admin/terminate", adminSecret, `{"all":true}`)
	for _, path := range []string{"/v1/admin/disable", "/v1/admin/enable"} {
		c.ask("POST", path, adminSecret, `{"user":"ada"}`)
	}

	for path, item := range c.doc.Paths.Map() {
		for method, op := range item.Operations() {
			for status := range op.Responses.Map() {
				if what := method + " " + path + " " + status; !c.seen[what] {
					t.Errorf("documented and never answered: %s", what)
				}
			}
		}
	}
}

// takingPart is a federation whose log-outs are the service's, or an error.
type takingPart struct {
	svc web.Service
	err error
}

func (p takingPart) SignIn(context.Context, string, string) (string, error) {
	return "http://provider.example/sso", p.err
}

func (p takingPart) SignOut(ctx context.Context, r reference.Presented) (web.Farewell, error) {
	if p.err != nil {
		return web.Farewell{}, p.err
	}
	return web.Farewell{Everywhere: true}, p.svc.Logout(ctx, r)
}

func (p takingPart) Deliver(_ context.Context, d web.Delivery) (web.Answer, error) {
	return web.Answer{Status: http.StatusOK, ContentType: d.ContentType, Body: d.Body}, p.err
}

// failing answers every call with the same error.
type failing struct {
	web.Service
	err error
}

func (f failing) Login(context.Context, reference.LoginRequest) (reference.Grant, error) {
	return reference.Grant{}, f.err
}
func (f failing) Renew(context.Context, reference.Presented) (reference.Grant, error) {
	return reference.Grant{}, f.err
}
func (f failing) Verify(context.Context, reference.Presented) (reference.Grant, error) {
	return reference.Grant{}, f.err
}
func (f failing) Logout(context.Context, reference.Presented) error { return f.err }
func (f failing) OpenHTTP(context.Context, reference.ID, string) (reference.HTTPSession, error) {
	return reference.HTTPSession{}, f.err
}
func (f failing) SaveHTTP(context.Context, reference.ID, reference.HTTPSession) error { return f.err }
func (f failing) EndHTTP(context.Context, reference.ID, string) error                 { return f.err }
func (f failing) CreateHTTP(context.Context, reference.Presented, string) (reference.HTTPSession, error) {
	return reference.HTTPSession{}, f.err
}
func (f failing) Confirm(context.Context, reference.Confirmed) error { return f.err }
func (f failing) Own(context.Context, reference.ID) ([]reference.SecuritySession, error) {
	return nil, f.err
}
func (f failing) EndOwn(context.Context, reference.Confirmed, reference.ID) (int, error) {
	return 0, f.err
}
func (f failing) ChangePassword(context.Context, reference.Confirmed, string, bool) error {
	return f.err
}
func (f failing) Time(context.Context) (time.Time, error) { return time.Time{}, f.err }
func (f failing) List(context.Context, string) ([]reference.SecuritySession, error) {
	return nil, f.err
}
func (f failing) Terminate(context.Context, reference.Selection) (int, error) { return 0, f.err }
func (f failing) DisableUser(context.Context, string) error                   { return f.err }
func (f failing) EnableUser(context.Context, string) error                    { return f.err }

var sentinels = []error{reference.ErrUnknown, reference.ErrSpent, reference.ErrExpired, reference.ErrClosed, reference.ErrConflict,
	reference.ErrMismatch, reference.ErrHandoff, reference.ErrCredentials, reference.ErrCaller}

// calls are all calls of both clients.
func calls(w *wire, secret string) map[string]func(context.Context) error {
	o := web.ClientOptions{URL: "http://" + serviceHost, Member: "server-1", Secret: secret, Transport: w}
	c := web.NewClient(o)
	o.Secret = adminSecret
	if secret != secret1 {
		o.Secret = secret
	}
	a := web.NewAdminClient(o)
	tok := reference.Presented{Token: reference.Token{ID: reference.ID{1}, Timestamp: 1}}
	return map[string]func(context.Context) error{
		"Login":    func(ctx context.Context) error { _, err := c.Login(ctx, reference.LoginRequest{}); return err },
		"Renew":    func(ctx context.Context) error { _, err := c.Renew(ctx, tok); return err },
		"Verify":   func(ctx context.Context) error { _, err := c.Verify(ctx, tok); return err },
		"Logout":   func(ctx context.Context) error { return c.Logout(ctx, tok) },
		"OpenHTTP": func(ctx context.Context) error { _, err := c.OpenHTTP(ctx, reference.ID{1}, "a"); return err },
		"SaveHTTP": func(ctx context.Context) error {
			return c.SaveHTTP(ctx, reference.ID{1}, reference.HTTPSession{Application: "a"})
		},
		"EndHTTP":    func(ctx context.Context) error { return c.EndHTTP(ctx, reference.ID{1}, "a") },
		"CreateHTTP": func(ctx context.Context) error { _, err := c.CreateHTTP(ctx, tok, "a"); return err },
		"Confirm":    func(ctx context.Context) error { return c.Confirm(ctx, reference.Confirmed{}) },
		"Own":        func(ctx context.Context) error { _, err := c.Own(ctx, reference.ID{1}); return err },
		"EndOwn": func(ctx context.Context) error {
			_, err := c.EndOwn(ctx, reference.Confirmed{}, reference.ID{})
			return err
		},
		"ChangePassword": func(ctx context.Context) error {
			return c.ChangePassword(ctx, reference.Confirmed{}, "next", true)
		},
		"Time": func(ctx context.Context) error { _, err := c.Time(ctx); return err },
		"List": func(ctx context.Context) error { _, err := a.List(ctx, ""); return err },
		"Terminate": func(ctx context.Context) error {
			_, err := a.Terminate(ctx, reference.Selection{All: true})
			return err
		},
		"DisableUser": func(ctx context.Context) error { return a.DisableUser(ctx, "ada") },
		"EnableUser":  func(ctx context.Context) error { return a.EnableUser(ctx, "ada") },
	}
}

func TestClientKeepsTheSentinel(t *testing.T) {
	w := &wire{hosts: make(map[string]http.Handler)}
	for _, want := range append(sentinels, errors.New("disk full")) {
		api := web.NewAPI(failing{err: fmt.Errorf("look up session: %w", want)}, web.APIOptions{Credentials: map[string]string{"server-1": secret1}, AdminSecret: adminSecret})
		w.set(serviceHost, api)
		for name, call := range calls(w, secret1) {
			err := call(t.Context())
			if err == nil {
				t.Fatalf("%s with %v: no error", name, want)
			}
			for _, s := range sentinels {
				if errors.Is(err, s) != errors.Is(want, s) {
					t.Errorf("%s: service failed with %q, client with %q: errors.Is(%q) differs", name, want, err, s)
				}
			}
			if strings.Contains(err.Error(), "disk") {
				t.Errorf("%s tells the caller %q", name, err)
			}
		}
	}
}

func TestClientAgainstStrangeServices(t *testing.T) {
	answers := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	unauthenticated := web.NewAPI(failing{}, web.APIOptions{})
	for name, h := range map[string]http.Handler{
		"a page not found":     answers(404, "<html>404</html>"),
		"a new word":           answers(409, `{"error":"novel"}`),
		"half a grant":         answers(200, `{"token":{"id":"00000000000000000000000000000001","timestamp":1}}`),
		"an empty object":      answers(200, `{}`),
		"nothing":              answers(200, ``),
		"a redirect":           answers(302, ``),
		"no one at all":        nil,
		"a service without us": unauthenticated,
	} {
		w := &wire{hosts: make(map[string]http.Handler)}
		w.set(serviceHost, h)
		all := calls(w, "unheard of")
		for _, op := range []string{"Login", "Renew", "Verify"} {
			err := all[op](t.Context())
			if err == nil {
				t.Errorf("%s by %s went well", op, name)
			}
			for _, s := range sentinels {
				if errors.Is(err, s) && s != reference.ErrCaller {
					t.Errorf("%s by %s is %v", op, name, s)
				}
			}
			if (name == "a service without us") != errors.Is(err, reference.ErrCaller) {
				t.Errorf("%s by %s: %v", op, name, err)
			}
		}
	}
}

func TestClientCarriesEverything(t *testing.T) {
	f := newFarm(t, shape{web.SharedDomain, web.Sealed, reference.Strict, ""})
	o := web.ClientOptions{URL: "http://" + serviceHost, Member: "server-1", Secret: secret1, Transport: f.wire}
	c := web.NewClient(o)
	o.Secret = adminSecret
	admin := web.NewAdminClient(o)
	ctx := t.Context()
	g, err := c.Login(ctx, reference.LoginRequest{User: "ada", Password: "ada's password"})
	if err != nil {
		t.Fatal(err)
	}
	next, err := c.Renew(ctx, reference.Presented{Token: g.Token})
	if err != nil || next.Session != g.Session || next.User != "ada" || next.Token.SameAs(g.Token) {
		t.Fatalf("Renew = %v, %v", next, err)
	}
	h, err := c.OpenHTTP(ctx, g.Session, "cart")
	if err != nil {
		t.Fatal(err)
	}
	for _, attributes := range []map[string]string{{"k\"<é": "v\x00\\"}, {}, nil} {
		want := h.Attributes
		if attributes != nil {
			want = attributes
		}
		h.Attributes = attributes
		if err := c.SaveHTTP(ctx, g.Session, h); err != nil {
			t.Fatal(err)
		}
		if h, err = c.OpenHTTP(ctx, g.Session, "cart"); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(h.Attributes, want) {
			t.Errorf("saved %v, got %v, want %v", attributes, h.Attributes, want)
		}
	}
	far, err := admin.List(ctx, "ada")
	if err != nil {
		t.Fatal(err)
	}
	near, err := f.svc.List(ctx, "ada")
	if err != nil {
		t.Fatal(err)
	}
	untold := cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreFields(reference.SecuritySession{}, "Current", "Previous")}
	if diff := cmp.Diff(near, far, untold); diff != "" {
		t.Errorf("the list changed on its way (-service +client):\n%s", diff)
	}
	second, err := c.Login(ctx, reference.LoginRequest{User: "ada", Password: "ada's password"})
	if err != nil {
		t.Fatal(err)
	}
	if own, err := c.Own(ctx, second.Session); err != nil || len(own) != 2 || own[0].Ref == own[1].Ref {
		t.Errorf("Own = %v, %v; want both sessions", own, err)
	}
	by := reference.Confirmed{Session: second.Session, Password: "ada's password"}
	if n, err := c.EndOwn(ctx, by, g.Session); err != nil || n != 1 {
		t.Errorf("EndOwn = %d, %v; want the one that was named", n, err)
	}
	if n, err := c.EndOwn(ctx, by, reference.ID{}); err != nil || n != 0 {
		t.Errorf("EndOwn = %d, %v; want none where there are no others", n, err)
	}
	if now, err := c.Time(ctx); err != nil || now.Sub(f.now()).Abs() > time.Minute {
		t.Errorf("Time = %v, %v", now, err)
	}
}

// traces notes the trace each event came with.
type traces struct {
	reference.Silent
	seen []string
}

func (o *traces) Event(ctx context.Context, e reference.Event) {
	o.seen = append(o.seen, e.Op+" "+reference.TraceFrom(ctx))
}

func TestTraceTravels(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	o := &traces{}
	w := &wire{hosts: map[string]http.Handler{serviceHost: web.NewAPI(failing{}, web.APIOptions{Observer: o})}}
	c := web.NewClient(web.ClientOptions{URL: "http://" + serviceHost, Secret: "x", Transport: w, Observer: o})
	_, err := c.Renew(reference.WithTrace(t.Context(), trace), reference.Presented{})
	if !errors.Is(err, reference.ErrCaller) {
		t.Fatal(err)
	}
	if want := []string{"renew " + trace, "renew " + trace}; !slices.Equal(o.seen, want) {
		t.Errorf("events = %v, want %v", o.seen, want)
	}
	for _, bad := range []string{"", "00-x-y-01", "00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", "00-" + strings.ToUpper(trace) + "-00f067aa0ba902b7-01", "ff-" + trace + "-00f067aa0ba902b7-01"} {
		o.seen = nil
		r := httptest.NewRequest("POST", "/v1/renew", nil)
		r.Header.Set("Traceparent", bad)
		web.NewAPI(failing{}, web.APIOptions{Observer: o}).ServeHTTP(httptest.NewRecorder(), r)
		if want := []string{"renew "}; !slices.Equal(o.seen, want) {
			t.Errorf("traceparent %q gave %v", bad, o.seen)
		}
	}
}
