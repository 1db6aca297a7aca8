package features

import (
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
)

// A password is in no report, however short it is and however it travels.
func TestPasswordsAreRedacted(t *testing.T) {
	w := &world{target: &farmspec.Target{}, people: map[string]*person{
		"Ada": {user: farmspec.User{Name: "ada", Password: `p&"q`}, passwords: []string{"old one", `p&"q`}},
	}}
	r := w.newRedactor(nil)
	for _, text := range []string{
		"user=ada&password=p%26%22q", `{"user":"ada","password":"p\u0026\"q"}`, `wrong: p&"q`, "password=old+one", "password=not+old+one",
	} {
		got := r.text(text)
		for _, secret := range []string{"%22", `\"q`, `&"q`, "old"} {
			if strings.Contains(got, secret) {
				t.Errorf("%s is reported as %s", text, got)
			}
		}
	}
}
