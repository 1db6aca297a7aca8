package targetfile

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sketch is what one knows of a farm before its target file is written. What
// is empty stays the example's.
type Sketch struct {
	Product              string
	URLs                 []string // of the members
	Names                []string // of the members, in the order of URLs; empty is server-1 and so on
	Cookie               string
	Login                string // path
	LoginKind            string // form, json or basic; empty is form
	UserField, PassField string
	Logout               string // path
	LogoutKind           string // form, get or post; empty is form
	LogoutForm           string // ID or name, where the page has several
	Echo                 string
	Page, Marker         string
	Idle                 string
	Users                []string // or one pattern of names, such as user{n}
	Password             string   // env:NAME, file:PATH or text:PASSWORD
}

// Question asks for something a sketch does not say yet.
type Question struct {
	Text, Example string
	// Answer takes the answer; an empty one leaves the example's.
	Answer func(string)
}

// Unsaid names what [Sketch.Write] leaves as the example has it, in the order
// of the file, although the farm is another. The idle time-out is among it
// unless it was given: no look at a farm shows what it promises.
func (s *Sketch) Unsaid() []string {
	var names []string
	for _, f := range []struct{ name, value string }{
		{"product.name", s.Product}, {"carrier.name", s.Cookie}, {"login.path", s.Login}, {"login.user", s.UserField}, {"login.password", s.PassField},
		{"logout.path", s.Logout}, {"echo", s.Echo}, {"pages[0].path", s.Page}, {"pages[0].marker", s.Marker}, {"limits.idle", s.Idle},
		{"accounts", strings.Join(s.Users, " ")}, {"the accounts' passwords", s.Password},
	} {
		ofNone := s.LoginKind == "basic" && (f.name == "login.user" || f.name == "login.password")
		if f.value == "" && !ofNone {
			names = append(names, f.name)
		}
	}
	return names
}

// pattern is the pattern of the accounts' names and the first of them, if it
// is one that the sketch has.
func (s *Sketch) pattern() (pattern, first string) {
	if len(s.Users) != 1 {
		return "", ""
	}
	place := numbered.FindString(s.Users[0])
	if place == "" {
		return "", ""
	}
	return s.Users[0], strings.ReplaceAll(s.Users[0], place, fmt.Sprintf("%0*d", len(place)-2, 1))
}

// Basics are the questions whose answers let [Sketch.Explore] find the others,
// as far as the sketch does not have them.
func (s *Sketch) Basics() []Question {
	return slices.Concat(
		one("Product", "Example shop", &s.Product),
		several("Base address of each member", "http://127.0.0.1:8081 http://127.0.0.1:8082", &s.URLs),
		several("Accounts", "ada ben grace mallory carol", &s.Users),
		one("Where their passwords are: env:NAME or file:PATH", "env:SHOP_PASSWORD", &s.Password))
}

// Questions are those for everything the sketch does not say.
func (s *Sketch) Questions() []Question {
	return slices.Concat(s.Basics(),
		one("Session cookie", "SHOPSESSION", &s.Cookie),
		one("Path of the log-in form", "/login", &s.Login),
		one("Its field for the user", "username", &s.UserField),
		one("Its field for the password", "password", &s.PassField),
		one("Path of the page with the log-out form", "/logout", &s.Logout),
		one("What pages show of the user", "Signed in as {user}", &s.Echo),
		one("Path of a protected page", "/account", &s.Page),
		one("Text that only that page has", "Your account, by {member}", &s.Marker),
		one("Idle time-out", "30m", &s.Idle))
}

// one asks for a field, unless it is known.
func one(text, example string, field *string) []Question {
	if *field != "" {
		return nil
	}
	return []Question{{text, example, func(a string) { *field = a }}}
}

// several asks for a list, unless it is known.
func several(text, example string, field *[]string) []Question {
	if len(*field) > 0 {
		return nil
	}
	return []Question{{text, example, func(a string) {
		*field = strings.FieldsFunc(a, func(r rune) bool { return r == ' ' || r == ',' })
	}}}
}

// Write returns the example with what the sketch says in the example's place.
// The error names an entry that cannot be right.
func (s *Sketch) Write() ([]byte, error) {
	for _, u := range s.URLs {
		if parsed, err := url.Parse(u); err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
			return nil, fmt.Errorf("write target file: the address %q is not like https://one.example.com:8443", u)
		}
	}
	for _, p := range []string{s.Login, s.Logout, s.Page} {
		if p != "" && !strings.HasPrefix(p, "/") {
			return nil, fmt.Errorf("write target file: the path %q does not begin with a slash", p)
		}
	}
	if d, err := time.ParseDuration(or(s.Idle, "30m")); err != nil || d <= 0 {
		return nil, fmt.Errorf("write target file: the idle time-out %q is not like 30m", s.Idle)
	}
	if !slices.Contains([]string{"", "form", "json", "basic"}, s.LoginKind) {
		return nil, fmt.Errorf("write target file: the kind of log-in %q is not form, json or basic", s.LoginKind)
	}
	if !slices.Contains([]string{"", "form", "get", "post"}, s.LogoutKind) {
		return nil, fmt.Errorf("write target file: the kind of log-out %q is not form, get or post", s.LogoutKind)
	}
	if s.Echo != "" && !strings.Contains(s.Echo, "{user}") {
		return nil, fmt.Errorf("write target file: what pages show, %q, has no {user} where the name is", s.Echo)
	}
	if kind, rest, _ := strings.Cut(s.Password, ":"); s.Password != "" && (rest == "" || kind != "env" && kind != "file" && kind != "text") {
		return nil, fmt.Errorf("write target file: the passwords are not given as env:NAME or file:PATH")
	}
	text := string(Example)
	replace := func(old, new string) {
		if !strings.Contains(text, old) {
			panic("targetfile: the example has no " + strconv.Quote(old))
		}
		text = strings.Replace(text, old, new, 1)
	}
	value := func(line, value string, quote bool) {
		if value == "" {
			return
		}
		key, _, _ := strings.Cut(line, ": ")
		if quote || strings.ContainsAny(value, ":#{}[]\"'&*!|>%@`,\\\n") || strings.TrimSpace(value) != value {
			value = strconv.Quote(value)
		}
		replace("\n"+line+"\n", "\n"+key+": "+value+"\n")
	}
	value("  name: Example shop", s.Product, false)
	if s.Product != "" || len(s.URLs) > 0 {
		replace("\n  version: \"1.0\"\n", "\n  # version: \"1.0\"\n")
	}
	if len(s.URLs) > 0 {
		var members strings.Builder
		for i, u := range s.URLs {
			name := fmt.Sprintf("server-%d", i+1)
			if len(s.Names) == len(s.URLs) {
				name = s.Names[i]
			}
			fmt.Fprintf(&members, "  - name: %s\n    url: %s\n", strconv.Quote(name), strings.TrimRight(u, "/"))
		}
		replace("  - name: server-1\n    url: http://127.0.0.1:8081\n  - name: server-2\n    url: http://127.0.0.1:8082\n", members.String())
	}
	value("  name: SHOPSESSION", s.Cookie, false)
	value("  path: /login", s.Login, false)
	if s.LoginKind == "basic" {
		replace("  user: username\n  password: password\n", "")
	} else {
		value("  user: username", s.UserField, false)
		value("  password: password", s.PassField, false)
	}
	value("  path: /logout", s.Logout, false)
	if s.LoginKind != "" {
		replace("login:\n  kind: form\n", "login:\n  kind: "+s.LoginKind+"\n")
	}
	if s.LogoutKind != "" {
		replace("  kind: form\n\n# What protected", "  kind: "+s.LogoutKind+"\n\n# What protected")
	}
	if s.LogoutForm != "" {
		replace("  kind: form\n\n# What protected", "  kind: form\n  form: "+strconv.Quote(s.LogoutForm)+"\n\n# What protected")
	}
	value(`echo: "Signed in as {user}"`, s.Echo, true)
	value("  - path: /account", s.Page, false)
	value(`    marker: "Your account, by {member}"`, s.Marker, true)
	value("  idle: 30m", s.Idle, false)
	pattern, _ := s.pattern()
	if pattern != "" {
		old := text[strings.Index(text, "  list:\n    - user: ada\n"):strings.Index(text, "\n# What it cannot do")]
		replace(old, "  pattern: "+strconv.Quote(pattern)+"\n  password: "+strconv.Quote(or(s.Password, "env:SHOP_PASSWORD"))+"\n")
	} else if len(s.Users) > 0 {
		old := text[strings.Index(text, "    - user: ada\n"):strings.Index(text, "  # or, where made-up names")]
		var users strings.Builder
		for _, u := range s.Users {
			fmt.Fprintf(&users, "    - user: %s\n      password: env:SHOP_PASSWORD\n", strconv.Quote(u))
		}
		replace(old, users.String())
	}
	if s.Password != "" {
		text = strings.ReplaceAll(text, "\n      password: env:SHOP_PASSWORD\n", "\n      password: "+strconv.Quote(s.Password)+"\n")
	}
	if len(s.URLs) > 0 { // what is not known of another farm is left for its owner
		for _, section := range []string{"apps:\n  - name: cart\n    path: /cart\n    marker: \"Your cart\"\n    field: item\n", "open:\n  path: /about\n  marker: \"About the shop\"\n"} {
			replace(section, "# "+strings.TrimSuffix(strings.ReplaceAll(section, "\n", "\n# "), "# "))
		}
		replace("    # end: /cart/end ", "#     end: /cart/end ")
	}
	return []byte(text), nil
}
