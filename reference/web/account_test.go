package web_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/farmspec/farmspec/reference/web"
)

// elsewhere is another session on the list.
var elsewhere = regexp.MustCompile(`name="session" value="([0-9a-f]{32})"`)

func TestAccountPages(t *testing.T) {
	eachShape(t, func(t *testing.T, f *farm) {
		ada, bob := f.signedIn("ada"), f.signedIn("bob")
		post := func(b *browser, path string, fields ...string) *answer {
			t.Helper()
			page := b.visit(f.url(1, path))
			if !shows(page, path, "ada") && !shows(page, path, "bob") {
				t.Fatalf("%s: %d %s", path, page.StatusCode, page.body)
			}
			form := url.Values{"csrf": {csrf(page)}}
			for i := 0; i < len(fields); i += 2 {
				form.Set(fields[i], fields[i+1])
			}
			return b.ask(http.MethodPost, f.url(1, path), form.Encode())
		}
		expect := func(a *answer, status int, text, why string) {
			t.Helper()
			if a.StatusCode != status || !strings.Contains(a.body, text) {
				t.Errorf("answered %d, want %d and %q (%s): %s", a.StatusCode, status, text, why, a.body)
			}
		}
		in := func(b *browser) bool { return strings.Contains(b.visit(f.url(1, "/whoami")).body, "Signed in as") }

		expect(ada.visit(f.url(1, web.AccountPath)), 200, "signed in 1 time.", "one session and nothing to end")
		phone, tablet := f.signedIn("ada"), f.signedIn("ada")
		list := ada.visit(f.url(1, web.AccountPath))
		if n := strings.Count(list.body, web.SessionItem); n != 3 {
			t.Errorf("the list has %d sessions, want 3", n)
		}
		expect(post(ada, web.AccountPath, "session", "others"), 403, "not your password", "ASVS 7.5.2")
		expect(post(ada, web.AccountPath, "session", "others", "confirm", "ada's password", "csrf", "stale"), 403, "not made for you", "another form")
		if !in(phone) || !in(tablet) {
			t.Error("a refused form ended a session")
		}
		all, err := f.svc.List(t.Context(), "bob")
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		expect(post(ada, web.AccountPath, "session", all[0].Ref.String(), "confirm", "ada's password"), 409, "ended already", "somebody else's session")
		expect(post(ada, web.AccountPath, "session", "none", "confirm", "ada's password"), 400, "Nothing was chosen", "no reference")
		expect(post(ada, web.AccountPath, "session", elsewhere.FindStringSubmatch(list.body)[1], "confirm", "ada's password"), 200, "Signed out there", "one of three")
		expect(post(ada, web.AccountPath, "session", "others", "confirm", "ada's password"), 200, "signed in 1 time.", "the rest")
		if in(phone) || in(tablet) || !in(ada) || !in(bob) {
			t.Error("what was to end lives, or what was to live has ended")
		}

		const next = "a password that is new"
		change := func(now, fresh, again string) *answer {
			return post(bob, web.PasswordPath, "confirm", now, "new", fresh, "again", again, "end_others", "yes")
		}
		other := f.signedIn("bob")
		expect(change("wrong", next, next), 403, "not your password", "ASVS 7.5.1")
		expect(change("bob's password", next, next+"!"), 400, "not the same", "a slip")
		expect(change("bob's password", "short", "short"), 400, "15 to 256", "too short")
		if !in(other) {
			t.Error("a refused change ended a session")
		}
		expect(change("bob's password", next, next), 200, "was changed", "all is right")
		if in(other) || !in(bob) {
			t.Error("the change ended the session that made it, or no other (ASVS 7.4.3)")
		}
		expect(post(bob, web.PasswordPath, "confirm", next, "new", "bob's password for now", "again", "bob's password for now"), 200, "was changed", "the new one counts")

		transfer := func(password, amount string) *answer {
			return post(ada, web.TransferPath, "to", "bob", "amount", amount, "confirm", password)
		}
		expect(transfer("", "12"), 403, "not your password", "ASVS 7.5.3")
		expect(transfer("ada's password", "-1"), 400, "whole numbers", "no amount")
		expect(transfer("ada's password", "12"), 200, web.TransferDone, "confirmed")
	})
}
