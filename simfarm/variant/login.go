package variant

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

// Farms with another log-in.

func init() {
	register(
		Variant{
			ID: "json-log-in", Name: "The log-in is a JSON call that the log-in page's script makes",
			Differs: "no form to log in with, no redirect after it; the page's script goes on to what was asked for",
			Options: simfarm.Options{Wrap: members(jsonLogin)},
			Target: func(t *farmspec.Target) {
				t.Login = farmspec.LoginRecipe{Kind: farmspec.JSONLogin, Path: web.LoginPath, UserField: "name", PassField: "secret"}
			},
		},
		Variant{
			ID: "other-form", Name: "The log-in form has other fields and one more hidden secret, good once",
			Differs: "names of Jakarta's form log-in, and a hidden field that is checked beside the farm's own",
			Options: simfarm.Options{Plant: func() simfarm.Wrap {
				var issued sync.Map // one for the farm: a form of one member may be sent to another
				return members(func(h http.Handler) http.Handler { return otherForm(h, &issued) })
			}},
			Target: func(t *farmspec.Target) {
				t.Login.UserField, t.Login.PassField = "j_username", "j_password"
			},
		},
	)
}

// jsonLogin puts a JSON log-in before a member's form log-in.
func jsonLogin(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !atLogin(r):
			h.ServeHTTP(w, r)
		case r.Method != http.MethodPost:
			a := ask(h, r)
			if a.status == http.StatusOK {
				a.show(http.StatusOK, html, `<!doctype html><title>Sign in</title><div id="app"></div>`)
			}
			a.send(w, r)
		default:
			loginByJSON(h, w, r)
		}
	})
}

// loginByJSON takes {"name": "…", "secret": "…"}. A page of another site
// cannot send JSON unasked, and this farm grants it to none.
func loginByJSON(h http.Handler, w http.ResponseWriter, r *http.Request) {
	say := func(a *answer, status int, what string) {
		a.show(status, "application/json", `{"result":"`+what+`"}`+"\n")
		a.send(w, r)
	}
	var in struct{ Name, Secret *string }
	d := json.NewDecoder(io.LimitReader(r.Body, 8<<10))
	d.DisallowUnknownFields()
	if r.Header.Get("Content-Type") != "application/json" || d.Decode(&in) != nil || in.Name == nil || in.Secret == nil {
		say(&answer{header: http.Header{"Cache-Control": {"no-store"}}}, http.StatusBadRequest, "not understood")
		return
	}
	form := ask(h, clone(r, http.MethodGet, nil, ""))
	secret := ""
	for _, c := range (&http.Response{Header: form.header}).Cookies() {
		if strings.HasSuffix(c.Name, "farm-form") {
			secret = c.Value
			values := url.Values{web.UserField: {*in.Name}, web.PasswordField: {*in.Secret}, "csrf": {secret}}
			a := ask(h, clone(r, http.MethodPost, values, c.Name+"="+c.Value))
			if a.status == http.StatusSeeOther {
				say(a, http.StatusOK, "signed in")
				return
			}
			say(a, http.StatusUnauthorized, "wrong name or secret")
			return
		}
	}
	say(form, http.StatusServiceUnavailable, "try again")
}

// clone is the request as a form's, with one cookie more.
func clone(r *http.Request, method string, form url.Values, cookie string) *http.Request {
	c := r.Clone(r.Context())
	c.Method = method
	body := form.Encode()
	c.Body, c.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	c.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if cookie != "" {
		name, _, _ := strings.Cut(cookie, "=")
		var kept []string
		for _, one := range r.Cookies() {
			if one.Name != name {
				kept = append(kept, one.Name+"="+one.Value)
			}
		}
		c.Header.Set("Cookie", strings.Join(append(kept, cookie), "; "))
	}
	return c
}

// otherForm renames the fields of a member's log-in form, both ways, and adds
// a hidden secret that is good once.
func otherForm(h http.Handler, issued *sync.Map) http.Handler {
	names := strings.NewReplacer(
		`name="`+web.UserField+`"`, `name="j_username"`,
		`name="`+web.PasswordField+`"`, `name="j_password"`,
	)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !atLogin(r) {
			h.ServeHTTP(w, r)
			return
		}
		if r.Method == http.MethodPost {
			body, err := io.ReadAll(io.LimitReader(r.Body, 32<<10))
			values, bad := url.ParseQuery(string(body))
			if err != nil || bad != nil {
				values = url.Values{}
			}
			_, fresh := issued.LoadAndDelete(values.Get("once"))
			if !fresh {
				values.Del("csrf") // the member refuses a form without
			}
			if kind := r.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/x-www-form-urlencoded") {
				values = url.Values{}
			}
			values.Set(web.UserField, values.Get("j_username"))
			values.Set(web.PasswordField, values.Get("j_password"))
			r = clone(r, http.MethodPost, values, "")
		}
		a := ask(h, r)
		if strings.Contains(a.body.String(), `name="`+web.PasswordField+`"`) {
			once := rand.Text()
			issued.Store(once, nil)
			body := names.Replace(a.body.String())
			body = strings.Replace(body, "</form>", `<input type="hidden" name="once" value="`+once+`"></form>`, 1)
			a.body.Reset()
			a.body.WriteString(body)
		}
		a.send(w, r)
	})
}
