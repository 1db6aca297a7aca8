package targetfile

import "github.com/farmspec/farmspec"

// The JSON forms of what hooks are asked and answer. Sessions have the form
// that the session service's OpenAPI document gives them; instants are in
// milliseconds since 1970.
type (
	tokenForm struct {
		ID        string `json:"id"`
		Timestamp int64  `json:"timestamp"`
	}
	httpSessionForm struct {
		ID          string            `json:"id"`
		Application string            `json:"application"`
		CreatedAt   int64             `json:"created_at"`
		LastAccess  int64             `json:"last_access"`
		Attributes  map[string]string `json:"attributes,omitempty"`
	}
	sessionForm struct {
		Ref             string            `json:"ref"`
		User            string            `json:"user"`
		AuthenticatedAt int64             `json:"authenticated_at"`
		ClosedAt        int64             `json:"closed_at,omitempty"`
		Reason          string            `json:"reason,omitempty"`
		HTTPSessions    []httpSessionForm `json:"http_sessions"`
		// Token is of rows alone.
		Token *tokenForm `json:"token,omitempty"`
	}
	sessionsForm struct {
		Sessions []sessionForm `json:"sessions"`
	}
	// tokenAnswer has no token where the farm's keys do not open what was sealed.
	tokenAnswer struct {
		Token *tokenForm `json:"token,omitempty"`
	}
	sealedAnswer struct {
		Sealed string `json:"sealed"`
	}
	nowAnswer struct {
		Now int64 `json:"now"`
	}
)

func formOf(t farmspec.PlainToken) tokenForm { return tokenForm{t.ID, t.Timestamp} }

func (t tokenForm) plain() farmspec.PlainToken {
	return farmspec.PlainToken{ID: t.ID, Timestamp: t.Timestamp}
}

func (s sessionForm) info() farmspec.SessionInfo {
	info := farmspec.SessionInfo{
		Ref: s.Ref, User: s.User, Open: s.ClosedAt == 0, Reason: s.Reason, CreatedAt: s.AuthenticatedAt, ClosedAt: s.ClosedAt,
	}
	for _, h := range s.HTTPSessions {
		info.HTTPSessions = append(info.HTTPSessions, farmspec.HTTPSessionInfo{
			ID: h.ID, App: h.Application, CreatedAt: h.CreatedAt, LastAccess: h.LastAccess, Attributes: h.Attributes,
		})
	}
	return info
}

func sessionFormOf(s farmspec.SessionInfo) sessionForm {
	form := sessionForm{Ref: s.Ref, User: s.User, AuthenticatedAt: s.CreatedAt, ClosedAt: s.ClosedAt, Reason: s.Reason, HTTPSessions: []httpSessionForm{}}
	for _, h := range s.HTTPSessions {
		form.HTTPSessions = append(form.HTTPSessions, httpSessionForm{h.ID, h.App, h.CreatedAt, h.LastAccess, h.Attributes})
	}
	return form
}
