package web

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/farmspec/farmspec/reference"
)

// A page from a still is, byte for byte, what its template makes of the request.
func TestStillIsWhatTheTemplateMakes(t *testing.T) {
	farm := Farm{Topology: SharedDomain, Handoff: Claimed, Rotation: reference.Strict}
	s := &Server{ServerConfig: ServerConfig{Name: "server-2", Farm: farm, Observer: reference.Silent{}}, params: Claimed.Params()}
	for _, view := range []View{Text, Chart} {
		for _, tc := range []struct {
			name      string
			user      string
			handedOff bool
			fresh     string
			why       string
		}{
			{"first", "ada", true, "sealed", "it makes the still"},
			{"another user", "bob", true, "sealed", "the still must not remember the first"},
			{"hostile", `</p><script>alert("'&1")</script>`, true, "sealed", "a gap is escaped as the template escapes"},
			{"a gap's own character", string(userGap) + string(livedGap), true, "sealed", "a name is no gap"},
			{"no hand-off", "ada", false, "sealed", "the way is another one"},
			{"nothing replaced", "ada", false, "", "there is no old token to speak of"},
		} {
			t.Run(string(view)+"/"+tc.name, func(t *testing.T) {
				w := httptest.NewRecorder()
				v := &visit{Server: s, w: w, r: httptest.NewRequest("GET", "/", nil), ctx: t.Context(), path: "/server-2/" + string(view),
					grant:     reference.Grant{User: tc.user, Token: reference.Token{Timestamp: int64(1000 + len(tc.user))}},
					presented: reference.Token{Timestamp: 1000}, handedOff: tc.handedOff, fresh: tc.fresh}
				var want bytes.Buffer
				if err := templates[string(view)].ExecuteTemplate(&want, "layout", v.pageData(string(view), "A title", "/a.jar")); err != nil {
					t.Fatal(err)
				}
				if err := v.still(string(view), "A title", "/a.jar"); err != nil {
					t.Fatal(err)
				}
				if got := w.Body.String(); got != want.String() {
					t.Errorf("got\n%s\nwant\n%s\n(%s)", got, want.String(), tc.why)
				}
				if n := strings.Count(want.String(), "Signed in as"); n != 1 {
					t.Errorf("the page says %d times who is signed in", n)
				}
			})
		}
	}
}
