package farmspec

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Handoff names how the first server transmits the session token to the
// second (claims 1 and 9; requirements D2).
type Handoff string

// The hand-off modes.
const (
	// Sealed: the token, sealed again for the receiving server alone and short-lived, in the URL.
	Sealed Handoff = "sealed"
	// Claimed: the decrypted session ID and timestamp in the URL, as claims 1 and 9 read.
	Claimed Handoff = "claimed"
	// Direct: server to server, as the granted US 8,578,462 has it; the URL carries a one-time reference.
	Direct Handoff = "direct"
	// NoHandoff: members share a cookie and do not redirect to each other.
	NoHandoff Handoff = "none"
)

// Rotation names when a session token is replaced (requirements D3).
type Rotation string

// The rotation policies.
const (
	// Strict: every accepted request replaces the token; whoever comes second with the old one is refused.
	Strict Rotation = "strict"
	// Coalesce: within the grace period the immediate predecessor gets the same successor.
	Coalesce Rotation = "coalesce"
	// ReadVerify: document navigations replace the token, other requests only verify it.
	ReadVerify Rotation = "read-verify"
	// NoRotation: one fixed token for the life of the session.
	NoRotation Rotation = "none"
)

// Replay names the answer to a spent token (requirements D5).
type Replay string

// The replay policies.
const (
	// Reject: the spent token is refused; the session lives on.
	Reject Replay = "reject"
	// RevokeFamily: a spent token presented outside the grace period closes its session.
	RevokeFamily Replay = "revoke-family"
)

// Topology names whose cookie it is and on which host (requirements D1).
type Topology string

// The topologies.
const (
	// SingleHost: one host, members told apart by path.
	SingleHost Topology = "single-host"
	// SharedDomain: a host for each member, one cookie for their common domain.
	SharedDomain Topology = "shared-domain"
	// SplitDomain: a host for each member and a cookie for each host.
	SplitDomain Topology = "split-domain"
)

// Kind names the kind of a protected resource (claim 12).
type Kind string

// The four kinds of claim 12.
const (
	HTML   Kind = "html"
	JSP    Kind = "jsp"
	ASP    Kind = "asp"
	Applet Kind = "applet"
)

// Target describes a farm under test: what it is, where it is, how a browser
// uses it, what it promises, and which hooks it offers beside HTTP. A Target
// is read-only once made and safe for concurrent use, as its hooks must be.
type Target struct {
	// Name identifies the target and its profile in reports, for example
	// "reference/sealed+strict+shared-domain".
	Name string
	// Product and Version identify what is tested (CP-0).
	Product, Version string
	// Artefact is the digest of the program that carries the steps out, when known (CP-0).
	Artefact string

	Topology Topology
	Handoff  Handoff
	Rotation Rotation
	// Grace is how long a predecessor stays good under Coalesce. Zero otherwise.
	Grace  time.Duration
	Replay Replay

	// Members are the web servers, at least one; claims need two.
	Members []Member
	// Resolve maps host names to IP addresses, so that members are reached by
	// distinct names on one machine. A name that is absent is looked up.
	Resolve map[string]string
	// RootCAs are the authorities that may vouch for members over https, beside
	// none other. Nil means those of this machine.
	RootCAs *x509.CertPool

	Carrier Carrier
	// Companions are cookies that a browser needs beside the carrier.
	Companions []string
	// HandoffParams names the query parameters that carry the hand-off. In the
	// claimed mode ID and Timestamp are the session ID (hex) and the timestamp
	// (milliseconds since 1970); in the others Sealed names the only one.
	HandoffParams HandoffParams

	Login  LoginRecipe
	Logout LogoutRecipe
	// Pages are the protected pages, by holding member and kind.
	Pages []Page
	// Apps are the stateful applications.
	Apps []App
	// Slow is a protected page that takes its time, if there is one.
	Slow *Page
	// Open is a page that needs no session, if there is one (AJ-1.3).
	Open *Page
	// UserEcho is text every protected HTML page shows, with {user} for the
	// user's name. It proves whose session answered.
	UserEcho string

	// Account says how users look after their own account.
	Account Account
	// Assurance is the authentication assurance level (NIST SP 800-63B-4) at
	// which the farm is run, whose limits its sessions then have to keep. Empty
	// is none.
	Assurance Assurance
	// Failover says what the crash of a node means for its sessions. Empty is Survive.
	Failover Failover

	// Features are the abilities that the target speaks of; see [Target.Feature].
	Features map[string]Support

	Limits Limits
	// MaxSessions is the documented number of concurrent sessions per user; zero is no limit.
	MaxSessions int

	// MaxRate bounds the page views per second of a load on this farm. Zero is no bound.
	MaxRate float64
	// Metrics are addresses at which the farm's parts tell their own numbers,
	// in Prometheus's text format.
	Metrics []string

	Hooks Hooks
}

// Member is one web server of the farm.
type Member struct {
	// Name is short and unique, for example "server-1".
	Name string
	// URL is the base address, without a trailing slash.
	URL string
}

// Carrier says how the browser carries its token.
type Carrier struct {
	// Kind is "cookie", "path" or "query".
	Kind string
	// Name is the name of the cookie or parameter.
	Name string
}

// HandoffParams names the query parameters of the hand-off URL; see [Target.HandoffParams].
type HandoffParams struct{ ID, Timestamp, Sealed string }

// LoginKind names how name and password reach the farm.
type LoginKind string

// The kinds of log-in.
const (
	// FormLogin: a form on the page at the recipe's path. The empty kind is this one.
	FormLogin LoginKind = "form"
	// JSONLogin: a JSON object of the two fields, posted to the recipe's path as
	// the script of the page there would. Where that leads is the script's own.
	JSONLogin LoginKind = "json"
	// BasicLogin: a request for the recipe's path with HTTP Basic credentials
	// (RFC 7617), sent once; the session is what its answer brings.
	BasicLogin LoginKind = "basic"
)

// LoginRecipe says how to log in: open Path on any member, fill the form's
// two named fields, keep its hidden ones, submit; or post the two as JSON.
type LoginRecipe struct {
	// Kind is empty for FormLogin.
	Kind                 LoginKind
	Path                 string
	UserField, PassField string
}

// LogoutKind names how a log-out is asked for.
type LogoutKind string

// The kinds of log-out.
const (
	// FormLogout: a form on the page at the recipe's path. The empty kind is this one.
	FormLogout LogoutKind = "form"
	// GetLogout: a link to the recipe's path.
	GetLogout LogoutKind = "get"
	// PostLogout: an empty form posted to the recipe's path.
	PostLogout LogoutKind = "post"
)

// LogoutRecipe says how to log out: open Path, submit the form found there; or
// ask for Path itself. The zero value is a farm without a log-out.
type LogoutRecipe struct {
	// Kind is empty for FormLogout.
	Kind LogoutKind
	Path string
	// Form is the ID or name of the form, where the page has several.
	Form string
}

// Page is a protected resource.
type Page struct {
	// Member names the server that holds the page.
	Member string
	Kind   Kind
	// Path is farm-wide: asked at any member, it leads to this page.
	Path string
	// Marker is content that only this page, served in full by its member, has.
	Marker string
	// Echo says that the page shows [Target.UserEcho]; applet bytes do not.
	Echo bool
}

// App is a stateful application whose state is kept in an HTTP session.
type App struct {
	Name string
	// Member names the server that holds the application.
	Member string
	// Path shows the application's state; a form on the page changes it.
	Path string
	// Marker is content that only the application's page has.
	Marker string
	// Field is the form field that receives a value to remember. The page
	// shows every remembered value.
	Field string
	// EndPath shows a form that ends the application's HTTP session.
	EndPath string
	// Idle is the HTTP session's idle time-out. Below zero it has none: it
	// lives as long as its security session (Servlet 6.0, section 7.5).
	Idle time.Duration
	// Stays says that the application has opted out of the common log-out: its
	// HTTP session outlives the security session (AJ-X1).
	Stays bool
}

// Account are the pages on which users look after their own account, each at
// every member. One without a path is absent.
type Account struct {
	Sessions    SessionList
	Password    PasswordChange
	Transaction Transaction
}

// SessionList is the page on which users see and end their own sessions (ASVS 7.5.2).
type SessionList struct {
	Path string
	// Item is in the page's source once for each open session of the user.
	Item string
	// Form is the ID or name of the form that ends another session, or all
	// others: the first of that name counts. Empty is the page's first form.
	Form string
	// Confirm is the form's field for the user's password.
	Confirm string
}

// PasswordChange is the page on which users change their password (ASVS 7.4.3, 7.5.1).
type PasswordChange struct {
	Path string
	// Form is its form's ID or name. Empty is the first with the field New.
	Form string
	// Current, New and Again are the fields; Again, for the new password once
	// more, may be empty.
	Current, New, Again string
	// EndOthers is the box to tick for ending the user's other sessions. Empty
	// where the change always ends them.
	EndOthers string
}

// Transaction is a page on which users do something highly sensitive (ASVS 7.5.3).
type Transaction struct {
	Path string
	// Form is its form's ID or name. Empty is the first with the field Confirm.
	Form string
	// Values are what to fill in.
	Values map[string]string
	// Confirm is the field for the user's password.
	Confirm string
	// Done is text that only the answer to a transaction carried out has.
	Done string
}

// Assurance is an authentication assurance level of NIST SP 800-63B-4.
type Assurance string

// The levels.
const (
	AAL1 Assurance = "AAL1"
	AAL2 Assurance = "AAL2"
	AAL3 Assurance = "AAL3"
)

// Limits are those that the level sets for a session, zero where it sets none:
// sections 2.1.3, 2.2.3 and 2.3.3.
func (a Assurance) Limits() Limits {
	switch a {
	case AAL1:
		return Limits{Absolute: 30 * 24 * time.Hour}
	case AAL2:
		return Limits{Idle: time.Hour, Absolute: 24 * time.Hour}
	case AAL3:
		return Limits{Idle: 15 * time.Minute, Absolute: 12 * time.Hour}
	}
	return Limits{}
}

// AssuranceOf returns the highest level whose limits are kept, or "".
func AssuranceOf(l Limits) Assurance {
	for _, a := range []Assurance{AAL3, AAL2, AAL1} {
		most := a.Limits()
		if l.Absolute > 0 && l.Absolute <= most.Absolute && (most.Idle == 0 || l.Idle > 0 && l.Idle <= most.Idle) {
			return a
		}
	}
	return ""
}

// Failover names what the crash of a node means for the sessions it served (requirements D14).
type Failover string

// The kinds of failover.
const (
	// Survive: sessions go on when the node is back, or at another.
	Survive Failover = "survive"
	// Relogin: their users log in again.
	Relogin Failover = "relogin"
)

// Limits are the promised time-outs of a security session.
type Limits struct {
	// Idle is the predetermined maximum of claim 7, measured from the token's timestamp.
	Idle time.Duration
	// Absolute bounds the life of a session from log-in. Zero is no bound.
	Absolute time.Duration
	// Tolerance is the declared clock tolerance sigma (requirements D8).
	Tolerance time.Duration
}

// Member returns the member of that name.
func (t *Target) Member(name string) (Member, bool) {
	for _, m := range t.Members {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}

// MemberOf returns the member that serves the URL, judged by base address.
func (t *Target) MemberOf(rawURL string) (Member, bool) {
	for _, m := range t.Members {
		if rest, ok := strings.CutPrefix(rawURL, m.URL); ok && (rest == "" || rest[0] == '/' || rest[0] == '?' || rest[0] == ';') {
			return m, true
		}
	}
	return Member{}, false
}

// Page returns the page of that kind which the member holds.
func (t *Target) Page(member string, kind Kind) (Page, bool) {
	for _, p := range t.Pages {
		if p.Member == member && p.Kind == kind {
			return p, true
		}
	}
	return Page{}, false
}

// App returns the application of that name.
func (t *Target) App(name string) (App, bool) {
	for _, a := range t.Apps {
		if a.Name == name {
			return a, true
		}
	}
	return App{}, false
}

// At returns the address at which member is asked for path.
func (m Member) At(path string) string { return m.URL + path }

// Echo returns the text that shows user's session answered.
func (t *Target) Echo(user string) string {
	return strings.ReplaceAll(t.UserEcho, "{user}", user)
}

// PlainToken is a decrypted session token as claims 3 and 5 have it.
type PlainToken struct {
	// ID is the session ID in lower-case hex.
	ID string
	// Timestamp is in milliseconds since 1970 by the session service's clock.
	Timestamp int64
}

// String shows a digest only: a token never reaches a log or a report in clear.
func (p PlainToken) String() string {
	return "token " + Digest(fmt.Sprintf("%s.%d", p.ID, p.Timestamp))
}

// Format makes every verb show what String shows.
func (p PlainToken) Format(s fmt.State, _ rune) { fmt.Fprint(s, p.String()) }

// TokenIn reads the plain token of a claimed-mode hand-off URL.
func (t *Target) TokenIn(rawURL string) (PlainToken, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return PlainToken{}, fmt.Errorf("read token from URL: %w", err)
	}
	q := u.Query()
	id, ts := q.Get(t.HandoffParams.ID), q.Get(t.HandoffParams.Timestamp)
	if id == "" || ts == "" {
		return PlainToken{}, fmt.Errorf("read token from URL: no %q and %q parameters", t.HandoffParams.ID, t.HandoffParams.Timestamp)
	}
	var p PlainToken
	p.ID = id
	if _, err := fmt.Sscanf(ts, "%d", &p.Timestamp); err != nil {
		return PlainToken{}, fmt.Errorf("read token from URL: timestamp is not an integer")
	}
	return p, nil
}
