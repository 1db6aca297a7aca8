package targetfile

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/farmspec/farmspec"
)

// Source is a target file that was read and found in order.
type Source struct {
	// Target is the farm it describes, its hooks those that the file gives.
	Target *farmspec.Target
	// File is what was written.
	File File
	// MaxWait is the file's hint, or zero.
	MaxWait time.Duration

	d *decoder
}

// Load reads a target file. The error is [Problems]: every fault found, each
// with its line.
func Load(path string) (*farmspec.Target, error) {
	s, err := Open(path)
	if err != nil {
		return nil, err
	}
	return s.Target, nil
}

// Open is [Load] for whoever needs the places in the file as well.
func Open(path string) (*Source, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read target file: %w; `farmspec init` writes one to start from", err)
	}
	return parse(path, content)
}

func parse(path string, content []byte) (*Source, error) {
	s := &Source{d: &decoder{file: path, lines: map[string]int{}}}
	s.d.read(content, &s.File)
	if len(s.d.problems) == 0 || len(s.d.lines) > 1 {
		s.build(filepath.Dir(path))
	}
	if len(s.d.problems) > 0 {
		slices.SortStableFunc(s.d.problems, func(a, b Problem) int { return a.Line - b.Line })
		return nil, s.d.problems
	}
	return s, nil
}

// Place is where the value at a path such as login.path is written, as
// file:line; where it was left out, the place of what is around it.
func (s *Source) Place(path string) string { return fmt.Sprintf("%s:%d", s.d.file, s.d.line(path)) }

// build makes the target and adds what is wrong between fields. A field that
// was faulty by itself is empty here and is not told of again.
func (s *Source) build(dir string) {
	f, d := &s.File, s.d
	t := &farmspec.Target{
		Name: f.Name, Product: f.Product.Name, Version: f.Product.Version, Artefact: f.Product.Artefact,
		Topology: farmspec.Topology(f.Topology), Resolve: map[string]string{},
		Handoff: farmspec.Handoff(or(f.Handoff.Mode, string(farmspec.NoHandoff))), Rotation: farmspec.Rotation(or(f.Rotation.Policy, string(farmspec.NoRotation))),
		Grace: time.Duration(f.Rotation.Grace), Replay: farmspec.Replay(f.Replay),
		Carrier:       farmspec.Carrier{Kind: or(f.Carrier.Kind, "cookie"), Name: f.Carrier.Name},
		Companions:    f.Companions,
		HandoffParams: farmspec.HandoffParams{ID: f.Handoff.ID, Timestamp: f.Handoff.Timestamp, Sealed: f.Handoff.Parameter},
		UserEcho:      f.Echo, MaxSessions: f.MaxSessions,
		Limits: farmspec.Limits{Idle: time.Duration(f.Limits.Idle), Absolute: time.Duration(f.Limits.Absolute), Tolerance: time.Duration(f.Limits.Tolerance)},
	}
	t.MaxRate, t.Metrics = float64(f.Load.MaxRate), f.Metrics
	for i, address := range f.Metrics {
		if u, err := url.Parse(address); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			d.at(fmt.Sprintf("metrics[%d]", i), "write it like http://127.0.0.1:8081/metrics", "metrics has %q, which is no address", address)
		}
	}
	s.Target, s.MaxWait = t, time.Duration(f.MaxWait)
	if t.Name == "" {
		t.Name = slug(f.Product.Name + " " + f.Product.Version)
	}
	s.members()
	for name, ip := range f.Resolve {
		if _, err := netip.ParseAddr(ip); err != nil {
			d.at("resolve."+name, "write an IP address", "resolve has %q for %s", ip, name)
		}
		t.Resolve[name] = ip
	}
	s.authorities(dir)
	s.carrier()
	s.promises()
	s.login()
	s.pages()
	s.apps()
	s.account()
	if f.Echo != "" && !strings.Contains(f.Echo, "{user}") {
		d.at("echo", "write {user} where the page shows the user's name", "echo does not say where the user's name is")
	}
	s.accounts(dir)
	s.hooks(dir)
}

// authorities reads the certificates that the file names.
func (s *Source) authorities(dir string) {
	path := s.File.CA
	if path == "" {
		return
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		s.d.at("ca", "write the path of a PEM file, relative to this one", "ca: %s cannot be read", path)
		return
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		s.d.at("ca", "name a file with -----BEGIN CERTIFICATE----- in it", "ca: %s has no certificate", path)
		return
	}
	s.Target.RootCAs = pool
}

// members checks the servers' addresses and finds the topology.
func (s *Source) members() {
	f, d, t := &s.File, s.d, s.Target
	if f.Members != nil && len(f.Members) == 0 {
		d.at("members", "describe at least one server", "members is an empty list")
	}
	names, urls := map[string]int{}, map[string]int{}
	var hosts []string
	for i, m := range f.Members {
		path := fmt.Sprintf("members[%d]", i)
		if first, ok := names[m.Name]; ok && m.Name != "" {
			d.at(path+".name", "give each member its own name", "member %q is already on line %d", m.Name, d.line(fmt.Sprintf("members[%d].name", first)))
		}
		names[m.Name] = i
		if m.URL == "" {
			continue
		}
		u, err := url.Parse(m.URL)
		const like = "write it like https://one.example.com:8443"
		switch {
		case err != nil:
			d.at(path+".url", like, "member %s: its url is no address", m.Name)
		case u.Scheme != "http" && u.Scheme != "https":
			d.at(path+".url", like, "member %s: the url %q has no http:// or https://", m.Name, m.URL)
		case u.Hostname() == "":
			d.at(path+".url", like, "member %s: the url %q has no host", m.Name, m.URL)
		case u.User != nil || u.RawQuery != "" || u.Fragment != "":
			d.at(path+".url", like, "member %s: the url has more than scheme, host, port and path", m.Name)
		case strings.HasSuffix(m.URL, "/"):
			d.at(path+".url", "delete the slash at the end", "member %s: the url %q ends with a slash", m.Name, m.URL)
		default:
			if first, ok := urls[m.URL]; ok {
				d.at(path+".url", "give each member its own address, behind the balancer", "member %s has the same url as %s", m.Name, f.Members[first].Name)
			}
			urls[m.URL] = i
			hosts = append(hosts, strings.ToLower(u.Hostname()))
			t.Members = append(t.Members, farmspec.Member{Name: m.Name, URL: m.URL})
		}
	}
	if t.Topology == "" && len(hosts) > 0 {
		t.Topology = topology(hosts)
	}
	one := len(slices.Compact(slices.Sorted(slices.Values(hosts)))) == 1
	switch {
	case len(hosts) == 0:
	case t.Topology == farmspec.SingleHost && !one:
		d.at("topology", "use one host name with a port each, or another topology", "topology is single-host and the members have different hosts")
	case t.Topology == farmspec.SplitDomain && t.Handoff == farmspec.NoHandoff && len(hosts) > 1:
		d.at(fmt.Sprintf("members[%d].url", len(f.Members)-1), "give the members one host name, or a common domain, or say how they hand over", "the members share no domain, so no cookie reaches them all, and there is no hand-off")
	}
}

// topology is what the members' hosts allow.
func topology(hosts []string) farmspec.Topology {
	same, domain := true, ""
	for i, h := range hosts {
		same = same && h == hosts[0]
		d, err := publicsuffix.EffectiveTLDPlusOne(h)
		if _, ip := netip.ParseAddr(h); err != nil || ip == nil {
			d = h
		}
		if i > 0 && d != domain {
			d = "/"
		}
		domain = d
	}
	switch {
	case same:
		return farmspec.SingleHost
	case domain != "/":
		return farmspec.SharedDomain
	}
	return farmspec.SplitDomain
}

var cookieName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func (s *Source) carrier() {
	f, d := &s.File, s.d
	if n := f.Carrier.Name; n != "" && !cookieName.MatchString(n) {
		d.at("carrier.name", "copy it from the farm's Set-Cookie line", "carrier.name %q cannot be the name of a cookie", n)
	}
	if slices.Contains(f.Companions, f.Carrier.Name) && f.Carrier.Name != "" {
		d.at("companions", "delete it there", "%q is the carrier and a companion", f.Carrier.Name)
	}
	h := f.Handoff
	need := func(name, value string) {
		if value == "" {
			d.at("handoff", "add "+name+": the query parameter in the redirect's address", "handoff.%s is missing for the mode %s", name, h.Mode)
		}
	}
	switch farmspec.Handoff(h.Mode) {
	case farmspec.Claimed:
		need("id", h.ID)
		need("timestamp", h.Timestamp)
	case farmspec.Sealed, farmspec.Direct:
		need("parameter", h.Parameter)
	}
}

// promises checks rotation and limits.
func (s *Source) promises() {
	f, d, t := &s.File, s.d, s.Target
	switch {
	case t.Rotation == farmspec.Coalesce && t.Grace == 0:
		d.at("rotation", "add grace: how long the predecessor stays good", "rotation.grace is missing for coalesce")
	case t.Rotation != farmspec.Coalesce && t.Grace != 0:
		d.at("rotation.grace", "delete it, or choose the policy coalesce", "rotation.grace has no meaning under %s", t.Rotation)
	}
	switch {
	case t.Rotation == farmspec.NoRotation && t.Replay != "":
		d.at("replay", "delete it, or say which rotation there is", "replay has no meaning without a rotation: no token is ever spent")
	case t.Rotation != farmspec.NoRotation && t.Replay == "":
		t.Replay = farmspec.Reject
	}
	l := f.Limits
	if l.Absolute != 0 && l.Absolute < l.Idle {
		d.at("limits.absolute", "it cannot be the shorter one", "limits.absolute %v is below limits.idle %v", time.Duration(l.Absolute), time.Duration(l.Idle))
	}
	if l.HTTPIdle > l.Idle && l.Idle != 0 {
		d.at("limits.http_idle", "a session ends its HTTP sessions", "limits.http_idle %v is above limits.idle %v", time.Duration(l.HTTPIdle), time.Duration(l.Idle))
	}
	if t.Limits.Tolerance == 0 {
		t.Limits.Tolerance = time.Second
	}
	t.Features = map[string]farmspec.Support{}
	for name, support := range f.Features {
		t.Features[name] = farmspec.Support(support)
	}
}

func (s *Source) login() {
	f, d := &s.File, s.d
	l := f.Login
	s.path("login.path", l.Path)
	kind := or(l.Kind, "form")
	for _, field := range []struct{ name, value string }{{"user", l.User}, {"password", l.Password}} {
		_, given := d.lines["login."+field.name]
		switch {
		case kind != "basic" && field.value == "" && !given && d.lines["login"] > 0:
			d.at("login", fmt.Sprintf("add %s: the name of that field", field.name), "login.%s is missing for kind %s", field.name, kind)
		case kind == "basic" && given:
			d.at("login."+field.name, "delete it", "login.%s has no meaning for kind basic", field.name)
		}
	}
	s.Target.Login = farmspec.LoginRecipe{Kind: farmspec.LoginKind(kind), Path: l.Path, UserField: l.User, PassField: l.Password}
	if d.lines["logout"] > 0 {
		s.path("logout.path", f.Logout.Path)
		if f.Logout.Form != "" && or(f.Logout.Kind, "form") != "form" {
			d.at("logout.form", "delete it", "logout.form has no meaning for kind %s", f.Logout.Kind)
		}
		s.Target.Logout = farmspec.LogoutRecipe{Kind: farmspec.LogoutKind(or(f.Logout.Kind, "form")), Path: f.Logout.Path, Form: f.Logout.Form}
	}
}

// path checks that a path begins as one does.
func (s *Source) path(at, value string) {
	if value != "" && !strings.HasPrefix(value, "/") {
		s.d.at(at, "write it like /login, below the member's address", "%s is %q, which does not begin with a slash", at, value)
	}
}

// page checks an entry and returns the page at each member that has it.
func (s *Source) page(at string, e PageEntry, echo bool) []farmspec.Page {
	d := s.d
	s.path(at+".path", e.Path)
	if e.Echo != "" {
		echo = e.Echo == "yes"
	}
	var pages []farmspec.Page
	for _, name := range s.holders(at, e.Member) {
		pages = append(pages, farmspec.Page{
			Member: name, Kind: farmspec.Kind(or(e.Kind, "html")), Path: e.Path, Echo: echo,
			Marker: strings.ReplaceAll(e.Marker, "{member}", name),
		})
	}
	if strings.TrimSpace(e.Marker) == "" && d.lines[at+".marker"] > 0 {
		d.at(at+".marker", "copy a text that only this page has", "%s.marker is empty, so any answer would do", at)
	}
	return pages
}

// holders are the members of an entry: the one it names, or all.
func (s *Source) holders(at, member string) []string {
	var all []string
	for _, m := range s.File.Members {
		all = append(all, m.Name)
	}
	switch {
	case member == "":
		return all
	case !slices.Contains(all, member):
		s.d.at(at+".member", remedy(member, all), "%s is of the unknown member %q", at, member)
		return nil
	}
	return []string{member}
}

func (s *Source) pages() {
	f, d, t := &s.File, s.d, s.Target
	seen := map[string]string{}
	for i, e := range f.Pages {
		at := fmt.Sprintf("pages[%d]", i)
		for _, p := range s.page(at, e, e.Kind != "applet") {
			key := p.Member + " " + p.Path
			if other, ok := seen[key]; ok {
				d.at(at+".path", "delete one of them", "%s is on %s already, by line %d", p.Path, p.Member, d.line(other))
			}
			seen[key] = at
			t.Pages = append(t.Pages, p)
		}
	}
	for i, m := range f.Members {
		if _, ok := t.Page(m.Name, farmspec.HTML); !ok && len(f.Pages) > 0 && m.Name != "" {
			d.at(fmt.Sprintf("members[%d]", i), "add a page with kind html and member "+m.Name+", or without a member", "member %s has no html page", m.Name)
		}
	}
	one := func(at string, e *PageEntry) *farmspec.Page {
		if e == nil {
			return nil
		}
		if pages := s.page(at, *e, false); len(pages) > 0 {
			return &pages[0]
		}
		return nil
	}
	t.Slow, t.Open = one("slow", f.Slow), one("open", f.Open)
}

func (s *Source) apps() {
	f, d, t := &s.File, s.d, s.Target
	first := map[string]int{}
	for i, e := range f.Apps {
		at := fmt.Sprintf("apps[%d]", i)
		if n, ok := first[e.Name]; ok && e.Name != "" {
			d.at(at+".name", "give each application its own name", "application %q is already on line %d", e.Name, d.line(fmt.Sprintf("apps[%d]", n)))
		}
		first[e.Name] = i
		s.path(at+".end", e.End)
		idle := e.Idle
		if idle == 0 {
			idle = f.Limits.HTTPIdle
		}
		if idle == 0 {
			idle = f.Limits.Idle
		}
		if _, given := d.lines[at+".idle"]; given && e.Idle == 0 {
			idle = -1
		}
		pages := s.page(at, PageEntry{Path: e.Path, Member: e.Member, Marker: e.Marker}, true)
		for _, p := range pages {
			name := e.Name
			if len(pages) > 1 {
				name += " at " + p.Member
			}
			t.Apps = append(t.Apps, farmspec.App{
				Name: name, Member: p.Member, Path: p.Path, Marker: p.Marker, Field: e.Field, EndPath: e.End, Idle: time.Duration(idle), Stays: e.Stays == "yes",
			})
		}
	}
}

func (s *Source) account() {
	f, t := &s.File.Account, s.Target
	for at, path := range map[string]string{"sessions": f.Sessions.Path, "password": f.Password.Path, "transaction": f.Transaction.Path} {
		s.path("account."+at+".path", path)
	}
	t.Account = farmspec.Account{
		Sessions: farmspec.SessionList(f.Sessions), Password: farmspec.PasswordChange(f.Password), Transaction: farmspec.Transaction(f.Transaction),
	}
	t.Assurance, t.Failover = farmspec.Assurance(s.File.Assurance), farmspec.Failover(s.File.Failover)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

var notSlug = regexp.MustCompile(`[^a-z0-9.]+`)

func slug(s string) string {
	return strings.Trim(notSlug.ReplaceAllString(strings.ToLower(s), "-"), "-.")
}
