package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/farmspec/farmspec/reference"
)

// The fields of the log-in form.
const (
	UserField     = "user"
	PasswordField = "password"
)

type loginData struct{ Token, Next, User, Message string }

// login shows the form, and logs in. The token presented with it is discarded,
// whatever it was (ASVS 7.2.4).
func (v *visit) login() {
	if v.safe() {
		v.loginForm(http.StatusOK, loginData{Next: v.next(v.r.URL.Query().Get("next"))})
		return
	}
	form := v.form()
	d := loginData{Next: v.next(form.Get("next")), User: form.Get(UserField)}
	if !v.formTokenOK(formCookie, form.Get("csrf")) {
		d.Message = "That form has expired. Please try again."
		v.loginForm(http.StatusForbidden, d)
		return
	}
	in := reference.LoginRequest{User: d.User, Password: form.Get(PasswordField)}
	g, err := v.Sessions.Login(v.ctx, v.discarding(in))
	if errors.Is(err, reference.ErrCredentials) {
		d.Message = "Wrong name or password."
		v.loginForm(http.StatusForbidden, d)
		return
	}
	if err != nil {
		v.fail(err)
		return
	}
	v.welcome(g, d.Next)
}

// discarding adds the token that the browser has, if it has one.
func (v *visit) discarding(in reference.LoginRequest) reference.LoginRequest {
	if old, err := v.token(); err == nil {
		in.Discard = old
	}
	return in
}

// welcome gives the browser the first token of its session and leads on.
func (v *visit) welcome(g reference.Grant, next string) {
	var err error
	v.fresh, err = v.Sealer.Seal(g.Token)
	v.note("encrypt", v.Name, "", err)
	if err != nil {
		v.fail(err)
		return
	}
	v.prepare()
	v.note("respond", "browser", "logged in", nil)
	v.see(http.StatusSeeOther, v.self.URL+next)
}

func (v *visit) loginForm(status int, d loginData) {
	var err error
	if d.Token, err = v.formToken(formCookie); err == nil {
		err = v.html(status, "login", "Sign in", d)
	}
	if err != nil {
		v.fail(err)
	}
}

// next returns where to go after log-in: a page of this farm, without the
// farm's own parameters, or else the home page (ASVS 3.7.2).
func (v *visit) next(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || u.Opaque != "" || !strings.HasPrefix(to, "/") {
		return HomePath
	}
	_, own := v.own[u.Path]
	if _, listed := v.Farm.Directory.Page(u.Path); !own && !listed && u.Path != AboutPath {
		return HomePath
	}
	query, _ := v.splitQuery(u.RawQuery)
	return (&url.URL{Path: u.Path, RawQuery: query}).String()
}

type logoutData struct {
	Token string
	Done  bool
	// Note says how far the log-out has come where others take part.
	Note string
}

// logout shows the form, and logs out. Doing so again is as good as once, and
// the answer is the same whatever became of the token: what it says is true of
// the browser, which has forgotten it (D12, D22).
func (v *visit) logout() {
	own, ownErr := v.token()
	if v.safe() {
		if away, err := v.elsewhere(own, ownErr); away.Name != "" || err != nil {
			v.bounce(away, err)
			return
		}
		v.logoutForm(http.StatusOK)
		return
	}
	if !v.formTokenOK(formCookie, v.form().Get("csrf")) {
		v.logoutForm(http.StatusForbidden)
		return
	}
	err := ownErr
	var bye Farewell
	if err == nil {
		bye, err = v.signOut(own)
	}
	if err != nil && !refusal(err) {
		v.fail(err)
		return
	}
	gone := v.tokenCookie("")
	gone.MaxAge = -1
	v.setCookie(gone)
	to, away := v.pointer()
	v.clearPointer()
	v.w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	if err != nil && away && v.Farm.Topology == SplitDomain {
		// The session went on there; only there can its token be consumed.
		v.see(http.StatusSeeOther, to.URL+LogoutPath)
		return
	}
	if bye.Location != "" {
		v.see(http.StatusSeeOther, bye.Location) // the provider leads back
		return
	}
	v.loggedOut(bye)
}

func (v *visit) logoutForm(status int) {
	var d logoutData
	var err error
	if d.Token, err = v.formToken(formCookie); err == nil {
		err = v.html(status, "logout", "Sign out", d)
	}
	if err != nil {
		v.fail(err)
	}
}

// loggedOut shows that a log-out is over, and how far it has come.
func (v *visit) loggedOut(bye Farewell) {
	err := v.html(http.StatusOK, "logout", "Sign out", logoutData{Done: true, Note: bye.note()})
	if err != nil {
		v.fail(err)
	}
}
