package web

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/farmspec/farmspec/reference"
)

// The cookies beside the token's. The pointer is no secret: it names the
// member to which this host last sent the browser.
const (
	pointerCookie = "__Host-farm-at"
	formCookie    = "__Host-farm-form"
	// signOnCookie comes back across sites, with the form by which the identity
	// provider answers; so it is the only one that SameSite does not hold back.
	signOnCookie = "__Host-farm-sso"
)

var (
	errNoCookie    = errors.New("no token cookie")
	errManyCookies = errors.New("more than one token cookie")
)

// token opens the browser's own token (claim 1). Its errors are refusals.
func (v *visit) token() (reference.Token, error) {
	sealed, n := v.sentCookie(v.cookie)
	switch {
	case n == 0:
		return reference.Token{}, fmt.Errorf("%w: %w", errRefused, errNoCookie)
	case n > 1:
		v.note("decrypt", v.Name, "", errManyCookies)
		return reference.Token{}, fmt.Errorf("%w: %w", errRefused, errManyCookies)
	}
	t, err := v.Sealer.Open(sealed)
	v.note("decrypt", v.Name, "", err)
	if err != nil {
		return reference.Token{}, fmt.Errorf("%w: %w", errRefused, err)
	}
	return t, nil
}

// sentCookie returns the raw value of the named cookie and how many of that
// name were sent. Unlike net/http it also counts those with invalid values: a
// planted cookie must not hide behind its own invalidity.
func (v *visit) sentCookie(name string) (value string, n int) {
	for _, line := range v.r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			k, val, _ := strings.Cut(textproto.TrimString(pair), "=")
			if k == name {
				value = val
				n++
			}
		}
	}
	return value, n
}

// setToken gives the browser its new token, and forgets where the session had
// gone, for now it is here.
func (v *visit) setToken() {
	if v.fresh == "" {
		return
	}
	v.setCookie(v.tokenCookie(v.fresh))
	v.clearPointer()
}

func (v *visit) tokenCookie(value string) http.Cookie {
	c := http.Cookie{Name: v.cookie, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if v.Farm.Topology == SharedDomain {
		c.Domain = v.Farm.Domain
	}
	return c
}

func (v *visit) setCookie(c http.Cookie) {
	h := v.w.Header()
	h["Set-Cookie"] = append(h["Set-Cookie"], c.String())
}

func (v *visit) pointer() (Member, bool) {
	name, n := v.sentCookie(pointerCookie)
	if n != 1 || name == v.Name {
		return Member{}, false
	}
	return v.Farm.Directory.Member(name)
}

func (v *visit) setPointer(member string) {
	v.setCookie(http.Cookie{Name: pointerCookie, Value: member, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

func (v *visit) clearPointer() {
	if _, n := v.sentCookie(pointerCookie); n > 0 {
		v.setCookie(http.Cookie{Name: pointerCookie, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
}

// formToken returns the secret that a form without a session carries twice, in
// the cookie and in a hidden field, and sets the cookie. A browser that has one
// keeps it, so that two open forms do not spoil each other.
func (v *visit) formToken(cookie string) (string, error) {
	value, n := v.sentCookie(cookie)
	if _, err := reference.ParseID(value); err != nil || n != 1 {
		id, err := reference.NewID(v.Rand)
		if err != nil {
			return "", err
		}
		value = id.String()
	}
	c := http.Cookie{Name: cookie, Value: value, Path: "/", MaxAge: 15 * 60, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if cookie == signOnCookie {
		c.SameSite = http.SameSiteNoneMode
	}
	v.setCookie(c)
	return value, nil
}

// formTokenOK compares the two, in constant time.
func (v *visit) formTokenOK(cookie, field string) bool {
	value, n := v.sentCookie(cookie)
	if _, err := reference.ParseID(value); err != nil || n != 1 {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(value), []byte(field)) == 1
}

// sessionFormToken is the secret in a form that acts within a session: the
// session's reference, sealed for this form. Unlike a cookie it survives a
// post that comes by way of another member's host.
func (v *visit) sessionFormToken() (string, error) {
	return v.Sealer.SealHandoff(v.formAudience(), reference.Token{ID: v.grant.Session}, 0)
}

func (v *visit) sessionFormTokenOK(field string) bool {
	t, _, err := v.Sealer.OpenHandoff(v.formAudience(), field)
	return err == nil && subtle.ConstantTimeCompare(t.ID[:], v.grant.Session[:]) == 1
}

// formAudience is no member's name: what is sealed for a form is no hand-off.
func (v *visit) formAudience() string { return "form " + v.page.Path }
