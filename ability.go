package farmspec

import (
	"errors"
	"slices"
	"strings"
)

// Support says whether a farm has an ability.
type Support string

// The answers. An ability that a target does not speak of is Yes.
const (
	// Yes: it is there, and where it is not, the farm fails.
	Yes Support = "yes"
	// No: it is not there, and what is about it is unsupported.
	No Support = "no"
)

// Features are the abilities that targets may decline and scenarios name in
// @feature: tags, each with what it is.
var Features = map[string]string{
	"log-out":             "log-out ends the session",
	"open-page":           "a page without state needs no session",
	"end-application":     "an application can end its HTTP session and leave the others",
	"return-to-page":      "log-in leads to the page that was asked for",
	"tls":                 "browsers reach every member over TLS",
	"single-log-out":      "a log-out reaches every system that takes part in single sign-on",
	"concurrent-sessions": "a user may have several sessions at once",
	"own-sessions":        "users see their own sessions and can end them",
	"change-password":     "users can change their password",
	"end-other-sessions":  "users who change their password can end their other sessions with it",
	"transaction":         "users can do something highly sensitive",
	"assurance":           "sessions keep the limits of a NIST assurance level",
	"lost-in-crash":       "a crash ends the sessions of its node",
}

// Feature says whether the target has an ability. What its description shows
// needs no word: without a log-out recipe there is no log-out.
func (t *Target) Feature(name string) Support {
	if s, ok := t.Features[name]; ok {
		return s
	}
	absent := false
	switch name {
	case "log-out":
		absent = t.Logout.Path == ""
	case "open-page":
		absent = t.Open == nil
	case "end-application":
		absent = true
		for _, a := range t.Apps {
			absent = absent && a.EndPath == ""
		}
	case "tls":
		absent = slices.ContainsFunc(t.Members, func(m Member) bool { return !strings.HasPrefix(m.URL, "https://") })
	case "single-log-out":
		absent = t.Hooks.Federation == nil
	case "concurrent-sessions":
		absent = t.MaxSessions == 1
	case "own-sessions":
		absent = t.Account.Sessions.Path == ""
	case "change-password", "end-other-sessions":
		absent = t.Account.Password.Path == ""
	case "transaction":
		absent = t.Account.Transaction.Path == ""
	case "assurance":
		absent = t.Assurance == ""
	case "lost-in-crash":
		absent = t.Failover != Relogin
	}
	if absent {
		return No
	}
	return Yes
}

// ErrNoHook is what a hook returns for what it cannot do at this farm.
var ErrNoHook = errors.New("the target's hook cannot do this")

// AccountPool is what [Accounts] that are few implement as well.
type AccountPool interface {
	Accounts
	// Size is how many accounts there are; New waits for one while all are lent.
	Size() int
	// Return takes an account back, with the password that it now has.
	Return(User)
}
