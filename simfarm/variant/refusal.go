package variant

import (
	"fmt"
	stdhtml "html"
	"math/rand/v2"
	"net/http"
	"strings"

	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

// Farms that refuse in another way: requirements D22 leaves open how.

func init() {
	register(
		Variant{
			ID: "refuses-with-401", Name: "A refusal is a page with status 401 and a link to the log-in page",
			Differs: "no redirect to the log-in page; RFC 9110, 15.5.2, has 401 for it, and the page asks to log in all the same",
			Options: simfarm.Options{Wrap: edited(func(r *http.Request, a *answer) {
				if to, yes := refused(r, a); yes {
					a.header.Set("WWW-Authenticate", `Session realm="farm"`)
					a.show(http.StatusUnauthorized, html, signInLink(to.String()))
				}
			})},
		},
		Variant{
			ID: "refuses-with-403", Name: "A refusal is a page with status 403 and a link to the log-in page",
			Differs: "no redirect and no 401; under direct hand-off and coalescing",
			Options: simfarm.Options{Handoff: "direct", Rotation: "coalesce", Wrap: edited(func(r *http.Request, a *answer) {
				to, yes := refused(r, a)
				switch {
				case yes:
					a.show(http.StatusForbidden, html, signInLink(to.RequestURI()))
				case a.status == http.StatusUnauthorized:
					a.header.Del("WWW-Authenticate")
					a.status = http.StatusForbidden
				}
			})},
		},
		Variant{
			ID: "refuses-with-form", Name: "A refusal is the log-in form itself with status 401, where the page was asked for",
			Differs: "no redirect; the form has a fresh secret each time, so that no two refusals are equal to the byte",
			Options: simfarm.Options{Wrap: members(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					a := ask(h, r)
					if to, yes := refused(r, a); yes {
						form := r.Clone(r.Context())
						form.Method, form.URL, form.Body = http.MethodGet, to, http.NoBody
						a = ask(h, form)
						if a.status == http.StatusOK {
							a.status = http.StatusUnauthorized
						}
						a.header.Set("WWW-Authenticate", `Session realm="farm"`)
					}
					a.send(w, r)
				})
			})},
		},
		Variant{
			ID: "refuses-and-clears", Name: "Every refusal takes the session cookie out of the browser",
			Differs: "the cookie is gone after a refusal, whatever was wrong with it; a stranger's hand-off in the address takes nothing away",
			Options: simfarm.Options{Topology: "single-host", Wrap: edited(func(r *http.Request, a *answer) {
				if _, yes := refused(r, a); (yes || a.status == http.StatusUnauthorized) && !r.URL.Query().Has("handoff") {
					a.header.Add("Set-Cookie", "__Host-farm=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax")
				}
			})},
		},
		Variant{
			ID: "large-error-pages", Name: "Error pages are large, and each has a number of its own",
			Differs: "refusals and errors of 60 kB that are never equal to the byte, though of one size",
			Options: simfarm.Options{Rotation: "read-verify", Wrap: edited(func(r *http.Request, a *answer) {
				if _, yes := refused(r, a); yes || a.status >= 400 {
					a.header.Set("Content-Type", html)
					fmt.Fprintf(&a.body, "<p>Incident %016x</p>", rand.Uint64())
					a.body.WriteString(strings.Repeat("<p>We are sorry for the inconvenience.</p>\n", 1400))
				}
			})},
		},
		Variant{
			ID: "log-out-leads-away", Name: "Log-out leads to the log-in page",
			Differs: "no page in answer to the log-out form, but a redirect",
			Options: simfarm.Options{Replay: "revoke-family", Wrap: edited(func(r *http.Request, a *answer) {
				if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, web.LogoutPath) && a.status == http.StatusOK {
					a.show(http.StatusSeeOther, plain, "")
					a.header.Set("Location", strings.TrimSuffix(r.URL.Path, web.LogoutPath)+web.LoginPath)
				}
			})},
		},
	)
}

func signInLink(to string) string {
	return fmt.Sprintf(`<!doctype html><title>Not signed in</title><p>This page is for members. <a href="%s">Sign in</a> first.</p>`, stdhtml.EscapeString(to))
}
