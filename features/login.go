package features

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/farmspec/farmspec"
)

// Log-in by the target's recipe.

// logIn sends the log-in and nothing else.
func (w *world) logIn(ctx context.Context, p *person, m farmspec.Member, password string) (*farmspec.Visit, error) {
	if w.target.Login.Kind == farmspec.BasicLogin {
		visit, err := w.logInBare(ctx, p, m, nil, password)
		w.keepToken(p, m)
		return visit, err
	}
	page, err := p.browser.Open(ctx, m.At(w.target.Login.Path))
	if err != nil {
		return page, fmt.Errorf("open the log-in page of %s: %w", m.Name, err)
	}
	if x := page.Final(); x.Err != nil {
		return page, fmt.Errorf("open the log-in page of %s: %w", m.Name, x.Err)
	}
	if w.alreadyIn(p, m, page) {
		return page, errAlreadyIn
	}
	visit, err := w.fillLogIn(ctx, p, page, password)
	w.keepToken(p, m)
	return visit, err
}

// errAlreadyIn is the want of a log-in for who is logged in: where the form
// stands in place of the page (Servlet 6.0, section 13.6.3), it is not there;
// others lead her from it to a page of theirs.
var errAlreadyIn = &notOffered{"the farm shows no log-in to who is logged in"}

// alreadyIn reports whether the log-in's path brought a browser with a token
// to somebody's page, or led it elsewhere in the farm, and to no way to log in.
func (w *world) alreadyIn(p *person, m farmspec.Member, visit *farmspec.Visit) bool {
	x := visit.Final()
	if !byForm(w.target.Login) || x.Status/100 != 2 || w.hasLogIn(x) {
		return false
	}
	before, _, _ := strings.Cut(w.target.UserEcho, "{user}")
	if before != "" && strings.Contains(string(x.Body), before) {
		return true
	}
	_, carries := w.tokenAt(p.browser, m)
	_, ours := w.target.MemberOf(x.URL)
	return carries && ours && !w.leadsToLogIn(x.URL)
}

// fillLogIn sends name and password from the page where from ended.
func (w *world) fillLogIn(ctx context.Context, p *person, from *farmspec.Visit, password string) (*farmspec.Visit, error) {
	if byForm(w.target.Login) {
		return p.browser.LogIn(ctx, w.target.Login, from, "", p.user.Name, password)
	}
	m, ok := w.target.MemberOf(from.Final().URL)
	if !ok {
		return from, fmt.Errorf("log in: the log-in page is on no server of the farm")
	}
	return w.logInBare(ctx, p, m, from, password)
}

// logInBare sends name and password without a form.
func (w *world) logInBare(ctx context.Context, p *person, m farmspec.Member, from *farmspec.Visit, password string) (*farmspec.Visit, error) {
	w.keepSecret(base64.StdEncoding.EncodeToString([]byte(p.user.Name + ":" + password))) // as HTTP Basic has them
	visit, err := p.browser.LogIn(ctx, w.target.Login, from, m.At(w.target.Login.Path), p.user.Name, password)
	if err == nil && visit.Final().Err != nil {
		err = fmt.Errorf("log in: %w", visit.Final().Err)
	}
	return visit, err
}

// byForm reports whether a form logs in, whose answer leads on to a page.
func byForm(r farmspec.LoginRecipe) bool { return r.Kind == "" || r.Kind == farmspec.FormLogin }

// hasLogIn reports whether an answer is a page on which one logs in, or asks
// for credentials.
func (w *world) hasLogIn(x *farmspec.Exchange) bool {
	login := w.target.Login
	if login.Kind == farmspec.BasicLogin {
		return x.Status == http.StatusUnauthorized && strings.HasPrefix(strings.ToLower(x.Header.Get("WWW-Authenticate")), "basic ")
	}
	if login.Kind == farmspec.JSONLogin {
		return w.leadsToLogIn(x.URL)
	}
	return slices.ContainsFunc(farmspec.Forms(x), func(f farmspec.Form) bool {
		return f.Has(login.UserField) && f.Has(login.PassField)
	})
}

// linkToLogIn is the address of the log-in page to which an answer has a link, or "".
func (w *world) linkToLogIn(x *farmspec.Exchange) string {
	for _, to := range farmspec.Links(x) {
		if w.leadsToLogIn(to) {
			return to
		}
	}
	return ""
}

// leadsToLogIn reports whether an address is a member's log-in page.
func (w *world) leadsToLogIn(address string) bool {
	m, ok := w.target.MemberOf(address)
	if !ok {
		return false
	}
	path, _, _ := strings.Cut(address, "?")
	if w.target.Carrier.Kind == "path" {
		path, _, _ = strings.Cut(path, ";")
	}
	return path == m.At(w.target.Login.Path)
}
