package simfarm

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"html/template"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/oidc"
	"github.com/farmspec/farmspec/reference/saml"
	"github.com/farmspec/farmspec/reference/web"
)

// The sites of a federation: small systems with one protected page each. A
// session there is a name in a cookie and an entry in memory.

func siteMarker(name string) string { return "farm-page:" + name }

// site is what all have: a name, of the cookie too, and whether cookies are
// for TLS alone.
type site struct {
	name   string
	secure bool
}

var sitePages = template.Must(template.New("site").Parse(`{{define "top"}}<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Site}}</title><meta name="color-scheme" content="light dark">
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}</style></head>
<body><h1>{{.Site}}</h1>{{end}}
{{define "home"}}{{template "top" .}}<p>{{.Echo}}</p>
<p><a href="/logout">Sign out</a></p><p><code>{{.Marker}}</code></p></body></html>{{end}}
{{define "login"}}{{template "top" .}}{{with .Note}}<p>{{.}}</p>{{end}}<form method="post" action="/login">
<input type="hidden" name="query" value="{{.Query}}">
<p><label>Name <input name="{{.UserField}}" autocomplete="username"></label></p>
<p><label>Password <input type="password" name="{{.PasswordField}}" autocomplete="current-password"></label></p>
<p><button>Sign in</button></p></form></body></html>{{end}}
{{define "logout"}}{{template "top" .}}<form method="post" action="/logout"><p>Sign out of every system that takes part?</p>
<p><button>Sign out</button></p></form></body></html>{{end}}
{{define "note"}}{{template "top" .}}<p>{{.Note}}</p></body></html>{{end}}`))

type siteData struct {
	Site, Marker, Echo, Note, Query string
	UserField, PasswordField        string
}

func (s site) page(w http.ResponseWriter, status int, page string, d siteData) {
	d.Site, d.UserField, d.PasswordField = s.name, web.UserField, web.PasswordField
	var b bytes.Buffer
	if err := sitePages.ExecuteTemplate(&b, page, d); err != nil {
		http.Error(w, "This page cannot be made.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

func (s site) home(w http.ResponseWriter, user string) {
	s.page(w, http.StatusOK, "home", siteData{Marker: siteMarker(s.name), Echo: strings.ReplaceAll(web.UserEcho, "{user}", user)})
}

func (s site) note(w http.ResponseWriter, status int, text string) {
	s.page(w, status, "note", siteData{Note: text})
}

func (s site) cookie(r *http.Request) string {
	c, err := r.Cookie(s.name)
	if err != nil {
		return ""
	}
	return c.Value
}

// setCookie gives the browser a session's name, or takes it away for "".
func (s site) setCookie(w http.ResponseWriter, value string) {
	c := &http.Cookie{Name: s.name, Value: value, Path: "/", HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteLaxMode}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// send answers with a message for the browser, or for the caller, to carry.
func (s site) send(w http.ResponseWriter, m saml.Wire) {
	status, location, contentType, body := m.HTTP(true)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", contentType)
	if location != "" {
		h.Set("Location", location)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// received reads a log-out message, or a log-out token's form.
func received(r *http.Request) (saml.Wire, error) {
	const most = 64 << 10
	body, err := io.ReadAll(io.LimitReader(r.Body, most))
	if err != nil {
		return saml.Wire{}, err
	}
	return saml.Received(r.Method, r.URL.RawQuery, r.Header.Get("Content-Type"), body)
}

func newSite(name, address string) site { return site{name, strings.HasPrefix(address, "https:")} }

// providerSite is the identity provider's.
type providerSite struct {
	site
	p     *saml.Provider
	users reference.Directory
}

func newProviderSite(p *saml.Provider, users reference.Directory, address string) *providerSite {
	return &providerSite{newSite(providerProcess, address), p, users}
}

func (s *providerSite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /":
		if user, ok := s.p.Who(s.cookie(r)); ok {
			s.home(w, user)
			return
		}
		s.page(w, http.StatusOK, "login", siteData{})
	case "GET /sso":
		s.signOn(w, r.URL.RawQuery, s.cookie(r))
	case "POST /login":
		s.login(w, r)
	case "GET /logout":
		s.page(w, http.StatusOK, "logout", siteData{})
	case "POST /logout":
		err := s.p.SignOut(r.Context(), s.cookie(r), saml.ByUser)
		s.setCookie(w, "")
		s.note(w, http.StatusOK, farewellNote(err))
	case "GET /slo", "POST /slo":
		m, err := received(r)
		var reply saml.Reply
		if err == nil {
			reply, err = s.p.Receive(r.Context(), m)
		}
		if err != nil {
			s.note(w, http.StatusBadRequest, "This log-out message is not good here.")
			return
		}
		s.send(w, *reply.Answer)
	default:
		http.NotFound(w, r)
	}
}

func farewellNote(err error) string {
	if err == nil || errors.Is(err, saml.ErrUnknownSession) {
		return web.SignedOutEverywhere
	}
	return web.SignedOutPartly
}

// signOn answers a sign-on request for whoever is signed in, or asks who it is.
func (s *providerSite) signOn(w http.ResponseWriter, query, session string) {
	request, err := s.p.Requested(saml.Wire{Binding: saml.Redirect, Query: query})
	if err != nil {
		s.note(w, http.StatusBadRequest, "This request to sign in is not good here.")
		return
	}
	answer, err := s.p.Respond(session, request)
	switch {
	case errors.Is(err, saml.ErrUnknownSession):
		s.page(w, http.StatusOK, "login", siteData{Query: query})
	case err != nil:
		s.note(w, http.StatusInternalServerError, "The answer cannot be made.")
	default:
		s.send(w, answer)
	}
}

func (s *providerSite) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 32<<10)
	user, query := r.PostFormValue(web.UserField), r.PostFormValue("query")
	if err := s.users.Authenticate(r.Context(), user, r.PostFormValue(web.PasswordField)); err != nil {
		s.page(w, http.StatusForbidden, "login", siteData{Note: "Wrong name or password.", Query: query})
		return
	}
	session, err := s.p.Begin(user)
	if err != nil {
		s.note(w, http.StatusInternalServerError, "Nobody can sign in right now.")
		return
	}
	s.setCookie(w, session)
	if query == "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	s.signOn(w, query, session)
}

// participantSite is another participant's.
type participantSite struct {
	site
	url      string
	p        *saml.Participant
	receiver *oidc.Receiver
	front    saml.Binding

	mu       sync.Mutex
	sessions map[string]string // name in the cookie to user
}

func newParticipantSite(name, address string, front saml.Binding) *participantSite {
	return &participantSite{site: newSite(name, address), url: address, front: front, sessions: make(map[string]string)}
}

// end implements saml.ParticipantOptions.End.
func (s *participantSite) end(_ context.Context, ref string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ref)
	return nil
}

func (s *participantSite) who(ref string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, ok := s.sessions[ref]
	if ok && s.p.Over(ref) {
		delete(s.sessions, ref)
		return "", false
	}
	return user, ok
}

func (s *participantSite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /":
		if user, ok := s.who(s.cookie(r)); ok {
			s.home(w, user)
			return
		}
		to, err := s.p.SignIn(s.url+"/acs", "/")
		if err != nil {
			s.note(w, http.StatusInternalServerError, "Nobody can sign in right now.")
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, to, http.StatusSeeOther)
	case "POST /acs":
		s.assertion(w, r)
	case "GET /logout":
		s.page(w, http.StatusOK, "logout", siteData{})
	case "POST /logout":
		s.logout(w, r)
	case "GET /slo", "POST /slo":
		s.receive(w, r)
	case "POST /backchannel-logout":
		s.receiveToken(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (s *participantSite) assertion(w http.ResponseWriter, r *http.Request) {
	m, err := received(r)
	var id saml.Identity
	if err == nil {
		id, err = s.p.Admit(m)
	}
	if err != nil {
		s.note(w, http.StatusForbidden, "What the identity provider sent is not good here.")
		return
	}
	ref := rand.Text()
	s.mu.Lock()
	s.sessions[ref] = id.NameID
	s.mu.Unlock()
	if err := s.p.Enter(r.Context(), id, ref); err != nil {
		s.note(w, http.StatusForbidden, "You have been signed out.")
		return
	}
	s.setCookie(w, ref)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// logout ends the session here and then tells the provider, by way of the
// browser or not.
func (s *participantSite) logout(w http.ResponseWriter, r *http.Request) {
	ref := s.cookie(r)
	_ = s.end(r.Context(), ref)
	s.setCookie(w, "")
	if s.front != "" {
		if m, err := s.p.SignOutBy(s.front, ref, saml.ByUser); err == nil {
			s.send(w, m)
			return
		}
	}
	s.note(w, http.StatusOK, farewellNote(s.p.SignOut(context.WithoutCancel(r.Context()), ref, saml.ByUser)))
}

func (s *participantSite) receive(w http.ResponseWriter, r *http.Request) {
	m, err := received(r)
	var reply saml.Reply
	if err == nil {
		reply, err = s.p.Receive(r.Context(), m)
	}
	switch {
	case err != nil:
		s.note(w, http.StatusBadRequest, "This log-out message is not good here.")
	case reply.Answer != nil:
		s.send(w, *reply.Answer)
	case reply.Partial:
		s.note(w, http.StatusOK, web.SignedOutPartly)
	default:
		s.note(w, http.StatusOK, web.SignedOutEverywhere)
	}
}

func (s *participantSite) receiveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	m, err := received(r)
	var c oidc.Claims
	if err == nil {
		c, err = s.receiver.Receive(m.Form.Get("logout_token"))
	}
	if err == nil {
		err = s.p.EndAll(r.Context(), web.EndedBy(c))
	}
	if err != nil {
		http.Error(w, `{"error":"invalid_request"}`, http.StatusBadRequest)
	}
}
