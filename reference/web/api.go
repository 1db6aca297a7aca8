package web

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/saml"
)

// Service is what the API puts on the web; *reference.Service is the real one.
type Service interface {
	reference.Sessions
	Admin
	CreateHTTP(ctx context.Context, r reference.Presented, application string) (reference.HTTPSession, error)
}

var _ Service = (*reference.Service)(nil)

// APIOptions configures an API. The zero value lets nobody in.
type APIOptions struct {
	// Credentials are the members' bearer secrets, by name. They reach all but
	// the administrator's routes.
	Credentials map[string]string
	// AdminSecret is the administrator's. Empty closes the administrator's routes.
	AdminSecret string
	// Federation is the farm's part in single log-out. Nil answers its routes
	// as if they were not there.
	Federation Federation
	// Observer is told of callers turned away. Nil means Silent.
	Observer reference.Observer
}

// Bodies above these sizes are refused unread.
const (
	maxRequest    = 8 << 10
	maxAttributes = 64 << 10
	maxDelivery   = 2 * maxMessage // in base64
)

// OpenAPI is the service's OpenAPI 3.1 document, served at /v1/openapi.yaml.
//
//go:embed openapi.yaml
var OpenAPI []byte

type api struct {
	svc            Service
	members, admin credentials
	observer       reference.Observer
	federation     Federation
	routes         map[string]*route
}

// route is one operation. Its handler gets the body, already bounded, and
// returns the status and the answer's body.
type route struct {
	op     string
	method string
	who    credentials // nil: everybody
	open   bool
	limit  int64 // zero: takes no body
	serve  func(ctx context.Context, body, dst []byte) (int, []byte, error)
}

// NewAPI returns the session management web service of claim 10 as a handler.
// openapi.yaml is its contract. Callers authenticate with a bearer secret; a
// missing and a wrong one are answered alike (WF-10.4).
func NewAPI(svc Service, o APIOptions) http.Handler {
	a := &api{svc: svc, members: newCredentials(o.Credentials), observer: o.Observer, federation: o.Federation}
	if a.observer == nil {
		a.observer = reference.Silent{}
	}
	a.admin = newCredentials(map[string]string{"administrator": o.AdminSecret})
	post := func(op string, limit int64, serve func(context.Context, []byte, []byte) (int, []byte, error)) *route {
		return &route{op: op, method: http.MethodPost, who: a.members, limit: limit, serve: serve}
	}
	asAdmin := func(r *route) *route { r.who = a.admin; return r }
	a.routes = map[string]*route{
		"/v1/login":                post("login", maxRequest, a.login),
		"/v1/renew":                post("renew", maxRequest, a.renew),
		"/v1/verify":               post("verify", maxRequest, a.verify),
		"/v1/logout":               post("logout", maxRequest, a.logout),
		"/v1/http-sessions/open":   post("http", maxRequest, a.openHTTP),
		"/v1/http-sessions/save":   post("http", maxAttributes, a.saveHTTP),
		"/v1/http-sessions/end":    post("http", maxRequest, a.endHTTP),
		"/v1/http-sessions/create": post("http", maxRequest, a.createHTTP),
		"/v1/account/confirm":      post("account", maxRequest, a.confirm),
		"/v1/account/sessions":     post("account", maxRequest, a.own),
		"/v1/account/end":          post("account", maxRequest, a.endOwn),
		"/v1/account/password":     post("account", maxRequest, a.changePassword),
		"/v1/federation/sign-in":   post("sign-in", maxRequest, a.signIn),
		"/v1/federation/sign-out":  post("logout", maxRequest, a.signOut),
		"/v1/federation/deliver":   post("deliver", maxDelivery, a.deliver),
		"/v1/time":                 {op: "time", method: http.MethodGet, who: a.members, serve: a.time},
		"/v1/health":               {method: http.MethodGet, open: true, serve: a.health},
		"/v1/openapi.yaml":         {method: http.MethodGet, open: true},
		"/v1/admin/sessions":       {op: "list", method: http.MethodGet, who: a.admin},
		"/v1/admin/terminate":      asAdmin(post("terminate", maxRequest, a.terminate)),
		"/v1/admin/disable":        asAdmin(post("disable", maxRequest, a.disable)),
		"/v1/admin/enable":         asAdmin(post("enable", maxRequest, a.enable)),
	}
	return a
}

var jsonType = []string{"application/json"}

// ServeHTTP answers one call.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
	rt := a.routes[r.URL.Path]
	switch {
	case rt == nil:
		writeProblem(w, http.StatusNotFound, codePath)
		return
	case r.Method != rt.method && (rt.method != http.MethodGet || r.Method != http.MethodHead):
		h.Set("Allow", rt.method)
		writeProblem(w, http.StatusMethodNotAllowed, codeMethod)
		return
	}
	ctx := r.Context()
	if trace := traceOf(r.Header); trace != "" {
		ctx = reference.WithTrace(ctx, trace)
	}
	if !rt.open {
		if _, ok := rt.who.caller(r.Header); !ok {
			a.observer.Event(ctx, reference.Event{Part: "service", Peer: "service", Op: rt.op, Detail: "caller turned away", Err: reference.ErrCaller})
			h.Set("WWW-Authenticate", `Bearer realm="session service"`)
			writeProblem(w, http.StatusUnauthorized, "caller")
			return
		}
	}
	switch r.URL.Path {
	case "/v1/openapi.yaml":
		h.Set("Content-Type", "application/yaml")
		_, _ = w.Write(OpenAPI)
		return
	case "/v1/admin/sessions":
		a.list(ctx, w, r)
		return
	}

	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	var body []byte
	if rt.limit > 0 {
		if !isJSON(r.Header) {
			writeProblem(w, http.StatusUnsupportedMediaType, codeType)
			return
		}
		var err error
		if body, err = b.read(r, rt.limit); errors.Is(err, errTooLarge) {
			writeProblem(w, http.StatusRequestEntityTooLarge, codeSize)
			return
		} else if err != nil {
			writeProblem(w, http.StatusBadRequest, codeRequest)
			return
		}
	}
	status, out, err := rt.serve(ctx, body, b.out[:0])
	if err != nil {
		status, code := codeOf(err)
		writeProblem(w, status, code)
		return
	}
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	b.out = out
	h["Content-Type"] = jsonType
	w.WriteHeader(status)
	_, _ = w.Write(out)
}

func (a *api) login(ctx context.Context, body, dst []byte) (int, []byte, error) {
	var in reference.LoginRequest
	if err := decode(body, &in, "user", "password", "discard.id", "discard.timestamp"); err != nil {
		return 0, nil, err
	}
	g, err := a.svc.Login(ctx, in)
	return http.StatusOK, appendGrant(dst, g), err
}

func (a *api) renew(ctx context.Context, body, dst []byte) (int, []byte, error) {
	p, err := decodePresented(body)
	if err != nil {
		return 0, nil, err
	}
	g, err := a.svc.Renew(ctx, p)
	return http.StatusOK, appendGrant(dst, g), err
}

func (a *api) verify(ctx context.Context, body, dst []byte) (int, []byte, error) {
	p, err := decodePresented(body)
	if err != nil {
		return 0, nil, err
	}
	g, err := a.svc.Verify(ctx, p)
	return http.StatusOK, appendGrant(dst, g), err
}

func (a *api) logout(ctx context.Context, body, _ []byte) (int, []byte, error) {
	p, err := decodePresented(body)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, a.svc.Logout(ctx, p)
}

func (a *api) openHTTP(ctx context.Context, body, _ []byte) (int, []byte, error) {
	var in sessionApp
	if err := decode(body, &in, "session", "application"); err != nil {
		return 0, nil, err
	}
	if in.Application == "" {
		return 0, nil, errRequest
	}
	got, err := a.svc.OpenHTTP(ctx, in.Session, in.Application)
	return encoded(httpSession(got), err)
}

func (a *api) saveHTTP(ctx context.Context, body, _ []byte) (int, []byte, error) {
	var in saveRequest
	if err := decode(body, &in, "session", "http_session", "http_session.application", "http_session.version"); err != nil {
		return 0, nil, err
	}
	h := in.HTTPSession
	if h.Application == "" {
		return 0, nil, errRequest
	}
	return http.StatusNoContent, nil, a.svc.SaveHTTP(ctx, in.Session,
		reference.HTTPSession{Application: h.Application, Version: h.Version, Attributes: h.Attributes})
}

func (a *api) endHTTP(ctx context.Context, body, _ []byte) (int, []byte, error) {
	var in sessionApp
	if err := decode(body, &in, "session", "application"); err != nil {
		return 0, nil, err
	}
	if in.Application == "" {
		return 0, nil, errRequest
	}
	return http.StatusNoContent, nil, a.svc.EndHTTP(ctx, in.Session, in.Application)
}

func (a *api) createHTTP(ctx context.Context, body, _ []byte) (int, []byte, error) {
	var in createRequest
	if err := decode(body, &in, "token", "token.id", "token.timestamp", "application"); err != nil {
		return 0, nil, err
	}
	if in.Application == "" {
		return 0, nil, errRequest
	}
	got, err := a.svc.CreateHTTP(ctx, in.Presented, in.Application)
	return encoded(httpSession(got), err)
}

func (a *api) confirm(ctx context.Context, body, _ []byte) (int, []byte, error) {
	var in reference.Confirmed
	if err := decode(body, &in, "session", "password"); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, a.svc.Confirm(ctx, in)
}

func (a *api) own(ctx context.Context, body, _ []byte) (int, []byte, error) {
	var in sessionRequest
	if err := decode(body, &in, "session"); err != nil {
		return 0, nil, err
	}
	all, err := a.svc.Own(ctx, in.Session)
	return encoded(listOf(all), err)
}

func (a *api) endOwn(ctx context.Context, body, _ []byte) (int, []byte, error) {
	var in endOwnRequest
	if err := decode(body, &in, "session", "password"); err != nil {
		return 0, nil, err
	}
	if in.End.IsZero() != in.Others {
		return 0, nil, errRequest
	}
	n, err := a.svc.EndOwn(ctx, in.Confirmed, in.End)
	return encoded(ended{Ended: n}, err)
}

func (a *api) changePassword(ctx context.Context, body, _ []byte) (int, []byte, error) {
	var in passwordRequest
	if err := decode(body, &in, "session", "password", "new_password"); err != nil {
		return 0, nil, err
	}
	if in.NewPassword == "" {
		return 0, nil, errRequest
	}
	return http.StatusNoContent, nil, a.svc.ChangePassword(ctx, in.Confirmed, in.NewPassword, in.EndOthers)
}

func (a *api) time(ctx context.Context, _, _ []byte) (int, []byte, error) {
	now, err := a.svc.Time(ctx)
	return encoded(instant{now.UnixMilli()}, err)
}

func (a *api) health(context.Context, []byte, []byte) (int, []byte, error) {
	return http.StatusOK, []byte(`{"status":"ok"}`), nil
}

func (a *api) list(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	all, err := a.svc.List(ctx, r.URL.Query().Get("user"))
	if err != nil {
		status, code := codeOf(err)
		writeProblem(w, status, code)
		return
	}
	w.Header()["Content-Type"] = jsonType
	_ = json.NewEncoder(w).Encode(listOf(all))
}

func (a *api) terminate(ctx context.Context, body, _ []byte) (int, []byte, error) {
	var sel reference.Selection
	if err := decode(body, &sel); err != nil {
		return 0, nil, err
	}
	chosen := 0
	for _, set := range []bool{!sel.HTTPSession.IsZero(), !sel.Session.IsZero(), sel.User != "", sel.All} {
		if set {
			chosen++
		}
	}
	if chosen != 1 {
		return 0, nil, errRequest
	}
	n, err := a.svc.Terminate(ctx, sel)
	partial := errors.Is(err, saml.ErrPartial)
	if partial {
		err = nil
	}
	return encoded(ended{n, partial}, err)
}

func (a *api) signIn(ctx context.Context, body, _ []byte) (int, []byte, error) {
	var in signInRequest
	if err := decode(body, &in, "at", "relay"); err != nil {
		return 0, nil, err
	}
	if a.federation == nil {
		return 0, nil, errAbsent
	}
	location, err := a.federation.SignIn(ctx, in.At, in.Relay)
	return encoded(Farewell{Location: location}, err)
}

func (a *api) signOut(ctx context.Context, body, _ []byte) (int, []byte, error) {
	p, err := decodePresented(body)
	if err != nil {
		return 0, nil, err
	}
	if a.federation == nil {
		return 0, nil, errAbsent
	}
	f, err := a.federation.SignOut(ctx, p)
	return encoded(f, err)
}

func (a *api) deliver(ctx context.Context, body, _ []byte) (int, []byte, error) {
	var in Delivery
	if err := decode(body, &in, "path", "method"); err != nil {
		return 0, nil, err
	}
	if a.federation == nil {
		return 0, nil, errAbsent
	}
	answer, err := a.federation.Deliver(ctx, in)
	return encoded(answer, err)
}

func (a *api) disable(ctx context.Context, body, _ []byte) (int, []byte, error) {
	return a.user(ctx, body, a.svc.DisableUser)
}

func (a *api) enable(ctx context.Context, body, _ []byte) (int, []byte, error) {
	return a.user(ctx, body, a.svc.EnableUser)
}

func (a *api) user(ctx context.Context, body []byte, do func(context.Context, string) error) (int, []byte, error) {
	var in userRequest
	if err := decode(body, &in); err != nil {
		return 0, nil, err
	}
	if in.User == "" {
		return 0, nil, errRequest
	}
	return http.StatusNoContent, nil, do(ctx, in.User)
}

func encoded(v any, err error) (int, []byte, error) {
	if err != nil {
		return 0, nil, err
	}
	out, err := json.Marshal(v)
	return http.StatusOK, out, err
}

var (
	errRequest  = errors.New("request is not what openapi.yaml describes")
	errTooLarge = errors.New("body too large")
	errAbsent   = errors.New("this service takes no part in single log-out")
)

func codeOf(err error) (int, string) {
	if errors.Is(err, errAbsent) {
		return http.StatusNotFound, codePath
	}
	if errors.Is(err, errRequest) {
		return http.StatusBadRequest, codeRequest
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.status, c.word
		}
	}
	return http.StatusInternalServerError, codeFailure
}

func writeProblem(w http.ResponseWriter, status int, code string) {
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"error":"`+code+`"}`)
}

func isJSON(h http.Header) bool {
	sent := h["Content-Type"]
	if len(sent) != 1 {
		return false
	}
	if sent[0] == jsonType[0] {
		return true
	}
	kind, _, err := mime.ParseMediaType(sent[0])
	return err == nil && kind == jsonType[0]
}

// decode reads strict JSON: the required names (a name with a dot, only where
// its object is there) and no unknown or repeated ones, no other spelling of a name, no null, nothing
// behind the object.
func decode(body []byte, v any, required ...string) error {
	names, err := strictNames(body)
	if err != nil {
		return errRequest
	}
	for _, name := range required {
		dot := strings.LastIndexByte(name, '.')
		if !names[name] && (dot < 0 || names[name[:dot]]) {
			return errRequest
		}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return errRequest
	}
	return nil
}

// strictNames returns the names in an object and makes up for what package
// encoding/json forgives: names in capitals (outside attributes, which are
// free), names given twice, null, and values after the first.
func strictNames(body []byte) (map[string]bool, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errRequest
	}
	names := make(map[string]bool)
	if err := strictObject(d, names, ""); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errRequest
	}
	return names, nil
}

func strictObject(d *json.Decoder, names map[string]bool, prefix string) error {
	free := strings.HasSuffix(prefix, "attributes.")
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return errRequest
		}
		key, _ := t.(string)
		name := prefix + key
		if names[name] || !free && strings.ToLower(key) != key {
			return errRequest
		}
		names[name] = true
		switch t, err = d.Token(); {
		case err != nil || t == nil || t == json.Delim('['): // nothing here is a list
			return errRequest
		case t == json.Delim('{'):
			if strings.Count(name, ".") > 2 {
				return errRequest
			}
			if err := strictObject(d, names, name+"."); err != nil {
				return err
			}
		}
	}
	_, err := d.Token()
	return err
}

// buffer is the working memory of one call.
type buffer struct {
	in  bytes.Buffer
	out []byte
}

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// read returns the body, which stays valid until the buffer is put back.
func (b *buffer) read(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	b.in.Reset()
	if _, err := b.in.ReadFrom(io.LimitReader(r.Body, limit+1)); err != nil {
		return nil, err
	}
	if int64(b.in.Len()) > limit {
		return nil, errTooLarge
	}
	return b.in.Bytes(), nil
}
