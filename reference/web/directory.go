// Package web puts the reference farm on the web: the session management web
// service and its client (claim 10), and the farm's members, which are first
// server to one request and second server to another (claims 1 and 2).
//
// What the members of a farm share is a Farm; what makes a member is a
// ServerConfig. Everything a member relies on comes in through an interface
// (Directory, Sealer, reference.Sessions), so a farm with one broken part is
// made by wrapping that part.
package web

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/farmspec/farmspec/reference"
)

// Topology names whose cookie the token is and on which host (D1).
type Topology string

// The topologies.
const (
	// SingleHost: one host, members told apart by the path of their base address.
	SingleHost Topology = "single-host"
	// SharedDomain: a host for each member, one cookie for their common domain.
	SharedDomain Topology = "shared-domain"
	// SplitDomain: a host for each member and a cookie for each host.
	SplitDomain Topology = "split-domain"
)

// Handoff names how the first server transmits the token to the second (D2).
type Handoff string

// The hand-off modes.
const (
	// Sealed: sealed again for the receiving member alone and short-lived, in the URL.
	Sealed Handoff = "sealed"
	// Claimed: the decrypted session ID and timestamp in the URL (claims 1 and 9).
	Claimed Handoff = "claimed"
	// Direct: server to server (US 8,578,462); the URL carries a one-time reference.
	Direct Handoff = "direct"
)

// Kind names the kind of a page (claim 12).
type Kind string

// The four kinds of claim 12.
const (
	HTML   Kind = "html"
	JSP    Kind = "jsp"
	ASP    Kind = "asp"
	Applet Kind = "applet"
)

// View names what a page does.
type View string

// The views.
const (
	// Text is a page to read.
	Text View = "text"
	// Dynamic shows the member's time and how often it was made.
	Dynamic View = "dynamic"
	// Chart embeds the member's applet.
	Chart View = "chart"
	// Archive is the applet's bytes.
	Archive View = "archive"
	// Cart is an application that remembers each item added (form field "item").
	Cart View = "cart"
	// Tally is an application that counts words (form field "word").
	Tally View = "tally"
	// End shows a form that ends the application's HTTP session (AJ-2.7).
	End View = "end"
	// Slow takes ?ms= milliseconds, at most MaxSlow.
	Slow View = "slow"
)

// Field is the form field by which the view remembers a value, or "".
func (v View) Field() string {
	switch v {
	case Cart:
		return "item"
	case Tally:
		return "word"
	}
	return ""
}

// Member is one web server of the farm.
type Member struct {
	// Name is short and unique: lower-case letters, digits and hyphens.
	Name string
	// URL is the base address: scheme and host, with a path only where members
	// share a host, and no trailing slash.
	URL string
}

// Page is a protected page or resource. Asked for at any member, its path
// leads to the member that holds it.
type Page struct {
	Member string
	// Path is farm-wide and starts with a slash.
	Path  string
	Kind  Kind
	View  View
	Title string
	// App names the application of the views Cart, Tally and End: its HTTP
	// session is kept under this name. "" for the others.
	App string
}

// Marker is text that only this page shows.
func (p Page) Marker() string { return "farm-page:" + p.Path }

// Echo reports whether the page shows whose session answered: UserEcho.
func (p Page) Echo() bool { return p.Kind != Applet }

// UserEcho is what protected HTML pages show, with {user} for the user's name.
const UserEcho = "Signed in as {user}"

// The pages every member has of its own, beside those of the directory and of
// the account. Home and Whoami are protected; About needs no session.
const (
	HomePath   = "/"
	WhoamiPath = "/whoami"
	AboutPath  = "/about"
	LoginPath  = "/login"
	LogoutPath = "/logout"
	AdminPath  = "/admin"
)

// Directory knows the members and which of them holds what. It is read-only
// and safe for concurrent use.
type Directory interface {
	Members() []Member
	Member(name string) (Member, bool)
	Pages() []Page
	// Page finds a page by its farm-wide path.
	Page(path string) (Page, bool)
}

type directory struct {
	members []Member
	pages   []Page
	byName  map[string]Member
	byPath  map[string]Page
}

// NewDirectory returns the standard directory: the same set of pages for each
// member, at /NAME/welcome.html, report.jsp, orders.asp, chart.html with
// chart.jar, cart, counter (each with an /end page) and slow.html.
func NewDirectory(members ...Member) (Directory, error) {
	d := &directory{members: members, byName: make(map[string]Member), byPath: make(map[string]Page)}
	for _, m := range members {
		if err := m.check(); err != nil {
			return nil, err
		}
		if _, twice := d.byName[m.Name]; twice {
			return nil, fmt.Errorf("list members: %q is named twice", m.Name)
		}
		d.byName[m.Name] = m
		d.pages = append(d.pages, standardPages(m.Name)...)
	}
	for _, p := range d.pages {
		d.byPath[p.Path] = p
	}
	return d, nil
}

func standardPages(member string) []Page {
	at := "/" + member + "/"
	cart, counter := member+"/cart", member+"/counter"
	return []Page{
		{Member: member, Path: at + "welcome.html", Kind: HTML, View: Text, Title: "Welcome"},
		{Member: member, Path: at + "report.jsp", Kind: JSP, View: Dynamic, Title: "Report"},
		{Member: member, Path: at + "orders.asp", Kind: ASP, View: Dynamic, Title: "Orders"},
		{Member: member, Path: at + "chart.html", Kind: HTML, View: Chart, Title: "Chart"},
		{Member: member, Path: at + "chart.jar", Kind: Applet, View: Archive, Title: "Chart applet"},
		{Member: member, Path: at + "cart", Kind: HTML, View: Cart, Title: "Cart", App: cart},
		{Member: member, Path: at + "cart/end", Kind: HTML, View: End, Title: "Empty the cart", App: cart},
		{Member: member, Path: at + "counter", Kind: HTML, View: Tally, Title: "Counter", App: counter},
		{Member: member, Path: at + "counter/end", Kind: HTML, View: End, Title: "Reset the counter", App: counter},
		{Member: member, Path: at + "slow.html", Kind: HTML, View: Slow, Title: "Slow page"},
	}
}

func (m Member) check() error {
	if m.Name == "" || strings.Trim(m.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("list members: name %q: want lower-case letters, digits and hyphens", m.Name)
	}
	u, err := url.Parse(m.URL)
	if err != nil {
		return fmt.Errorf("list members: address of %s: %w", m.Name, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		strings.HasSuffix(m.URL, "/") || u.EscapedPath() != u.Path {
		return fmt.Errorf("list members: address of %s is %q: want http or https, a host, an optional plain path and no trailing slash", m.Name, m.URL)
	}
	return nil
}

func (d *directory) Members() []Member { return d.members }
func (d *directory) Pages() []Page     { return d.pages }

func (d *directory) Member(name string) (Member, bool) {
	m, ok := d.byName[name]
	return m, ok
}

func (d *directory) Page(path string) (Page, bool) {
	p, ok := d.byPath[path]
	return p, ok
}

// Farm is what all members share.
type Farm struct {
	Directory Directory
	// Topology: empty means SharedDomain.
	Topology Topology
	// Domain is the cookie's domain under SharedDomain, for example farm.localhost.
	Domain string
	// Cookie names the cookie that carries the token. Empty means __Host-farm,
	// or __Secure-farm where the cookie is shared by a domain.
	Cookie string
	// Handoff: empty means Sealed.
	Handoff Handoff
	// Federated are the origins of other systems to which a log-out may lead a
	// browser: the identity provider's.
	Federated []string
	// Rotation: empty means Strict. The service decides what Coalesce means;
	// ReadVerify is a member's own.
	Rotation reference.Rotation
}

// Params names the query parameters of a hand-off: ID and Timestamp in the
// claimed mode, Sealed (the only one) in the others.
type Params struct{ ID, Timestamp, Sealed string }

// Params returns the mode's parameters.
func (h Handoff) Params() Params {
	switch h {
	case Claimed:
		return Params{ID: "sid", Timestamp: "ts"}
	case Direct:
		return Params{Sealed: "ref"}
	}
	return Params{Sealed: "handoff"}
}

func (p Params) has(name string) bool {
	return name != "" && (name == p.ID || name == p.Timestamp || name == p.Sealed)
}

// CookieName is the name of the cookie that carries the token.
func (f Farm) CookieName() string {
	switch {
	case f.Cookie != "":
		return f.Cookie
	case f.Topology == SharedDomain || f.Topology == "":
		return "__Secure-farm"
	}
	return "__Host-farm"
}
