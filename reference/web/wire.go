package web

import (
	"crypto/sha256"
	"net/http"
	"strings"

	"github.com/farmspec/farmspec/reference"
)

// codes are the words that travel for each outcome, both ways.
var codes = []struct {
	word   string
	status int
	err    error
}{
	{"unknown", http.StatusNotFound, reference.ErrUnknown},
	{"spent", http.StatusConflict, reference.ErrSpent},
	{"handoff", http.StatusGone, reference.ErrHandoff}, // before the error it wraps
	{"expired", http.StatusGone, reference.ErrExpired},
	{"closed", http.StatusGone, reference.ErrClosed},
	{"conflict", http.StatusConflict, reference.ErrConflict},
	{"mismatch", http.StatusConflict, reference.ErrMismatch},
	{"credentials", http.StatusForbidden, reference.ErrCredentials},
	{"caller", http.StatusUnauthorized, reference.ErrCaller},
}

// The words for what is wrong with the request itself, or with the service.
const (
	codeRequest = "request"    // 400: not the JSON that the document describes
	codePath    = "path"       // 404: no such route
	codeMethod  = "method"     // 405
	codeSize    = "size"       // 413: body too large
	codeType    = "media-type" // 415: not application/json
	codeFailure = "failure"    // 500: the service or its database failed
)

// The wire forms of what has no JSON form of its own.
type (
	sessionApp struct {
		Session     reference.ID `json:"session"`
		Application string       `json:"application"`
	}
	createRequest struct {
		reference.Presented
		Application string `json:"application"`
	}
	saveRequest struct {
		Session     reference.ID `json:"session"`
		HTTPSession saved        `json:"http_session"`
	}
	saved struct {
		Application string `json:"application"`
		Version     int64  `json:"version"`
		// Attributes: absent leaves the stored ones and records the access only.
		Attributes map[string]string `json:"attributes,omitzero"`
	}
	httpSession struct {
		ID          reference.ID      `json:"id"`
		Application string            `json:"application"`
		CreatedAt   int64             `json:"created_at"`
		LastAccess  int64             `json:"last_access"`
		Idle        int64             `json:"idle"`
		Version     int64             `json:"version"`
		Attributes  map[string]string `json:"attributes,omitzero"`
	}
	securitySession struct {
		Ref             reference.ID     `json:"ref"`
		User            string           `json:"user"`
		AuthenticatedAt int64            `json:"authenticated_at"`
		ClosedAt        int64            `json:"closed_at,omitzero"`
		Reason          reference.Reason `json:"reason,omitzero"`
		HTTP            []httpSession    `json:"http_sessions"`
	}
	sessionList struct {
		Sessions []securitySession `json:"sessions"`
	}
	ended struct {
		Ended int `json:"ended"`
		// Partial: not every other system that takes part has confirmed it.
		Partial bool `json:"partial,omitempty"`
	}
	signInRequest struct {
		At    string `json:"at"`
		Relay string `json:"relay"`
	}
	userRequest struct {
		User string `json:"user"`
	}
	sessionRequest struct {
		Session reference.ID `json:"session"`
	}
	// endOwnRequest names one session to end, or the others, and not both.
	endOwnRequest struct {
		reference.Confirmed
		End    reference.ID `json:"end,omitzero"`
		Others bool         `json:"others,omitzero"`
	}
	passwordRequest struct {
		reference.Confirmed
		NewPassword string `json:"new_password"`
		EndOthers   bool   `json:"end_others,omitzero"`
	}
	instant struct {
		Now int64 `json:"now"`
	}
	problem struct {
		Error string `json:"error"`
	}
)

func toWire(s reference.SecuritySession) securitySession {
	w := securitySession{Ref: s.Ref, User: s.User, AuthenticatedAt: s.AuthenticatedAt, ClosedAt: s.ClosedAt, Reason: s.Reason, HTTP: make([]httpSession, 0, len(s.HTTP))}
	for _, h := range s.HTTP {
		w.HTTP = append(w.HTTP, httpSession(h))
	}
	return w
}

func listOf(all []reference.SecuritySession) sessionList {
	list := sessionList{Sessions: make([]securitySession, 0, len(all))}
	for _, s := range all {
		list.Sessions = append(list.Sessions, toWire(s))
	}
	return list
}

func (l sessionList) sessions() []reference.SecuritySession {
	all := make([]reference.SecuritySession, 0, len(l.Sessions))
	for _, s := range l.Sessions {
		all = append(all, s.session())
	}
	return all
}

func (w securitySession) session() reference.SecuritySession {
	s := reference.SecuritySession{Ref: w.Ref, User: w.User, AuthenticatedAt: w.AuthenticatedAt, ClosedAt: w.ClosedAt, Reason: w.Reason}
	for _, h := range w.HTTP {
		s.HTTP = append(s.HTTP, reference.HTTPSession(h))
	}
	return s
}

// credentials finds a caller by its bearer secret. Looking up by digest takes
// no time that depends on how much of a secret was right.
type credentials map[[sha256.Size]byte]string

func newCredentials(secrets map[string]string) credentials {
	c := make(credentials, len(secrets))
	for name, secret := range secrets {
		if secret != "" {
			c[sha256.Sum256([]byte(secret))] = name
		}
	}
	return c
}

// caller returns who the request is from; false where it does not say so
// with one known secret.
func (c credentials) caller(h http.Header) (string, bool) {
	sent := h["Authorization"]
	if len(sent) != 1 {
		return "", false
	}
	secret, ok := strings.CutPrefix(sent[0], "Bearer ")
	if !ok || secret == "" {
		return "", false
	}
	name, ok := c[sha256.Sum256([]byte(secret))]
	return name, ok
}

// traceOf returns the trace ID of a W3C traceparent header, or "".
func traceOf(h http.Header) string {
	sent := h["Traceparent"]
	if len(sent) != 1 || len(sent[0]) != 55 || sent[0][:3] != "00-" || sent[0][35] != '-' {
		return ""
	}
	id := sent[0][3:35]
	if strings.Trim(id, "0123456789abcdef") != "" || strings.Trim(id, "0") == "" {
		return ""
	}
	return id
}
